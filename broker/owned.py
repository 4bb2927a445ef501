"""A task outside a group: for who ends it, or waits for it, whatever becomes of everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def owned(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Have it done beside us. Whoever calls this keeps the task, and cancels or awaits it."""
    return asyncio.create_task(work, name=name)  # noqa: TID251 - the one place; its caller owns it
