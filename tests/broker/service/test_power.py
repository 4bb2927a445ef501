"""What is said of verbs that a machine has not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.errors import StoreError, Unwritten, UsageError
from broker.events import Kind
from broker.model import Machine, MachineId, MachineKey, Power, SourceName
from broker.service.power import PowerVerbs
from broker.store.patience import AT_ONCE_SECONDS, patience
from tests.fakes.service import console


async def test_a_vm_of_this_host_has_a_reset_in_place_of_a_reboot() -> None:
    here = console("web").machine
    assert here.defined

    def machine(key: MachineKey) -> object:
        assert key == here.key
        return here

    verbs = PowerVerbs()
    verbs._store = cast(Any, SimpleNamespace(machine=machine))
    with pytest.raises(UsageError, match="cannot be asked to boot anew") as told:
        await verbs.reboot(here.key)
    assert told.value.fix.startswith("Reset it: broker vm reset web;")


class Held:
    """A store that another process writes to: who waits for long gets to write in the end, or not.

    And its driver, which switches off.
    """

    def __init__(self, machine: Machine, *, ends: bool) -> None:
        self.now, self._ends = machine, ends
        self.done: list[str] = []

    def machine(self, _key: MachineKey) -> Machine:
        return self.now

    def put_wanted(self, _key: MachineKey, power: Power) -> None:
        if not self._ends or patience() == AT_ONCE_SECONDS:
            raise StoreError("broker.db is held by another process for too long")
        self.done.append(f"noted {power}")

    async def driver(self, _name: SourceName) -> Held:
        return self

    async def refresh_machine(self, _key: MachineKey) -> None:
        self.done.append("looked")

    async def start(self, machine_id: MachineId) -> None: ...

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None:
        self.done.append(f"stopped within {timeout:g} s")

    async def kill(self, machine_id: MachineId) -> None:
        self.done.append("killed")


class Asked(Held):
    """Its driver can press a power button, and leave it at that."""

    async def stop_visibly(
        self, machine_id: MachineId, *, timeout: float, tell: Callable[[str], None]
    ) -> None: ...

    async def ask_to_stop(self, machine_id: MachineId) -> bool:
        self.done.append("asked")
        return True


def held(*, ends: bool, kind: type[Held] = Held) -> tuple[PowerVerbs, Held]:
    house = kind(console("web").machine, ends=ends)
    verbs: Any = PowerVerbs()
    verbs._store = verbs._machines = house

    async def tell(_kind: Kind, _machine: Machine, text: str) -> None:
        house.done.append(text)

    verbs._tell = tell
    return verbs, house


async def test_a_kill_does_not_wait_for_who_holds_the_database() -> None:
    verbs, house = held(ends=True)
    assert await verbs.kill(house.now.key) is house.now
    assert house.done == ["killed", "noted off", "here/web was switched off", "looked"]


async def test_a_stop_does_not_wait_for_who_holds_the_database() -> None:
    verbs, house = held(ends=True)
    assert await verbs.stop(house.now.key, timeout=7) is house.now
    assert house.done[:2] == ["stopped within 7 s", "noted off"]


async def test_what_could_not_be_written_of_a_kill_is_said_once_it_is_done() -> None:
    verbs, house = held(ends=False)
    with pytest.raises(Unwritten, match="here/web is off, but that it is to stay off cannot"):
        await verbs.kill(house.now.key)
    assert house.done == ["killed"]


async def test_a_stop_that_nobody_waits_for_is_written_down_once_it_was_asked_for() -> None:
    verbs, house = held(ends=True, kind=Asked)
    assert await verbs.stop(house.now.key, timeout=7, wait=False) is house.now
    assert house.done == ["asked", "noted off", "looked"]


async def test_what_could_not_be_written_of_a_stop_that_was_asked_for_is_said() -> None:
    verbs, house = held(ends=False, kind=Asked)
    with pytest.raises(StoreError, match="here/web was asked to power off, but that") as told:
        await verbs.stop(house.now.key, timeout=7, wait=False)
    assert not isinstance(told.value, Unwritten)
    assert told.value.fix.startswith("Stop it once more")
    assert house.done == ["asked"]
