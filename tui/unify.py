"""Keeping the objects of the list before for rows that look as they did. Pure; fit for a thread.

Whoever compares the lists afterwards compares identities, which costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from broker.service.port import ConsoleInfo
from tui.catalog import looks_the_same

LARGE: Final = 2000
"""Rows from which on this is worth a thread."""


def unify(before: Sequence[ConsoleInfo], now: Sequence[ConsoleInfo]) -> tuple[ConsoleInfo, ...]:
    """The list as it is now, made of the objects of the list before where they look the same."""
    if len(before) != len(now) or any(
        old.machine is not new.machine and old.machine.key != new.machine.key
        for old, new in zip(before, now, strict=True)
    ):
        known = {info.machine.key: info for info in before}
        return tuple(_either(known.get(info.machine.key), info) for info in now)
    return tuple(map(_either, before, now))


def _either(old: ConsoleInfo | None, new: ConsoleInfo) -> ConsoleInfo:
    return old if old is not None and looks_the_same(old, new) else new
