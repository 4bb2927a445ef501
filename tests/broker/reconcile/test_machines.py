"""How one machine is looked at; switching for real: tests/integration/test_vm_driver.py."""

from collections.abc import Mapping, Sequence

import pytest

from broker.errors import NotFound, UsageError
from broker.events import Event
from broker.model import Machine, MachineId, MachineKey, Power, SourceName, State
from broker.reconcile.machines import MachineReconciler
from tests.fake_clock import FakeClock

HERE = SourceName("here")
ONE, TWO = (
    Machine(MachineKey(HERE, MachineId(f"{n}")), f"vm-{n}", State.STOPPED, defined=True)
    for n in (1, 2)
)


class Listing:
    """A driver that shows what it has, and switches nothing."""

    def __init__(self, *machines: Machine) -> None:
        self._machines = machines
        self.listed = 0

    async def machines(self) -> Sequence[Machine]:
        self.listed += 1
        return self._machines


class Switching(Listing):
    """One that can look at one machine, and switch it on."""

    def __init__(self, *machines: Machine) -> None:
        super().__init__(*machines)
        self.started: list[MachineId] = []

    async def machine(self, machine_id: MachineId) -> Machine:
        return next(each for each in self._machines if each.key.uuid == machine_id)

    async def start(self, machine_id: MachineId) -> None:
        self.started.append(machine_id)

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None: ...

    async def kill(self, machine_id: MachineId) -> None: ...


class House:
    """The store and the drivers, as far as they are needed."""

    def __init__(self, driver: Listing) -> None:
        self._driver = driver
        self.refreshed: list[MachineKey] = []
        self.told: list[str] = []

    async def driver(self, _name: SourceName) -> Listing:
        return self._driver

    async def refresh_machine(self, key: MachineKey) -> None:
        self.refreshed.append(key)

    def wanted(self) -> Mapping[MachineKey, Power]:
        return {ONE.key: Power.ON}

    def machine(self, _key: MachineKey) -> Machine:
        return ONE

    def add_event(self, event: Event) -> None:
        self.told.append(event.text)


def reconciler(house: House) -> MachineReconciler:
    return MachineReconciler(house, house, FakeClock())  # type: ignore[arg-type]


async def test_a_driver_that_can_is_asked_for_one_machine_only() -> None:
    driver = Switching(ONE, TWO)
    house = House(driver)
    await reconciler(house).reconcile(ONE.key, grace=1)
    assert (driver.started, driver.listed) == ([ONE.key.uuid], 0)
    assert (house.told, house.refreshed) == (["here/vm-1 started"], [ONE.key])


async def test_another_is_asked_for_its_listing() -> None:
    driver = Listing(TWO, ONE)
    with pytest.raises(UsageError, match="cannot be switched from here"):
        await reconciler(House(driver)).reconcile(ONE.key, grace=1)
    assert driver.listed == 1


async def test_what_a_listing_does_not_show_is_not_found() -> None:
    with pytest.raises(NotFound, match="does not show 1 any more"):
        await reconciler(House(Listing(TWO))).reconcile(ONE.key, grace=1)
