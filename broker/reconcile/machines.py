"""Carrying out what is wanted of one machine, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from broker.driver import PowerControl
from broker.errors import BrokerError, NotFound, UsageError
from broker.events import Event, Kind
from broker.model import Machine, MachineId, MachineKey, Power, SourceName
from broker.reconcile.plan import SwitchOff, SwitchOn, plan_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.clock import Clock
    from broker.driver import Driver


class Drivers(Protocol):
    """Where drivers come from, and how what they show is stored."""

    async def driver(self, name: SourceName) -> Driver: ...

    async def refresh_source(self, name: SourceName) -> None: ...


class WantedStore(Protocol):
    """What is needed of the store."""

    def wanted(self) -> Mapping[MachineKey, Power]: ...

    def machine(self, key: MachineKey) -> Machine: ...

    def add_event(self, event: Event) -> object: ...


@runtime_checkable
class OneAtATime(Protocol):
    """A driver that can look at one machine without asking all of them."""

    async def machine(self, machine_id: MachineId) -> Machine: ...


class MachineReconciler:
    """Looks, plans and acts on one machine at a time.

    Two processes may do so at once: a driver holds the VM's lock while it acts and looks again
    under it, so that the second finds nothing left to do.
    """

    def __init__(self, store: WantedStore, drivers: Drivers, clock: Clock) -> None:
        self._store = store
        self._drivers = drivers
        self._clock = clock

    async def reconcile(self, key: MachineKey, *, gently: bool = True, grace: float) -> Machine:
        """Make it as it is wanted; returns it as it is then seen.

        Args:
            gently: Off means asking the guest first.
            grace: Seconds the guest has to go off by itself.

        Raises:
            NotFound: The source does not show the machine (any more).
            UsageError: The source cannot switch machines.
            VmStartFailed: It did not start.
        """
        driver = await self._drivers.driver(key.source)
        seen, wanted = await asyncio.gather(
            _seen(driver, key), asyncio.to_thread(self._store.wanted)
        )
        if not isinstance(driver, PowerControl):
            raise UsageError(
                f"{seen.full_name} cannot be switched from here",
                fix="Only VMs of a local source can; see: broker vm list",
            )
        try:
            for step in plan_machine(key, wanted.get(key), seen.state, gently=gently):
                await self._carry_out(driver, step, seen, grace)
        finally:
            await self._drivers.refresh_source(key.source)
        return await asyncio.to_thread(self._store.machine, key)

    async def _carry_out(
        self, driver: PowerControl, step: SwitchOn | SwitchOff, seen: Machine, grace: float
    ) -> None:
        try:
            if isinstance(step, SwitchOn):
                await driver.start(step.key.uuid)
                await self._tell(Kind.MACHINE_STARTED, seen, f"{seen.full_name} started")
            elif step.gently:
                await driver.stop(step.key.uuid, timeout=grace)
                await self._tell(Kind.MACHINE_STOPPED, seen, f"{seen.full_name} stopped")
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


async def _seen(driver: Driver, key: MachineKey) -> Machine:
    """The machine as it is now; one that another brings to a stand does not hold this one up.

    Raises:
        NotFound: The source does not show it (any more).
    """
    if isinstance(driver, OneAtATime):
        return await driver.machine(key.uuid)
    for machine in await driver.machines():
        if machine.key == key:
            return machine
    raise NotFound(f"{key.source} does not show {key.uuid} any more", fix="broker list")
