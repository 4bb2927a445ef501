"""Machines that somebody else started: found, taken in, switched when asked, let go.

What is wanted of them is never written down, so no reconciler ever acts on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.driver import Adopter, Driver, PowerControl
from broker.errors import StoreError, Unwritten, UsageError
from broker.events import Kind
from broker.model import (
    CarriedOver,
    FoundQemu,
    Machine,
    MachineKey,
    Power,
    SourceName,
)
from broker.service.stopping import stop
from broker.store.patience import AFTERWARDS_SECONDS, AT_ONCE_SECONDS, within

if TYPE_CHECKING:
    from broker.store.store import Store


class Inventory(Protocol):
    """What is needed of the sources."""

    async def refresh_source(self, name: SourceName) -> None:
        """Ask one source, store what it shows."""
        ...

    async def driver(self, name: SourceName) -> Driver:
        """The driver of a source."""
        ...


class Adopting:
    """The use cases of adopted machines; see `broker.service.port.Service` for what each gives.

    Args:
        tell: Writes into the audit log.
        local_source: The source that takes them in.
    """

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        tell: Callable[[Kind, Machine, str], Awaitable[None]],
        local_source: Callable[[], Awaitable[SourceName]],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._tell = tell
        self._local_source = local_source

    async def scan(self) -> Sequence[FoundQemu]:
        """Every QEMU of this user on this host."""
        return await (await self._adopter(await self._local_source())).scan()

    async def adopt(self, reference: str, name: str | None) -> Machine:
        """Take one in."""
        source = await self._local_source()
        known = {stored.machine.key for stored in await asyncio.to_thread(self._store.machines)}
        uuid = await (await self._adopter(source)).adopt(reference, name=name)
        await self._inventory.refresh_source(source)
        machine = await asyncio.to_thread(self._store.machine, MachineKey(source, uuid))
        if machine.key not in known:
            text = f"{machine.full_name} adopted (process {machine.pid})"
            await self._tell(Kind.MACHINE_ADOPTED, machine, text)
        return machine

    async def forget(self, key: MachineKey) -> None:
        """Let one go; its process is not touched."""
        machine = await asyncio.to_thread(self._store.machine, key)
        await (await self._adopter(machine.key.source)).forget(machine.key.uuid)
        revoked = await asyncio.to_thread(self._store.revoke_tokens, machine.key)
        if revoked:
            text = f"{revoked} unused files for {machine.full_name} open nothing any more"
            await self._tell(Kind.TOKEN_REVOKED, machine, text)
        await self._inventory.refresh_source(machine.key.source)
        await self._tell(Kind.MACHINE_FORGOTTEN, machine, f"{machine.full_name} forgotten")

    async def as_definition(self, key: MachineKey) -> CarriedOver:
        """Its command line as a definition of ours."""
        return await (await self._adopter(key.source)).as_definition(key.uuid)

    async def switch(
        self,
        machine: Machine,
        power: Power,
        gently: bool,
        grace: float,
        tell: Callable[[str], None] | None,
    ) -> Machine:
        """Do what was asked, once; nothing is remembered of the wish.

        Raises:
            UsageError: It was asked to start; or it has no monitor to be stopped by.
            VmUnresponsive: The guest did not go off.
        """
        with within(AT_ONCE_SECONDS):
            driver = await self._inventory.driver(machine.key.source)
        if not isinstance(driver, PowerControl):
            raise UsageError(f"{machine.full_name} cannot be switched from here")
        uuid = machine.key.uuid
        try:
            if power is Power.ON:
                await driver.start(uuid)
            elif gently:
                await stop(driver, uuid, grace, tell)
            else:
                await driver.kill(uuid)
        except BaseException:
            await self._inventory.refresh_source(machine.key.source)
            raise
        said = f"{machine.full_name} {'stopped' if gently else 'was killed'}"
        try:
            with within(AFTERWARDS_SECONDS):
                await self._inventory.refresh_source(machine.key.source)
                await self._tell(Kind.MACHINE_STOPPED, machine, said)
        except StoreError as problem:
            raise Unwritten(
                f"{said}, which cannot be written down: {problem.what}",
                fix="The list shows it when the database can be written",
            ) from problem
        return await asyncio.to_thread(self._store.machine, machine.key)

    async def _adopter(self, source: SourceName) -> Adopter:
        driver = await self._inventory.driver(source)
        if not isinstance(driver, Adopter):
            raise UsageError(
                f"{source} takes in no machines",
                fix="Only a local source does; see: broker sources",
            )
        return driver


class AdoptingVerbs:
    """The port's verbs for them; see `broker.service.port.Service`."""

    def __init__(self, adopting: Adopting) -> None:
        self._adopting = adopting

    async def scan(self) -> Sequence[FoundQemu]:
        """Every QEMU of this user on this host."""
        return await self._adopting.scan()

    async def adopt(self, reference: str, *, name: str | None = None) -> Machine:
        """Take one in."""
        return await self._adopting.adopt(reference, name)

    async def forget(self, key: MachineKey) -> None:
        """Let one go."""
        await self._adopting.forget(key)

    async def as_definition(self, key: MachineKey) -> CarriedOver:
        """Its command line as a definition of ours."""
        return await self._adopting.as_definition(key)
