"""Switching machines: what is wanted is written down, then made so, now or by whoever stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from shlex import quote
from typing import TYPE_CHECKING, Protocol

from broker.driver import Driver, GradualStop, PowerControl, RunControl, SingleLook
from broker.errors import StoreError, Unwritten, UsageError
from broker.events import Kind
from broker.hypervisor import Switching
from broker.model import Ability, Machine, MachineKey, Power, SourceName
from broker.service.remote_power import Act, do
from broker.service.remote_power import stop as ask_off
from broker.service.stopping import stop
from broker.store.patience import AFTERWARDS_SECONDS, AT_ONCE_SECONDS, within

if TYPE_CHECKING:
    from broker.service.adopting import Adopting
    from broker.service.guests import Tell
    from broker.store.store import Store

log = logging.getLogger(__name__)


class Machines(Protocol):
    """What is needed of the sources."""

    async def refresh_machine(self, key: MachineKey) -> None:
        """Store how one machine is now."""
        ...

    async def driver(self, name: SourceName) -> Driver:
        """The driver of a source."""
        ...


class Reconciler(Protocol):
    """Makes one machine what is wanted of it."""

    async def reconcile(
        self,
        key: MachineKey,
        *,
        wanted: Power | None = None,
        gently: bool = True,
        grace: float,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """See `broker.reconcile.machines`."""
        ...


class PowerVerbs:
    """The verbs of the port that switch a machine. See `broker.service.port.Service` for each."""

    _store: Store
    _reconciler: Reconciler
    _adopting: Adopting
    _stop_timeout: float
    _machines: Machines
    _tell: Tell

    async def start(self, key: MachineKey) -> Machine:
        """Power on."""
        machine = await asyncio.to_thread(self._noted, key, Power.ON)
        if (there := await self._switched_there(machine)) is not None:
            return await self._asked(there, lambda d, m: do(d, m, Ability.START, self._tell))
        return await self._switch(machine, Power.ON, gently=True, grace=self._stop_timeout)

    async def stop(
        self,
        key: MachineKey,
        *,
        timeout: float | None = None,
        wait: bool = True,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """Ask the guest to power off, and see that it does."""
        grace = self._stop_timeout if timeout is None else timeout
        machine, unwritten = await self._noted_at_once(key)
        if (there := await self._switched_there(machine)) is not None and not wait:
            return await self._asked(there, lambda d, m: do(d, m, Ability.SHUTDOWN, self._tell))
        if there is not None:
            return await self._asked(there, lambda d, m: ask_off(d, m, grace, self._tell, tell))
        if not wait and await self._is_only_asked(machine):
            if unwritten is not None:
                await self._noted_afterwards(machine)
            return await self._seen_now(key)
        if unwritten is not None:
            return await self._off_first(
                machine, unwritten, lambda d: stop(d, key.uuid, grace, tell)
            )
        return await self._switch(machine, Power.OFF, gently=True, grace=grace, tell=tell)

    async def kill(self, key: MachineKey) -> Machine:
        """Power off at once."""
        machine, unwritten = await self._noted_at_once(key)
        if (there := await self._switched_there(machine)) is not None:
            return await self._asked(there, lambda d, m: do(d, m, Ability.STOP, self._tell))
        if unwritten is None:
            try:
                with within(AFTERWARDS_SECONDS):
                    return await self._switch(machine, Power.OFF, gently=False, grace=0.0)
            except Unwritten:
                raise
            except StoreError as problem:
                unwritten = problem
        return await self._off_first(machine, unwritten, lambda driver: driver.kill(key.uuid))

    async def pause(self, key: MachineKey) -> Machine:
        """Hold its CPUs."""
        return await self._control(key, Ability.PAUSE, lambda driver: driver.pause(key.uuid))

    async def resume(self, key: MachineKey) -> Machine:
        """Let it go on."""
        return await self._control(key, Ability.RESUME, lambda driver: driver.resume(key.uuid))

    async def reset(self, key: MachineKey) -> Machine:
        """Press its reset button."""
        return await self._control(key, Ability.RESET, lambda driver: driver.reset(key.uuid))

    async def reboot(self, key: MachineKey) -> Machine:
        """Ask its guest to start anew."""
        machine = await asyncio.to_thread(self._store.machine, key)
        if machine.defined or machine.adopted:
            raise UsageError(
                f"{machine.name} is a VM of this host: its guest cannot be asked to boot anew",
                fix=f"Reset it: broker vm reset {quote(machine.name)}; or stop it, and start it",
            )
        there = (await self._machines.driver(key.source), machine)
        return await self._asked(there, lambda d, m: do(d, m, Ability.REBOOT, self._tell))

    async def _switch(
        self,
        machine: Machine,
        power: Power,
        *,
        gently: bool,
        grace: float,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        if machine.adopted:
            return await self._adopting.switch(machine, power, gently, grace, tell)
        _check_defined(machine)
        return await self._reconciler.reconcile(
            machine.key, wanted=power, gently=gently, grace=grace, tell=tell
        )

    async def _is_only_asked(self, machine: Machine) -> bool:
        """Whether a guest was there to hear its power button; a broker that stays sees to the rest.

        Not with an adopted machine: nobody looks after those, and they are only ever asked.
        """
        if not machine.adopted:
            _check_defined(machine)
        key = machine.key
        with within(AT_ONCE_SECONDS):
            driver = await self._machines.driver(key.source)
        return isinstance(driver, GradualStop) and await driver.ask_to_stop(key.uuid)

    async def _there(self, key: MachineKey) -> tuple[Driver, Machine] | None:
        return await self._switched_there(await asyncio.to_thread(self._store.machine, key))

    async def _switched_there(self, machine: Machine) -> tuple[Driver, Machine] | None:
        """A machine that a hypervisor switches, and its driver; None for VMs of this host."""
        if machine.defined or machine.adopted:
            return None
        driver = await self._machines.driver(machine.key.source)
        return (driver, machine) if isinstance(driver, Switching) else None

    async def _asked(self, there: tuple[Driver, Machine], act: Act) -> Machine:
        """Have a hypervisor do that, then look at what came of it."""
        try:
            await act(*there)
        finally:
            await self._machines.refresh_machine(there[1].key)
        return await asyncio.to_thread(self._store.machine, there[1].key)

    async def _control(
        self, key: MachineKey, ability: Ability, act: Callable[[RunControl], Awaitable[None]]
    ) -> Machine:
        if (there := await self._there(key)) is not None:
            return await self._asked(there, lambda d, m: do(d, m, ability, self._tell))
        with within(AT_ONCE_SECONDS):
            driver = await self._machines.driver(key.source)
        if not isinstance(driver, RunControl):
            machine = await asyncio.to_thread(self._store.machine, key)
            raise UsageError(
                f"{machine.full_name} cannot be paused or reset from here",
                fix="Only VMs of a local source can; see: broker vm list",
            )
        try:
            await act(driver)
        except BaseException:
            await self._machines.refresh_machine(key)
            raise
        return await self._seen_now(key)

    async def _seen_now(self, key: MachineKey) -> Machine:
        """How it is after something was done to it, also where that cannot be stored."""
        try:
            with within(AFTERWARDS_SECONDS):
                await self._machines.refresh_machine(key)
        except StoreError as problem:  # whoever looks next stores it
            log.warning("what was done to %s is not in the list yet: %s", key.uuid, problem)
            with within(AT_ONCE_SECONDS):
                driver = await self._machines.driver(key.source)
            if isinstance(driver, SingleLook):
                return await driver.machine(key.uuid)
        return await asyncio.to_thread(self._store.machine, key)

    async def _noted_at_once(self, key: MachineKey) -> tuple[Machine, StoreError | None]:
        """The machine; noted that it is to be off, or why that must wait until it is."""
        with within(AT_ONCE_SECONDS):
            try:
                return await asyncio.to_thread(self._noted, key, Power.OFF), None
            except StoreError as problem:
                return await asyncio.to_thread(self._store.machine, key), problem

    async def _off_first(
        self,
        machine: Machine,
        unwritten: StoreError,
        act: Callable[[PowerControl], Awaitable[None]],
    ) -> Machine:
        """Switch a VM of this host off, and write that down afterwards.

        Raises:
            Unwritten: It is off, and the store still cannot be written.
        """
        log.info("%s is switched off before that is written down: %s", machine.name, unwritten)
        with within(AT_ONCE_SECONDS):
            driver = await self._machines.driver(machine.key.source)
        if not isinstance(driver, PowerControl):
            raise unwritten
        await act(driver)
        name = machine.full_name
        try:
            with within(AFTERWARDS_SECONDS):
                await asyncio.to_thread(self._noted, machine.key, Power.OFF)
                await self._tell(Kind.MACHINE_STOPPED, machine, f"{name} was switched off")
                await self._machines.refresh_machine(machine.key)
        except StoreError as problem:
            raise Unwritten(
                f"{name} is off, but that it is to stay off cannot be written down: {problem.what}",
                fix="Kill it once more when the database can be written",
            ) from problem
        return await asyncio.to_thread(self._store.machine, machine.key)

    async def _noted_afterwards(self, machine: Machine) -> None:
        """That it is to be off, once its guest was asked to see to it."""
        try:
            with within(AFTERWARDS_SECONDS):
                await asyncio.to_thread(self._noted, machine.key, Power.OFF)
        except StoreError as problem:
            raise StoreError(
                f"{machine.full_name} was asked to power off, but that it is to stay off cannot be"
                f" written down: {problem.what}",
                fix="Stop it once more when the database can be written",
            ) from problem

    def _noted(self, key: MachineKey, power: Power) -> Machine:
        """The machine, and written down what is wanted of it if it is a VM of ours.

        In one go, for every hop to a thread delays a start.
        """
        machine = self._store.machine(key)
        if machine.defined and not machine.adopted:
            self._store.put_wanted(key, power)
        return machine


def _check_defined(machine: Machine) -> None:
    if not machine.defined:
        raise UsageError(
            f"{machine.full_name} cannot be switched from here",
            fix="Only VMs that broker defined can; see: broker vm list",
        )
