"""What local VMs are: defined, told, changed, cloned and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from broker.driver import CommandTeller, Driver, Provisioner, Redefining, Renaming
from broker.errors import BrokerError, UsageError
from broker.events import Kind
from broker.model import Machine, MachineKey, MachineSpec, SourceName
from broker.provisioning import Cloning, Drafting, FactTeller, VmDraft, VmFacts

if TYPE_CHECKING:
    from broker.service.guests import Tell
    from broker.store.store import Store


class Sources(Protocol):
    """What is needed of the sources."""

    async def refresh_source(self, name: SourceName) -> None:
        """Store what that source shows now."""
        ...

    async def refresh_machine(self, key: MachineKey) -> None:
        """Store how one machine is now."""
        ...

    async def driver(self, name: SourceName) -> Driver:
        """The driver of a source."""
        ...


class DefiningVerbs:
    """The verbs of `broker.service.definitions.Definitions`, for each of which see there."""

    _store: Store
    _tell: Tell

    def __init__(self, sources: Sources, local: Callable[[], Awaitable[SourceName]]) -> None:
        """Over all sources; `local` names the one that new VMs are defined in."""
        self._defined_in = sources
        self._local = local

    async def define(self, spec: MachineSpec) -> Machine:
        """Store a new one."""
        source = await self._local()
        driver = await self._defined_in.driver(source)
        if not isinstance(driver, Provisioner):
            raise UsageError(f"{source} cannot hold definitions of VMs")
        await driver.define(spec)
        await self._defined_in.refresh_source(source)
        machine = await asyncio.to_thread(self._store.machine, MachineKey(source, spec.uuid))
        await self._tell(Kind.MACHINE_DEFINED, machine, f"{machine.full_name} defined")
        return machine

    async def spec(self, key: MachineKey) -> MachineSpec:
        """What one was defined as."""
        return await (await self._provisioner(key)).spec(key.uuid)

    async def local_vms(self) -> Sequence[VmFacts]:
        """What is known of them."""
        driver = await self._defined_in.driver(await self._local())
        if not isinstance(driver, FactTeller):
            return []
        wanted = await asyncio.to_thread(self._store.wanted)
        return [replace(vm, wanted=wanted.get(vm.key)) for vm in await driver.facts()]

    async def draft(self, text: str, *, known: MachineKey | None = None) -> VmDraft:
        """Judge a definition that is being written."""
        source = await self._local() if known is None else known.source
        driver = await self._defined_in.driver(source)
        if not isinstance(driver, Drafting):
            raise UsageError(f"{source} holds no definitions of VMs")
        made = await driver.draft(text, known=None if known is None else known.uuid)
        if made.spec is None or not isinstance(driver, CommandTeller):
            return made
        try:
            return replace(made, command=tuple(await driver.command(made.spec)))
        except BrokerError as problem:
            return replace(made, hindrance=str(problem))

    async def command(self, spec: MachineSpec) -> Sequence[str]:
        """QEMU's command line."""
        source = await self._local()
        driver = await self._defined_in.driver(source)
        if not isinstance(driver, CommandTeller):
            raise UsageError(f"{source} starts no programs of this host")
        return await driver.command(spec)

    async def redefine(self, key: MachineKey, spec: MachineSpec) -> Machine:
        """Say anew what one is."""
        before = await asyncio.to_thread(self._store.machine, key)
        driver = await self._provisioner(key)
        if before.adopted or spec.uuid != key.uuid or not isinstance(driver, Redefining):
            raise UsageError(
                f"{before.full_name} cannot be defined anew from here",
                fix="Only VMs that broker defined can; see: broker vm list",
            )
        await driver.redefine(spec)
        await self._defined_in.refresh_machine(key)
        await self._tell(Kind.MACHINE_DEFINED, before, f"{before.full_name} defined anew")
        return await asyncio.to_thread(self._store.machine, key)

    async def rename(self, key: MachineKey, name: str) -> Machine:
        """Call one something else."""
        before = await asyncio.to_thread(self._store.machine, key)
        driver = await self._provisioner(key)
        if before.adopted or not isinstance(driver, Renaming):
            raise UsageError(
                f"{before.full_name} cannot be given another name from here",
                fix="Only VMs that broker defined can; see: broker vm list",
            )
        await driver.rename(key.uuid, name)
        await self._defined_in.refresh_machine(key)
        machine = await asyncio.to_thread(self._store.machine, key)
        if machine.name != before.name:
            text = f"{before.full_name} is called {machine.name} now"
            await self._tell(Kind.MACHINE_RENAMED, machine, text)
        return machine

    async def delete(self, key: MachineKey, *, keep_disks: bool = True) -> None:
        """Forget one."""
        machine = await asyncio.to_thread(self._store.machine, key)
        if machine.adopted:
            raise UsageError(
                f"{machine.full_name} was adopted, so there is no definition to delete",
                fix=f"Let it go, and its process be: broker vm forget {machine.name}",
            )
        await (await self._provisioner(key)).delete(key.uuid, keep_disks=keep_disks)
        await asyncio.to_thread(self._store.drop_wanted, key)
        if revoked := await asyncio.to_thread(self._store.revoke_tokens, key):
            text = f"{revoked} unused files for {machine.full_name} open nothing any more"
            await self._tell(Kind.TOKEN_REVOKED, machine, text)
        await self._defined_in.refresh_source(key.source)
        await self._tell(Kind.MACHINE_DELETED, machine, f"{machine.full_name} deleted")

    async def clone(
        self,
        key: MachineKey,
        name: str,
        *,
        linked: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """Define one like it."""
        before = await asyncio.to_thread(self._store.machine, key)
        driver = await self._provisioner(key)
        if before.adopted or not isinstance(driver, Cloning):
            raise UsageError(
                f"{before.full_name} cannot be cloned from here",
                fix="Only VMs that broker defined can; see: broker vm list",
            )
        uuid = await driver.clone(key.uuid, name, linked=linked, tell=tell)
        await self._defined_in.refresh_source(key.source)
        machine = await asyncio.to_thread(self._store.machine, MachineKey(key.source, uuid))
        how = "as a linked clone" if linked else "as a clone"
        text = f"{machine.full_name} defined {how} of {before.full_name}"
        await self._tell(Kind.MACHINE_DEFINED, machine, text)
        return machine

    async def _provisioner(self, key: MachineKey) -> Provisioner:
        driver = await self._defined_in.driver(key.source)
        if not isinstance(driver, Provisioner):
            raise UsageError(
                f"{key.source} holds no definitions of VMs",
                fix="Only VMs of a local source are ours; see: broker vm list",
            )
        return driver
