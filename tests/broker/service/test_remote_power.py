"""Machines of hypervisors, switched by asking."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from broker.driver import Driver
from broker.errors import Refused, UsageError
from broker.events import Kind
from broker.model import Ability, Machine, MachineId, State
from broker.service import remote_power
from tests.fakes.service import console

WEB = replace(console("web").machine, defined=False, state=State.RUNNING)


@dataclass
class Hypervisor:
    """Does what it is told to, or is deaf to the power button."""

    can: Mapping[Ability, str] = field(
        default_factory=lambda: {Ability.SHUTDOWN: "", Ability.STOP: "", Ability.START: ""}
    )
    deaf: bool = False
    state: State = State.RUNNING
    asked: list[Ability] = field(default_factory=list)

    def abilities(self) -> Mapping[Ability, str]:
        return self.can

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        self.asked.append(ability)
        if ability is Ability.STOP or not self.deaf:
            self.state = State.STOPPED

    async def machine(self, machine_id: MachineId) -> Machine:
        return replace(WEB, state=self.state)


@dataclass
class Told:
    kinds: list[Kind] = field(default_factory=list)

    async def __call__(self, kind: Kind, machine: Machine, text: str) -> None:
        self.kinds.append(kind)


def driver(fake: object) -> Driver:
    return cast(Driver, cast(Any, fake))


async def test_a_guest_that_hears_is_only_asked() -> None:
    there, told = Hypervisor(), Told()
    await remote_power.stop(driver(there), WEB, 30, told, None)
    assert there.asked == [Ability.SHUTDOWN]
    assert told.kinds == [Kind.MACHINE_STOPPED]


async def test_one_that_does_not_has_its_power_cut() -> None:
    there, told, steps = Hypervisor(deaf=True), Told(), list[str]()
    await remote_power.stop(driver(there), WEB, 0, told, steps.append)
    assert there.asked == [Ability.SHUTDOWN, Ability.STOP]
    assert len(steps) == 2


async def test_where_power_cannot_be_cut_it_is_said() -> None:
    can = {Ability.SHUTDOWN: "", Ability.STOP: "the right VM.PowerMgmt is missing"}
    there = Hypervisor(can=can, deaf=True)
    with pytest.raises(Refused, match="PowerMgmt"):
        await remote_power.stop(driver(there), WEB, 0, Told(), None)


@pytest.mark.parametrize(
    ("fake", "why"),
    [
        (Hypervisor(can={Ability.PAUSE: "oVirt cannot pause"}), "oVirt cannot pause"),
        (Hypervisor(can={}), "no such verb"),
        (object(), "does not switch machines"),
    ],
)
async def test_what_a_source_cannot_do_is_refused_with_the_reason(fake: object, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        await remote_power.do(driver(fake), WEB, Ability.PAUSE, Told())
