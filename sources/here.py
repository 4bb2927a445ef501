"""The local source as it is used: the VMs that are defined, and those that were adopted.

What is not said here is as `sources.local` has it; that knows nothing of adopted VMs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from broker.driver import DriverContext
from broker.errors import BrokerError
from broker.findings import Finding
from broker.model import (
    CarriedOver,
    Console,
    FoundQemu,
    Machine,
    MachineId,
    MachineKey,
    MachineSpec,
    SourceName,
)
from broker.owned import owned
from broker.provisioning import VmDraft, VmFacts
from sources.adopting import AdoptedVms
from sources.local import LocalDriver

if TYPE_CHECKING:
    from broker.guest import Guest
    from broker.vm.definitions import Definition
    from broker.vm.examine import Patient


class HereDriver(LocalDriver):
    """VMs of this host; a driver that also takes in those that somebody else started."""

    def __init__(self, name: SourceName, context: DriverContext, *, qemu: str) -> None:
        super().__init__(name, context, qemu=qemu)
        self._adopted = AdoptedVms(name, context)

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `sources.local`."""
        return super().from_options(name, options, context)

    @classmethod
    def options_schema(cls) -> Mapping[str, object]:
        """JSON Schema of its entry; see `broker.hypervisor.Described`."""
        told = "Name or path of the emulator; `vm.qemu` of broker.yaml counts when not given."
        qemu = {"type": "string", "minLength": 1, "description": told}
        return {"type": "object", "additionalProperties": False, "properties": {"qemu": qemu}}

    async def machines(self) -> Sequence[Machine]:
        """All VMs that are defined, then those adopted; those that run are asked all at once."""
        asked = self._adopted.machines(self._definitions.all())
        adopted = owned(asked, name="adopted machines")
        try:
            own = await super().machines()
        except BaseException:
            adopted.cancel()
            raise
        return [*own, *await adopted]

    async def machine(self, machine_id: MachineId) -> Machine:
        """One VM as it is now, without a look at the others."""
        if self._adopted.has(machine_id):
            return await self._adopted.machine(machine_id)
        return await super().machine(machine_id)

    def dial_policy(self) -> None:
        """Anywhere: whoever starts a QEMU here says where it listens."""

    async def console(self, machine_id: MachineId) -> Console:
        """A hand-over by the VM's control monitor, without a ticket; what one adopted has."""
        if self._adopted.has(machine_id):
            return await self._adopted.console(machine_id)
        return await super().console(machine_id)

    async def direct(self, machine_id: MachineId, *, seconds: float) -> Console:
        """A console for one viewer without the proxy; one adopted has the port it was given."""
        if self._adopted.has(machine_id):
            return await self._adopted.direct(machine_id)
        return await super().direct(machine_id, seconds=seconds)

    async def door(self, machine_id: MachineId) -> Console:
        """A port for one viewer of VNC; none for one adopted."""
        if self._adopted.has(machine_id):
            return await self._adopted.direct(machine_id)
        return await super().door(machine_id)

    # -- consoles are told whole by `machines`, but for some

    def kept_tickets(self) -> Mapping[MachineId, str]:
        """Those of adopted VMs; ours need none."""
        return {**super().kept_tickets(), **self._adopted.kept_tickets()}

    def asked_each_time(self) -> Collection[MachineId]:
        """Adopted VMs whose ticket nobody can read."""
        return self._adopted.asked_each_time()

    # -- power

    async def start(self, machine_id: MachineId) -> None:
        """Have it running; one that was adopted is never started."""
        if self._adopted.has(machine_id):
            self._adopted.refuse_to_start(machine_id)
        known = self._definitions.all()
        spec = next((each.spec for each in known if each.uuid == machine_id), None)
        if spec is not None:
            from broker.vm.overlays import see_that_it_may_change

            see_that_it_may_change(spec, known)
        await super().start(machine_id)

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None:
        """Switch it off; one that was adopted is only asked to go."""
        if self._adopted.has(machine_id):
            await self._adopted.stop(machine_id, timeout=timeout)
        else:
            await super().stop(machine_id, timeout=timeout)

    async def stop_visibly(
        self, machine_id: MachineId, *, timeout: float, tell: Callable[[str], None]
    ) -> None:
        """Switch it off and say how; one that was adopted is only asked to go."""
        if self._adopted.has(machine_id):
            tell(f"pressing the power button, and nothing harder, for {timeout:g} s")
            await self._adopted.stop(machine_id, timeout=timeout)
        else:
            await super().stop_visibly(machine_id, timeout=timeout, tell=tell)

    async def ask_to_stop(self, machine_id: MachineId) -> bool:
        """Press its power button."""
        if self._adopted.has(machine_id):
            return await self._adopted.press_power_button(machine_id)
        return await super().ask_to_stop(machine_id)

    async def kill(self, machine_id: MachineId) -> None:
        """Switch it off at once."""
        if self._adopted.has(machine_id):
            await self._adopted.kill(machine_id)
        else:
            await super().kill(machine_id)

    async def pause(self, machine_id: MachineId) -> None:
        """Hold its CPUs."""
        if self._adopted.has(machine_id):
            await self._adopted.tell(machine_id, "stop")
        else:
            await super().pause(machine_id)

    async def resume(self, machine_id: MachineId) -> None:
        """Let it go on."""
        if self._adopted.has(machine_id):
            await self._adopted.tell(machine_id, "cont")
        else:
            await super().resume(machine_id)

    async def reset(self, machine_id: MachineId) -> None:
        """Press its reset button."""
        if self._adopted.has(machine_id):
            await self._adopted.tell(machine_id, "system_reset")
        else:
            await super().reset(machine_id)

    # -- definitions

    async def define(self, spec: MachineSpec) -> None:
        """Store a VM, unless one that was adopted has its name or uuid; it is not started."""
        self._adopted.see_that_it_is_free(spec.name, spec.uuid)
        await super().define(spec)

    async def spec(self, machine_id: MachineId) -> MachineSpec:
        """What it was defined as; one that was adopted was not."""
        if self._adopted.has(machine_id):
            self._adopted.refuse_a_definition(machine_id)
        return await super().spec(machine_id)

    async def redefine(self, spec: MachineSpec) -> None:
        """Say anew what a VM is from its next start on; see `broker.driver.Redefining`."""
        from broker.vm.redefining import redefine

        paths = self._paths(self._definitions.find(spec.uuid))
        await redefine(self._definitions, spec, paths)

    async def rename(self, machine_id: MachineId, name: str) -> None:
        """Call a VM that is off something else, unless one that was adopted is called so."""
        self._adopted.see_that_it_is_free(name)
        self._see_that_it_may_go(machine_id, "renamed")
        await super().rename(machine_id, name)

    async def delete(self, machine_id: MachineId, *, keep_disks: bool = True) -> None:
        """Forget a VM that is off; its disks only when no other's are built on them."""
        if not keep_disks:
            self._see_that_it_may_go(machine_id, "deleted with its disks")
        await super().delete(machine_id, keep_disks=keep_disks)

    async def clone(
        self,
        machine_id: MachineId,
        name: str,
        *,
        linked: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> MachineId:
        """Define a VM like one that is off; see `broker.provisioning.Cloning`."""
        from broker.vm.cloning import clone

        self._adopted.see_that_it_is_free(name)
        spec = await self.spec(machine_id)
        paths = self._paths(self._definitions.find(machine_id))
        made = await clone(self._definitions, spec, paths, name, linked=linked, tell=tell)
        return made.uuid

    async def draft(self, text: str, *, known: MachineId | None = None) -> VmDraft:
        """Judge a definition that is being written; see `broker.provisioning.Drafting`."""
        from broker.vm import drafting

        spec = None if known is None else await self.spec(known)
        if spec is not None and not text:
            return drafting.present(spec)
        known_here = self._definitions.all()
        taken = {each.name for each in known_here}
        taken |= set(self._adopted.names(known_here).values())
        return await asyncio.to_thread(
            drafting.draft, text, start=Path.cwd(), taken=taken, known=spec
        )

    async def facts(self) -> Sequence[VmFacts]:
        """Every VM, defined or adopted; see `broker.provisioning.FactTeller`."""
        from broker.vm import facts, overlays

        known = self._definitions.all()

        def tell(each: Definition) -> VmFacts:
            key, spec = MachineKey(self._name, each.uuid), each.spec
            if spec is None:
                return VmFacts(key)
            paths = [disk.path for disk in spec.disks]
            return VmFacts(
                key,
                spec,
                facts.disks(spec),
                facts.engine(self._paths(each)),
                tuple(overlays.builders(each.uuid, paths, known)),
            )

        told = await asyncio.to_thread(lambda: [tell(each) for each in known])
        for uuid in self._adopted.names(known):
            key = MachineKey(self._name, uuid)
            try:
                spec = (await self._adopted.as_definition(uuid)).spec
            except BrokerError:  # it has ended
                told.append(VmFacts(key))
                continue
            looked = await asyncio.to_thread(facts.disks, spec)
            told.append(VmFacts(key, spec, looked, spec.accel.value))
        return told

    def _see_that_it_may_go(self, machine_id: MachineId, verb: str) -> None:
        from broker.vm.overlays import see_that_it_may_go

        found = self._definitions.find(machine_id)
        own = self._paths(found).data
        see_that_it_may_go(found.name, machine_id, own, self._definitions.all(), verb)

    # -- examined

    async def examine_process(self, machine_id: MachineId) -> Finding:
        """See `broker.vm.examine.look_at_process`."""
        from broker.vm.examine import look_at_process

        return look_at_process(self._patient(machine_id))

    async def examine_monitor(self, machine_id: MachineId) -> Finding:
        """See `broker.vm.examine.look_at_monitor`."""
        from broker.vm.examine import look_at_monitor

        return await look_at_monitor(self._patient(machine_id))

    async def examine_server(self, machine_id: MachineId) -> Finding:
        """See `broker.vm.examine.look_at_server`."""
        from broker.vm.examine import look_at_server

        return await look_at_server(self._patient(machine_id))

    def _patient(self, machine_id: MachineId) -> Patient:
        """One VM, as far as it is looked at."""
        from broker.vm import process, scan
        from broker.vm.cmdline import Outlet, Speaks
        from broker.vm.examine import Patient

        if self._adopted.has(machine_id):
            return self._adopted.patient(machine_id)
        definition = self._definitions.find(machine_id)
        paths = self._paths(definition)
        found = process.find(paths.pid)
        ctl = Outlet(Speaks.QMP, path=str(paths.ctl))

        def is_held() -> bool:
            qemu = scan.read(found.pid, self._context.runtime_dir) if found is not None else None
            return qemu is not None and qemu.is_held(ctl)

        off = f"Start it: broker vm start {definition.name}"
        return Patient(definition.name, found, ctl, needs_monitor=True, off=off, is_held=is_held)

    # -- used

    async def guest(self, machine_id: MachineId) -> Guest:
        """A VM to be used; one that was adopted, as far as its QMP goes."""
        if self._adopted.has(machine_id):
            return self._adopted.guest(machine_id)
        return await super().guest(machine_id)

    async def log(
        self, machine_id: MachineId, *, serial: bool = False, previous: bool = False
    ) -> str:
        """QEMU's output; that of one adopted went where whoever started it wanted."""
        if self._adopted.has(machine_id):
            self._adopted.refuse_a_log(machine_id)
        return await super().log(machine_id, serial=serial, previous=previous)

    # -- adopted

    async def scan(self) -> Sequence[FoundQemu]:
        """Every QEMU of this user; see `broker.driver.Adopter`."""
        return await self._adopted.scan(self._definitions.all())

    async def adopt(self, reference: str, *, name: str | None = None) -> MachineId:
        """Take one of them in; see `broker.driver.Adopter`."""
        return await self._adopted.adopt(reference, name, self._definitions.all())

    async def forget(self, machine_id: MachineId) -> None:
        """Let one go; see `broker.driver.Adopter`."""
        await self._adopted.forget(machine_id)

    async def as_definition(self, machine_id: MachineId) -> CarriedOver:
        """See `broker.driver.Adopter`."""
        return await self._adopted.as_definition(machine_id)
