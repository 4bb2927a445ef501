"""The consoles in memory: a number for each, what is searched of each, views as lists of numbers.

A view is a list of numbers in the order the service gave, or sorted; filtering makes a new list
and copies nothing. A number names the same machine for as long as the app lives.

Of what is searched, name and uuid are a row's own, and are the machine's own strings wherever they
can be. The rest (source, host, state and the like) is a text that many rows share: it is searched
once, and a text for each row would be 16 MB for 100,000 of them.

Of a list that changes all the time only what changed is looked at again: it is taken out of what
was found and sorted before, and put in where it belongs now.
"""

from __future__ import annotations

import re
from array import array
from bisect import insort
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, Final, NamedTuple

from broker.model import MachineKey
from broker.service.info import ConsoleInfo
from tui.query import Query, parse
from tui.rows import state_word
from tui.unify import Changed, differing, looks_the_same

_NAME: Final = "\x01"
_TAGS: Final = {"name": _NAME, "state": "\x02", "source": "\x03", "host": "\x04", "via": "\x05"}
_FIELD: Final = re.compile(r"[\x01-\x05][^\x01-\x05]*")
_OF_A_UUID: Final = frozenset("0123456789abcdef-")
_UUID_LENGTH: Final = 36
_UUID_BEGINS: Final = 4
"""Characters from which on a uuid is looked for that has them where one of its groups begins:
fewer, or anywhere in it, would be in most of them."""
_FEW: Final = 1 / 100
"""Of a list: so much of it is put into its places sooner than the whole is made anew."""
FIELDS: Final = frozenset(_TAGS)


class Applied(NamedTuple):
    """What new lists changed: rows that look different, and whether rows came, went or moved."""

    changed: frozenset[int]
    reordered: bool


class Order(NamedTuple):
    """What the rows are sorted by: a column's title, its key, and whether downwards."""

    title: str
    key: Callable[[ConsoleInfo], Any]
    down: bool = False


class Catalog:
    """All consoles, by number."""

    def __init__(self) -> None:
        self.order: list[int] = []
        """As the service gave them."""
        self.sorted_by: Order | None = None
        self._sorted: list[int] | None = None
        self._moved: set[int] = set()
        """Rows that may stand elsewhere since `_sorted` was made."""
        self._places: array[int] | None = None
        self._last: Sequence[ConsoleInfo] = ()
        self._changed: set[int] = set()
        self._reordered = True
        self._rows: list[ConsoleInfo] = []
        self._names: list[str] = []
        self._uuids: list[str] = []
        self._odd_uuids = False
        self._rest: list[str] = []
        self._shared: dict[str, str] = {}
        self._number: dict[MachineKey, int] = {}
        self._found: tuple[tuple[str, ...], list[int]] | None = None
        """The words of the last filter but for those that must not be there, and what has them."""
        self._turned: set[int] = set()
        """Rows that may match otherwise, or stand elsewhere, since `_found` was made."""
        self._answer: tuple[Query, list[int]] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def row(self, number: int) -> ConsoleInfo:
        """The console with that number; one that has gone keeps its last face."""
        return self._rows[number]

    def number(self, key: MachineKey) -> int | None:
        """The number of a machine, if it was ever seen."""
        return self._number.get(key)

    def apply(self, consoles: Sequence[ConsoleInfo], changed: Changed | None = None) -> None:
        """Take a whole new list. Rows that are the very same object cost next to nothing.

        Args:
            changed: Where it differs from the list before, if that is known already.
        """
        if changed is not None and changed.since is self._last:
            self._patch(consoles, changed.places)
            return
        if len(consoles) == len(self._last):
            places, last = differing(self._last, consoles), self._last
            if all(consoles[place].machine.key == last[place].machine.key for place in places):
                self._patch(consoles, places)
                return
        order: list[int] = []
        for info in consoles:
            number = self._number.setdefault(info.machine.key, len(self._number))
            order.append(number)
            self._put(number, info)
        if order != self.order:
            self._reordered = True
            self._places = None
            self._forget()
        self.order, self._last = order, consoles

    def _patch(self, consoles: Sequence[ConsoleInfo], places: Sequence[int]) -> None:
        """Take a list of the same machines in the same order."""
        for place in places:
            self._put(self.order[place], consoles[place])
        self._last = consoles

    def _put(self, number: int, info: ConsoleInfo) -> None:
        if number == len(self._rows):
            self._rows.append(info)
            self._names.append(_lower(info.machine.name))
            self._uuids.append(uuid := info.machine.key.uuid)
            self._odd_uuids |= len(uuid) != _UUID_LENGTH
            self._rest.append(self._shared_rest(info))
        else:
            old = self._rows[number]
            if old is info:
                return
            self._rows[number] = info
            if looks_the_same(old, info):
                return
            self._changed.add(number)
            name, rest = _lower(info.machine.name), self._shared_rest(info)
            if (self._names[number], self._rest[number]) != (name, rest):
                self._names[number], self._rest[number] = name, rest
                self._turned.add(number)
            order = self.sorted_by
            if order is not None and order.key(old) != order.key(info):
                self._moved.add(number)
                self._turned.add(number)
            return
        self._changed.add(number)
        self._forget()

    def _forget(self) -> None:
        """Nothing that was found or sorted holds."""
        self._sorted = self._found = self._answer = None
        self._moved.clear()
        self._turned.clear()

    def take_changes(self) -> Applied:
        """What changed since this was last asked."""
        applied = Applied(frozenset(self._changed), self._reordered)
        self._changed.clear()
        self._reordered = False
        return applied

    def sort_by(self, order: Order | None) -> None:
        """Sort by that; None keeps the service's order."""
        self.sorted_by = order
        self._forget()

    def _ordered(self) -> list[int]:
        if self.sorted_by is None:
            return self.order
        if self._sorted is None or not self._is_few(self._moved):
            key, rows = self.sorted_by.key, self._rows
            self._forget()
            self._sorted = sorted(
                self.order, key=lambda number: key(rows[number]), reverse=self.sorted_by.down
            )
        elif self._moved:
            self._sorted = self._placed(self._sorted, self._moved, self._moved)
            self._moved.clear()
        return self._sorted

    def find(self, text: str) -> tuple[list[int], Query]:
        """The numbers that match a filter, in the order asked for, and the filter as understood.

        It is the very same list as long as it would say the same.
        """
        query = parse(text, FIELDS)
        ordered = self._ordered()
        if query.is_empty:
            return ordered, query
        if self._answer is not None and self._answer[0] == query and not self._turned:
            return self._answer[1], query
        needles = (*query.words, *map(_tagged, query.fields))
        before = self._found_before()
        if before is None or not self._narrows(needles, before[0]):
            found = self._having_all(needles, ordered)
        elif needles == before[0]:
            found = before[1]
        else:  # one more letter: only what was left can be left
            found = self._having_all(needles, before[1])
        self._found = (needles, found)
        for needle in (*query.without, *map(_tagged, query.fields_without)):
            out = set(self._having(needle, found))
            found = [n for n in found if n not in out]
        self._answer = (query, found)
        return found, query

    def values(self, field: str) -> set[str]:
        """What rows have, or had, in that field, in lower case; of names nothing."""
        tag = _TAGS[field]
        return {
            line
            for text in self._shared
            for part in _FIELD.findall(text)
            if part[0] == tag
            for line in part[1:].split("\n")
        }

    def _found_before(self) -> tuple[tuple[str, ...], list[int]] | None:
        """What was found the last time, as it would be found now; None when that is no help."""
        before, turned = self._found, self._turned
        if not self._is_few(turned):
            before = None
        elif before is not None and turned:
            needles, found = before
            again = self._having_all(needles, list(turned))
            before = needles, self._placed(found, turned, again)
        turned.clear()
        return before

    def _is_few(self, some: Set[int]) -> bool:
        return len(some) <= len(self.order) * _FEW

    def _placed(self, listed: list[int], out: Set[int], again: Iterable[int]) -> list[int]:
        """A list in the order asked for, without those, and with these where they belong."""
        places = self._places
        if places is None:
            places = self._places = array("L", bytes(8 * len(self._rows)))
            for place, number in enumerate(self.order):
                places[number] = place
        placed = [number for number in listed if number not in out]
        if self.sorted_by is None:
            for number in again:
                insort(placed, number, key=places.__getitem__)
            return placed
        key, rows, sign = self.sorted_by.key, self._rows, 1
        if self.sorted_by.down:  # those that are alike stand in the service's order all the same
            sign = -1
            placed.reverse()
        for number in again:
            insort(placed, number, key=lambda n: (key(rows[n]), sign * places[n]))
        if self.sorted_by.down:
            placed.reverse()
        return placed

    def _having_all(self, needles: Iterable[str], numbers: list[int]) -> list[int]:
        """Those of the rows that have all of them."""
        for needle in needles:
            numbers = self._having(needle, numbers)
        return numbers

    def _having(self, needle: str, numbers: list[int]) -> list[int]:
        """Those of the rows that have it."""
        names, uuids, rest = self._names, self._uuids, self._rest
        if needle.startswith(_NAME):
            return [n for n in numbers if names[n].startswith(needle[1:])]
        shared = {text for text in self._shared if needle in text}
        if needle[0] in _TAGS.values():
            return [n for n in numbers if rest[n] in shared]
        if self._begins_uuids(needle):
            inside = f"-{needle}"
            return [
                n
                for n in numbers
                if needle in names[n]
                or (needle in uuids[n] and (inside in uuids[n] or uuids[n].startswith(needle)))
                or rest[n] in shared
            ]
        if shared:
            return [n for n in numbers if needle in names[n] or rest[n] in shared]
        return [n for n in numbers if needle in names[n]]

    def _begins_uuids(self, needle: str) -> bool:
        """Whether uuids are meant, too, of which a group begins so."""
        return len(needle) >= _UUID_BEGINS and (self._odd_uuids or _OF_A_UUID.issuperset(needle))

    def _narrows(self, needles: tuple[str, ...], before: tuple[str, ...]) -> bool:
        """Whether whatever has all these has all those, too."""
        return bool(before) and all(
            any(self._covers(old, new) for new in needles) for old in before
        )

    def _covers(self, old: str, new: str) -> bool:
        """Whether whatever has the new one has the old one, too; uuids have it at a beginning."""
        if not self._begins_uuids(new):
            return old in new
        return new.startswith(old) and self._begins_uuids(old)

    def _shared_rest(self, info: ConsoleInfo) -> str:
        rest = _rest(info)
        return self._shared.setdefault(rest, rest)


def _tagged(field: tuple[str, str]) -> str:
    """What is in the search text of a row whose field begins so."""
    return f"{_TAGS[field[0]]}{field[1]}"


def _lower(name: str) -> str:
    """In lower case; the very same text when it is so already."""
    lower = name.lower()
    return name if lower == name else lower


def _rest(info: ConsoleInfo) -> str:
    """What is searched besides name and uuid: each field behind its tag, which nobody can type."""
    machine = info.machine
    tags = _TAGS
    state = "stale" if info.stale else machine.state.value
    text = (
        f"{tags['source']}{machine.key.source}"
        f"{tags['host']}{machine.hypervisor}\n{machine.hypervisor_ip}"
        f"{tags['via']}{machine.protocol.value}{tags['state']}{state}"
    )
    also = machine.state.value if info.stale else state_word(machine.state)
    if also != state:
        text += f"\n{also}" if info.stale else f"{tags['state']}{also}"
    return text.lower()
