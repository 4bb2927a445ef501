"""Carrying out what is wanted of one machine, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from broker.driver import GradualStop, PowerControl, SingleLook
from broker.errors import BrokerError, NotFound, UsageError
from broker.events import Event, Kind
from broker.model import Machine, MachineKey, Power, SourceName, State
from broker.reconcile.plan import SwitchOff, SwitchOn, plan_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.clock import Clock
    from broker.driver import Driver


class Drivers(Protocol):
    """Where drivers come from, and how what they show is stored."""

    async def driver(self, name: SourceName) -> Driver: ...

    async def refresh_machine(self, key: MachineKey) -> None: ...


class WantedStore(Protocol):
    """What is needed of the store."""

    def wanted(self) -> Mapping[MachineKey, Power]: ...

    def machine(self, key: MachineKey) -> Machine: ...

    def add_event(self, event: Event) -> object: ...


class MachineReconciler:
    """Looks, plans and acts on one machine at a time.

    Two processes may do so at once: a driver holds the VM's lock while it acts and looks again
    under it, so that the second finds nothing left to do.
    """

    def __init__(self, store: WantedStore, drivers: Drivers, clock: Clock) -> None:
        self._store = store
        self._drivers = drivers
        self._clock = clock

    async def reconcile(
        self,
        key: MachineKey,
        *,
        wanted: Power | None = None,
        gently: bool = True,
        grace: float,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """Make it as it is wanted; returns it as it is then seen.

        Args:
            wanted: What has just been written down as that, so that it need not be read again.
            gently: Off means asking the guest first.
            grace: Seconds the guest has to go off by itself.
            tell: Told each step of switching off as it begins.

        Raises:
            NotFound: The source does not show the machine (any more).
            UsageError: The source cannot switch machines.
            VmStartFailed: It did not start.
        """
        driver = await self._drivers.driver(key.source)
        seen = await _seen(driver, key)
        if wanted is None:
            wanted = (await asyncio.to_thread(self._store.wanted)).get(key)
        if not isinstance(driver, PowerControl):
            raise UsageError(
                f"{seen.full_name} cannot be switched from here",
                fix="Only VMs of a local source can; see: broker vm list",
            )
        try:
            for step in plan_machine(key, wanted, seen.state, gently=gently):
                await self._carry_out(driver, step, seen, grace, tell)
        finally:
            await self._drivers.refresh_machine(key)
        return await asyncio.to_thread(self._store.machine, key)

    async def _carry_out(
        self,
        driver: PowerControl,
        step: SwitchOn | SwitchOff,
        seen: Machine,
        grace: float,
        tell: Callable[[str], None] | None,
    ) -> None:
        try:
            if isinstance(step, SwitchOn):
                await driver.start(step.key.uuid)
                await self._tell(Kind.MACHINE_STARTED, seen, f"{seen.full_name} started")
            elif seen.state is State.CRASHED and seen.pid is None:
                await driver.stop(step.key.uuid, timeout=grace)
                text = f"{seen.full_name} counts as stopped after its crash"
                await self._tell(Kind.MACHINE_STOPPED, seen, text)
            elif step.gently:
                how = await _stop(driver, step.key, grace, tell)
                await self._tell(Kind.MACHINE_STOPPED, seen, f"{seen.full_name} stopped{how}")
            else:
                await driver.kill(step.key.uuid)
                await self._tell(Kind.MACHINE_STOPPED, seen, f"{seen.full_name} was killed")
        except BrokerError as problem:
            await self._tell(Kind.MACHINE_FAILED, seen, problem.what)
            raise

    async def _tell(self, kind: Kind, machine: Machine, text: str) -> None:
        await asyncio.to_thread(
            self._store.add_event,
            Event(
                at=self._clock.now(),
                kind=kind,
                text=text,
                source=machine.key.source,
                key=machine.key,
                console=machine.name,
            ),
        )


async def _stop(
    driver: PowerControl, key: MachineKey, grace: float, tell: Callable[[str], None] | None
) -> str:
    """Switch it off; what it took, when that was more than asking, in brackets."""
    if not isinstance(driver, GradualStop):
        await driver.stop(key.uuid, timeout=grace)
        return ""
    steps: list[str] = []

    def told(text: str) -> None:
        steps.append(text)
        if tell is not None:
            tell(text)

    await driver.stop_visibly(key.uuid, timeout=grace, tell=told)
    return f" ({steps[-1]})" if steps[1:] else ""


async def _seen(driver: Driver, key: MachineKey) -> Machine:
    """The machine as it is now; one that another brings to a stand does not hold this one up.

    Raises:
        NotFound: The source does not show it (any more).
    """
    if isinstance(driver, SingleLook):
        return await driver.machine(key.uuid)
    for machine in await driver.machines():
        if machine.key == key:
            return machine
    raise NotFound(f"{key.source} does not show {key.uuid} any more", fix="broker list")
