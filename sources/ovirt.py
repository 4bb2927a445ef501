"""oVirt, OLVM and RHV: one call lists all VMs with their consoles, an action makes a ticket.

The ticket's end is always said: the engine would make it good for two hours. Its own .vv file is
never asked for, since it holds the token of our account.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final, Self

from broker.driver import DriverContext
from broker.errors import NoConsole, RightMissing, UsageError
from broker.findings import Finding, fine
from broker.human import one_line
from broker.model import (
    POWER,
    Ability,
    Console,
    Machine,
    MachineId,
    Protocol,
    SourceName,
    State,
    TcpTarget,
)
from sources._ovirt_api import GraphicsConsole, OvirtApi, OvirtOptions, Ticket, Vm
from sources._remote import NOT_LIVE, quote_part
from sources._reply import Reply
from sources.options import parse_options

SPICE: Final = b"spice".hex()
"""The id of every VM's SPICE console."""
DETAIL: Final = {"detail": "current_graphics_consoles"}
"""Addresses of consoles beside each VM; engines before 4.4.7 pass over it."""

_STATES: Final = {
    "up": State.RUNNING,
    "down": State.STOPPED,
    "powering_up": State.STARTING,
    "wait_for_launch": State.STARTING,
    "restoring_state": State.STARTING,
    "paused": State.PAUSED,
    "suspended": State.SUSPENDED,
    "migrating": State.MIGRATING,
    "powering_down": State.BUSY,
    "reboot_in_progress": State.BUSY,
    "saving_state": State.BUSY,
    "image_locked": State.BUSY,
    "not_responding": State.UNRESPONSIVE,
}
_VERBS: Final = {
    Ability.START: "start",
    Ability.SHUTDOWN: "shutdown",
    Ability.STOP: "stop",
    Ability.REBOOT: "reboot",
    Ability.RESET: "reset",
    Ability.RESUME: "start",
}
_RIGHTS: Final = {
    Ability.START: "RUN_VM",
    Ability.RESUME: "RUN_VM",
    Ability.SHUTDOWN: "SHUT_DOWN_VM",
    Ability.STOP: "STOP_VM",
    Ability.REBOOT: "REBOOT_VM",
    Ability.RESET: "RESET_VM",
}


class OvirtDriver(OvirtApi):
    """An oVirt engine."""

    type: ClassVar[str] = "ovirt"
    options_model = OvirtOptions

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`."""
        return cls(name, parse_options(OvirtOptions, name, cls.type, options), context)

    async def machines(self) -> Sequence[Machine]:
        """All VMs that the account sees, in one call."""
        reply = self._fine(await self.http.get("/api/vms", params=DETAIL))
        return self._once_each(
            await asyncio.to_thread(lambda: reply.rows(Vm, "vm", make=self._machine))
        )

    async def machine(self, machine_id: MachineId) -> Machine:
        """One VM as it is now."""
        return self._machine(await self._vm(machine_id))

    def _machine(self, vm: Vm) -> Machine:
        at = _spice_of(vm)
        state = _STATES.get(vm.status, State.UNKNOWN)
        return Machine(
            self._key(vm.id),
            vm.name or vm.id,
            state,
            hypervisor=_host_of(vm),
            hypervisor_ip=at.address if at else vm.display.address,
            protocol=_protocol(vm),
            reason="" if state is not State.UNKNOWN else one_line(vm.status),
        )

    async def _vm(self, machine_id: str) -> Vm:
        path = f"/api/vms/{quote_part(machine_id)}"
        reply = self._fine(await self.http.get(path, params=DETAIL), name=machine_id)
        return reply.read(Vm)

    # -- a console

    async def console(self, machine_id: MachineId) -> Console:
        """Its host's port, and a password for `ticket_seconds`; older passwords end by that.

        Raises:
            NotFound: No such VM.
            NoConsole: It is off, or has no SPICE.
            RightMissing: We lack `CONNECT_TO_VM` on it.
        """
        vm = await self._vm(machine_id)
        if _STATES.get(vm.status) in NOT_LIVE:
            start = f"broker vm start {shlex.quote(vm.name)}"
            raise NoConsole(f"{vm.name} is {vm.status}", fix=f"Start it: {start}")
        at = await self._where(vm)
        asked_at = self._clock.now()
        ticket = await self._ticket(vm)
        certificate = vm.display.certificate
        given = self.options.spice_ca_cert
        ca = await asyncio.to_thread(self._reader.ca, given, "spice_ca_cert")
        return Console(
            TcpTarget(
                host=at.address,
                port=None if at.tls_port else at.port,
                tls_port=at.tls_port,
                ca_pem=ca or certificate.content or None,
                host_subject=certificate.subject or None,
                proxy=self.options.spice_proxy,
            ),
            ticket=ticket.value,
            expires_at=asked_at + timedelta(seconds=ticket.expiry or self.options.ticket_seconds),
            superseding=True,
        )

    async def _where(self, vm: Vm) -> GraphicsConsole:
        """Its SPICE console with an address; older engines are asked for that by itself."""
        if _protocol(vm) is not Protocol.SPICE:
            raise NoConsole(
                f"{vm.name} has no SPICE",
                fix="Set its graphics protocol to SPICE; hosts on Enterprise Linux 9 have VNC only",
            )
        at = _spice_of(vm)
        if at is None or not at.address:
            path = f"/api/vms/{quote_part(vm.id)}/graphicsconsoles"
            reply = self._fine(await self.http.get(path, params={"current": "true"}), name=vm.name)
            found = reply.rows(GraphicsConsole, "graphics_console", make=lambda row: row)
            at = next((one for one in found if one.protocol == "spice"), None)
        if at is None or not at.address or not (at.port or at.tls_port):
            raise NoConsole(
                f"{vm.name} has no screen at present", fix="Wait until it runs, and try again"
            )
        return at

    async def _ticket(self, vm: Vm) -> Ticket:
        path = f"/api/vms/{quote_part(vm.id)}/graphicsconsoles/{SPICE}/ticket"
        wanted = {"ticket": {"expiry": str(self.options.ticket_seconds)}}

        async def ask() -> Reply:
            return await self.http.post(path, json=wanted)

        reply = await ask()
        if reply.status == 409:  # busy, or on its way down: a second later it is one or the other
            await self.http.pause(1.0)
            reply = await ask()
        return self._fine(reply, name=vm.name, right="CONNECT_TO_VM").read(Ticket, "ticket")

    # -- power

    def abilities(self) -> Mapping[Ability, str]:
        """See `broker.hypervisor.Offering`."""
        return {**super().abilities(), Ability.PAUSE: "oVirt cannot pause a machine"}

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """Have the engine switch a VM; see `broker.hypervisor.Switching`."""
        verb = self._verb(_VERBS, ability)
        right = _RIGHTS[ability]
        reply = await self.http.post(f"/api/vms/{quote_part(machine_id)}/{verb}", json={})
        if reply.status == 409 and await self._is_so(machine_id, ability):
            return
        try:
            self._fine(reply, name=machine_id, right=right)
        except RightMissing as problem:
            raise self._lacks(ability, problem) from None
        except NoConsole as problem:
            raise UsageError(problem.what, fix=problem.fix) from None

    async def _is_so(self, machine_id: MachineId, ability: Ability) -> bool:
        """Whether it is already as it would be afterwards."""
        state = (await self.machine(machine_id)).state
        if ability in (Ability.STOP, Ability.SHUTDOWN):
            return state is State.STOPPED
        return ability is Ability.START and state in (State.RUNNING, State.STARTING)

    async def _rights(self) -> Finding:
        if self._may_not:
            return fine(f"may not: {', '.join(one for one in POWER if one in self._may_not)}")
        return fine(
            f"{self.options.username} may see VMs; opening and switching them needs UserRole or "
            "UserVmManager there"
        )


def _spice_of(vm: Vm) -> GraphicsConsole | None:
    for one in vm.graphics_consoles.graphics_console:
        if one.protocol == "spice":
            return one
    display = vm.display
    if vm.graphics_consoles.graphics_console or display.type != "spice" or not display.address:
        return None
    return GraphicsConsole(
        id=SPICE,
        protocol="spice",
        address=display.address,
        port=display.port,
        tls_port=display.secure_port,
    )


def _protocol(vm: Vm) -> Protocol:
    spoken = {one.protocol for one in vm.graphics_consoles.graphics_console} or {vm.display.type}
    if "spice" in spoken:
        return Protocol.SPICE
    return Protocol.VNC if "vnc" in spoken else Protocol.NONE


def _host_of(vm: Vm) -> str:
    """The host's name, which its certificate knows; a list of hosts would need more rights."""
    _, _, name = vm.display.certificate.subject.rpartition("CN=")
    return name.partition(",")[0] or vm.display.address
