"""How work is begun that goes on behind what is shown."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from textual.app import App
from textual.worker import Worker


def begin(
    app: App[Any],
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    name: str,
    group: str = "default",
    exclusive: bool = False,
) -> Worker[None]:
    """Have the app do it in the background; a bug in it ends nothing else.

    Args:
        work: Not its coroutine: one that is cancelled before it begins is never awaited.
        exclusive: End what the group does so far.
    """
    return app.run_worker(work, name=name, group=group, exclusive=exclusive, exit_on_error=False)
