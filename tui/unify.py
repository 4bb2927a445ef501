"""Keeping the objects of the list before for rows that look as they did. Pure; fit for a thread.

Whoever compares the lists afterwards compares identities, which costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from broker.service.info import ConsoleInfo

_LARGE: Final = 2000
"""Rows from which on this is worth a thread, if they were read anew."""
_LOOKS: Final = 20
"""Rows that are looked at to see whether a list was."""
_AT_ONCE: Final = 128
"""Rows that are compared by one call; where few rows change, most calls find no difference."""


class Changed(NamedTuple):
    """Where a list differs from the one before it, whose machines it has in their order.

    Attributes:
        since: The list before.
    """

    since: Sequence[ConsoleInfo]
    places: Sequence[int]


def unify(
    before: Sequence[ConsoleInfo], now: Sequence[ConsoleInfo]
) -> tuple[Sequence[ConsoleInfo], Changed | None]:
    """The list as it is now, made of the objects of the list before where they look the same.

    Besides, where the two differ; None when machines came, went or moved. What is given may be
    kept, so nobody may change it any more: a copy of 100,000 rows touches each of them.
    """
    if len(before) == len(now):
        places = differing(before, now)
        if all(_one_machine(before[place], now[place]) for place in places):
            kept = [place for place in places if looks_the_same(before[place], now[place])]
            made = _with(now, before, kept) if kept else now
            changed = sorted(set(places).difference(kept)) if kept else places
            return made, Changed(before, changed)
    known = {info.machine.key: info for info in before}
    return [_either(known.get(info.machine.key), info) for info in now], None


def takes_long(before: Sequence[ConsoleInfo], now: Sequence[ConsoleInfo]) -> bool:
    """Whether `unify` is better called in a thread, going by some of the rows.

    Where most are the very same objects it is done within a millisecond or two; another core would
    have to fetch every one of them first, and the interface's then fetch them back.
    """
    if len(now) < _LARGE:
        return False
    step = len(now) // _LOOKS
    pairs = zip(before[::step], now[::step], strict=False)
    return sum(one is other for one, other in pairs) < _LOOKS // 2


def _with(
    now: Sequence[ConsoleInfo], before: Sequence[ConsoleInfo], kept: Sequence[int]
) -> list[ConsoleInfo]:
    made = list(now)
    for place in kept:
        made[place] = before[place]
    return made


def differing(before: Sequence[ConsoleInfo], now: Sequence[ConsoleInfo]) -> list[int]:
    """The places at which two lists of one length have objects that are not the same."""
    if type(before) is not type(now):  # a tuple is never equal to a list
        before, now = list(before), list(now)
    places: list[int] = []
    for begin in range(0, len(now), _AT_ONCE):
        old, new = before[begin : begin + _AT_ONCE], now[begin : begin + _AT_ONCE]
        # Objects are compared by their fields only where they are not the same one; of a list
        # that was read anew none is, and each one is looked at by itself anyhow.
        if old[0] is not new[0] or old != new:
            pairs = enumerate(zip(old, new, strict=True), begin)
            places += [place for place, (one, other) in pairs if one is not other]
    return places


def looks_the_same(old: ConsoleInfo, new: ConsoleInfo) -> bool:
    """Whether only the moment differs at which it was seen, which every listing moves on."""
    return (
        (old.machine is new.machine or old.machine == new.machine)
        and old.stale == new.stale
        and old.sessions == new.sessions
        and old.startable == new.startable
        and (old.abilities is new.abilities or old.abilities == new.abilities)
    )


def _one_machine(old: ConsoleInfo, new: ConsoleInfo) -> bool:
    return old.machine is new.machine or old.machine.key == new.machine.key


def _either(old: ConsoleInfo | None, new: ConsoleInfo) -> ConsoleInfo:
    return old if old is not None and looks_the_same(old, new) else new
