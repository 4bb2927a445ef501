"""The consoles in memory: a number for each, one search text for each, views as lists of numbers.

A view is a list of numbers in the order the service gave; filtering makes a new list and copies
nothing. A number names the same machine for as long as the app lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from broker.model import MachineKey
from broker.service.port import ConsoleInfo
from tui.query import Query, parse

FIELDS: Final = frozenset({"name", "state", "source", "host", "via"})


@dataclass(frozen=True, slots=True)
class Applied:
    """What new lists changed: rows that look different, and whether rows came, went or moved."""

    changed: frozenset[int]
    reordered: bool


class Catalog:
    """All consoles, by number."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self._changed: set[int] = set()
        self._reordered = True
        self._rows: dict[int, ConsoleInfo] = {}
        self._hay: dict[int, str] = {}
        self._number: dict[MachineKey, int] = {}

    def __len__(self) -> int:
        return len(self.order)

    def row(self, number: int) -> ConsoleInfo:
        """The console with that number; one that has gone keeps its last face."""
        return self._rows[number]

    def number(self, key: MachineKey) -> int | None:
        """The number of a machine, if it was ever seen."""
        return self._number.get(key)

    def apply(self, consoles: Sequence[ConsoleInfo]) -> None:
        """Take a whole new list."""
        order: list[int] = []
        for info in consoles:
            key = info.machine.key
            number = self._number.setdefault(key, len(self._number))
            order.append(number)
            if self._rows.get(number) != info:
                self._rows[number] = info
                self._hay[number] = _hay(info)
                self._changed.add(number)
        self._reordered = self._reordered or order != self.order
        self.order = order

    def take_changes(self) -> Applied:
        """What changed since this was last asked."""
        applied = Applied(frozenset(self._changed), self._reordered)
        self._changed.clear()
        self._reordered = False
        return applied

    def find(self, text: str) -> tuple[list[int], Query]:
        """The numbers that match a filter, in list order, and the filter as understood."""
        query = parse(text, FIELDS)
        if query.is_empty:
            return self.order, query
        hay = self._hay
        if query.fields or query.fields_without or query.without:
            found = [n for n in self.order if query.matches(hay[n], _fields(self._rows[n]))]
        else:
            found = self.order
            for word in query.words:
                found = [n for n in found if word in hay[n]]
        return found, query


def _fields(info: ConsoleInfo) -> dict[str, str]:
    machine = info.machine
    state = "stale" if info.stale else machine.state.value
    return {
        "name": machine.name.lower(),
        "state": state,
        "source": machine.key.source.lower(),
        "host": machine.hypervisor.lower(),
        "via": machine.protocol.value,
    }


def _hay(info: ConsoleInfo) -> str:
    machine = info.machine
    parts = (
        machine.name,
        machine.key.source,
        machine.hypervisor,
        machine.hypervisor_ip,
        machine.state.value,
        machine.protocol.value,
        machine.key.uuid,
        "stale" if info.stale else "",
    )
    return "\n".join(parts).lower()
