"""Switching machines of hypervisors: they are asked, and nothing of that is kept here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from broker.driver import Driver, SingleLook
from broker.errors import Refused, UsageError
from broker.events import Kind
from broker.hypervisor import Offering, Switching
from broker.model import Ability, Machine, State
from broker.within import within

if TYPE_CHECKING:
    from broker.service.guests import Tell

LOOK_EVERY: Final = 1.0
"""Seconds between looks at a guest that was asked to go off."""
OFF: Final = (State.STOPPED, State.CRASHED)
_KINDS: Final = {Ability.START: Kind.MACHINE_STARTED, Ability.STOP: Kind.MACHINE_STOPPED}
_DONE: Final = {Ability.START: "started", Ability.STOP: "was switched off"}


async def do(driver: Driver, machine: Machine, ability: Ability, tell: Tell) -> None:
    """Do that to a machine, and write it down.

    Raises:
        UsageError: Its source cannot do that; why is said.
        BrokerError: What its hypervisor answered.
    """
    switching = see_that_it_can(driver, machine, ability)
    await switching.switch(machine.key.uuid, ability)
    if ability in _KINDS:
        await tell(_KINDS[ability], machine, f"{machine.full_name} {_DONE[ability]}")


async def stop(
    driver: Driver,
    machine: Machine,
    grace: float,
    tell: Tell,
    step: Callable[[str], None] | None,
) -> None:
    """Ask the guest to go off, and cut its power when it has not within `grace` seconds.

    Raises:
        UsageError: Its source cannot do that; why is said.
        Refused: It did not go off, and its source cannot cut its power.
    """
    switching = see_that_it_can(driver, machine, Ability.SHUTDOWN)
    if step is not None:
        step("asked to power off")
    await switching.switch(machine.key.uuid, Ability.SHUTDOWN)
    if await _goes_off(driver, machine, grace):
        await tell(Kind.MACHINE_STOPPED, machine, f"{machine.full_name} stopped")
        return
    if why := why_not(driver, Ability.STOP):
        raise Refused(f"{machine.full_name} did not go off in {grace:g} s. {why}", reason="guest")
    if step is not None:
        step(f"it did not within {grace:g} s, so its power is cut")
    await do(driver, machine, Ability.STOP, tell)


async def _goes_off(driver: Driver, machine: Machine, grace: float) -> bool:
    async def is_off() -> bool:
        if isinstance(driver, SingleLook):
            return (await driver.machine(machine.key.uuid)).state in OFF
        return any(
            each.key == machine.key and each.state in OFF for each in await driver.machines()
        )

    try:
        async with within(grace):
            while not await is_off():  # noqa: ASYNC110 - a hypervisor changes it
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError:
        return await is_off()
    return True


def see_that_it_can(driver: Driver, machine: Machine, ability: Ability) -> Switching:
    """The driver as one that can do that.

    Raises:
        UsageError: It is not; why is said.
    """
    if isinstance(driver, Switching) and not (why := why_not(driver, ability)):
        return driver
    if not isinstance(driver, Switching):
        why = "its source does not switch machines"
    raise UsageError(
        f"{machine.full_name} cannot be told to {ability.value} from here: {why}",
        fix="Do that where it runs",
    )


def why_not(driver: Driver, ability: Ability) -> str:
    """Why its machines cannot do that; empty when they can."""
    if not isinstance(driver, Offering):
        return "its source does not say that it can"
    return driver.abilities().get(ability, "its type of source has no such verb")


Act = Callable[[Driver, Machine], Awaitable[None]]
"""Something done to a machine of a hypervisor."""
