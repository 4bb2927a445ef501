"""Proxmox VE: one call lists a cluster, and a ticket of 30 seconds leads through its tunnel.

SPICE of a VM is reached by an HTTP CONNECT to port 3128 of any node, for a name that is itself a
signed credential, and by TLS inside. Both are asked for when a viewer arrives. Errors stand in
the status line: 500 is a normal answer ("VM 100 not running"), and 401 takes three seconds.
Source: PVE::API2, PVE::APIServer::AnyEvent; tried against pveproxy 9.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final, Self
from urllib.parse import quote, urlsplit

from broker.driver import DriverContext
from broker.errors import (
    OutcomeUnknown,
    RightMissing,
    UsageError,
    VmStartFailed,
)
from broker.findings import Finding, fine, odd
from broker.model import (
    Ability,
    Console,
    Machine,
    MachineId,
    Protocol,
    SourceName,
    State,
    TcpTarget,
)
from sources._proxmox_api import (
    AWAY,
    Guest,
    NoSpice,
    Place,
    ProxmoxApi,
    ProxmoxOptions,
    Spice,
    Status,
    Task,
)
from sources._remote import in_pairs, split_url
from sources._reply import Reply
from sources.options import parse_options

TICKET_SECONDS: Final = 30
"""For how long QEMU takes the password; the tunnel itself opens for ten seconds more."""
PROXY_PORT: Final = 3128
TASK_SECONDS: Final = 60
RIGHTS: Final = ("VM.Audit", "VM.Console", "VM.PowerMgmt")

_STATES: Final = {
    "running": State.RUNNING,
    "stopped": State.STOPPED,
    "paused": State.PAUSED,
    "suspended": State.SUSPENDED,
    "prelaunch": State.STARTING,
}
_LOCKS: Final = {
    "migrate": State.MIGRATING,
    "suspended": State.SUSPENDED,
    "suspending": State.BUSY,
    "create": State.BUSY,
    "clone": State.BUSY,
    "rollback": State.BUSY,
}
_VERBS: Final = {
    Ability.START: "start",
    Ability.SHUTDOWN: "shutdown",
    Ability.STOP: "stop",
    Ability.REBOOT: "reboot",
    Ability.RESET: "reset",
    Ability.PAUSE: "suspend",
    Ability.RESUME: "resume",
}
_GUESTS_TIME: Final = frozenset({Ability.SHUTDOWN, Ability.REBOOT})
"""Their tasks last until the guest has done it; nobody waits for that here."""
_ALREADY: Final = {
    Ability.START: "already running",
    Ability.STOP: "not running",
    Ability.SHUTDOWN: "not running",
}


class ProxmoxDriver(ProxmoxApi):
    """A Proxmox VE node or cluster."""

    type: ClassVar[str] = "proxmox"
    options_model = ProxmoxOptions

    def __init__(self, name: SourceName, options: ProxmoxOptions, context: DriverContext) -> None:
        super().__init__(name, options, context)
        self._places: dict[str, Place] = {}
        self._without_spice: set[str] = set()

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`."""
        read = parse_options(ProxmoxOptions, name, cls.type, options)
        in_pairs(
            f"sources.yaml: {name}",
            dict(read),
            ("token_id", "token"),
            ("username", "password"),
        )
        return cls(name, read, context)

    # -- listing

    async def machines(self) -> Sequence[Machine]:
        """VMs and containers of the whole cluster, as far as we hold `VM.Audit` on them."""
        reply = self._fine(await self.http.get("/cluster/resources", params={"type": "vm"}))
        guests = await asyncio.to_thread(
            lambda: reply.rows(Guest, "data", make=lambda row: None if row.template else row)
        )
        self._places = {str(one.vmid): Place(one.node, one.type, one.name) for one in guests}
        self._without_spice &= self._places.keys()
        return self._once_each(
            self._machine(str(one.vmid), one.name, one.node, _state(one.status, one.lock))
            for one in guests
        )

    async def machine(self, machine_id: MachineId) -> Machine:
        """One guest as it is now; only here it is told whether it has SPICE."""
        place = await self._place(machine_id)
        reply = await self.http.get(place.path(machine_id, "status/current"))
        found = self._fine(reply, machine_id, place).read(Status, "data")
        state = _state(found.qmpstatus or found.status, found.lock)
        if found.status == "running":
            (
                self._without_spice.discard
                if found.spice or place.kind == "lxc"
                else self._without_spice.add
            )(machine_id)
        return self._machine(machine_id, found.name or place.name, place.node, state)

    def _machine(self, machine_id: str, name: str, node: str, state: State) -> Machine:
        return Machine(
            self._key(machine_id),
            name or machine_id,
            state,
            hypervisor=node,
            protocol=Protocol.VNC if machine_id in self._without_spice else Protocol.SPICE,
        )

    async def _place(self, machine_id: str) -> Place:
        if machine_id not in self._places:
            await self.machines()
        if machine_id not in self._places:
            raise self._missing(machine_id)
        return self._places[machine_id]

    # -- a console

    async def console(self, machine_id: MachineId) -> Console:
        """The tunnel to it, and the password for 30 seconds; older passwords end by that.

        Raises:
            NotFound: No such guest.
            NoConsole: It is off, or has no SPICE.
            RightMissing: We lack `VM.Console` on it.
        """
        host, port = self._entry()

        async def ask(place: Place) -> Reply:
            path = place.path(machine_id, "spiceproxy")
            return await self.http.post(path, form={"proxy": host})

        asked_at = self._clock.now()
        reply, place = await self._wherever_it_is(machine_id, ask)
        try:
            found = Spice.of(self._fine(reply, machine_id, place))
        except NoSpice:
            self._without_spice.add(machine_id)
            raise
        self.http.hide(found.host)
        told = split_url(found.proxy)
        entry = f"[{host}]" if ":" in host else host
        return Console(
            TcpTarget(
                host=place.node,
                tls_port=found.tls_port,
                ca_pem=found.ca.replace("\\n", "\n"),
                host_subject=found.host_subject,
                proxy=f"http://{entry}:{port or (told and told.port) or PROXY_PORT}",
                tunnel=f"{found.host}:{found.tls_port}",
            ),
            ticket=found.password,
            expires_at=asked_at + timedelta(seconds=TICKET_SECONDS),
            superseding=True,
        )

    def _entry(self) -> tuple[str, int | None]:
        """The host that the tunnel begins at, and its port when an option says it."""
        given = urlsplit(
            f"//{self.options.spice_proxy}" if self.options.spice_proxy else self.options.url
        )
        return given.hostname or "", given.port if self.options.spice_proxy else None

    async def _wherever_it_is(
        self, machine_id: str, ask: Callable[[Place], Awaitable[Reply]]
    ) -> tuple[Reply, Place]:
        """Ask the guest's node; and once more where it is now, if it is not there any more."""
        place = await self._place(machine_id)
        reply = await ask(place)
        if reply.status in AWAY or (reply.status == 500 and _is_elsewhere(self._words(reply))):
            await self.machines()
            now = await self._place(machine_id)
            if now.node != place.node:
                return await ask(now), now
        return reply, place

    # -- power

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """Switch a guest, and follow the task; see `broker.hypervisor.Switching`."""
        verb = self._verb(_VERBS, ability)

        async def ask(place: Place) -> Reply:
            if place.kind == "lxc" and ability is Ability.RESET:
                raise UsageError(f"{place.name} is a container, which has no reset button")
            return await self.http.post(place.path(machine_id, f"status/{verb}"))

        reply, place = await self._wherever_it_is(machine_id, ask)
        words = self._words(reply)
        if reply.status == 500 and _ALREADY.get(ability, "\n") in words:
            return
        try:
            self._fine(reply, machine_id, place)
        except RightMissing as problem:
            raise self._lacks(ability, problem) from None
        task = reply.dig(reply.json(), "data")
        if ability not in _GUESTS_TIME and isinstance(task, str):
            await self._follow(place, task, ability)

    async def _follow(self, place: Place, task: str, ability: Ability) -> None:
        """Until that task has ended.

        Raises:
            VmStartFailed: It was a start, and failed.
            UsageError: It was something else, and failed.
            OutcomeUnknown: It has not ended in a minute.
        """
        node = task.split(":")[1] if task.count(":") > 2 else place.node
        path = f"/nodes/{quote(node)}/tasks/{quote(task, safe='')}/status"
        for _ in range(TASK_SECONDS):
            reply = self._fine(await self.http.get(path), "task")
            found = reply.read(Task, "data")
            if found.status == "stopped":
                words = self.http.spoken(found.exitstatus)
                if (
                    words == "OK"
                    or words.startswith("WARNINGS")
                    or _ALREADY.get(ability, "\n") in words
                ):
                    return
                failure = VmStartFailed if ability is Ability.START else UsageError
                raise failure(
                    f"{self.product} could not {ability.value} {place.name}: {words}",
                    fix=f"Look at its task log on {place.node}",
                )
            await self.http.pause(1.0)
        raise OutcomeUnknown(
            f"{self.product} still has not done with the {ability.value} of {place.name} after "
            f"{TASK_SECONDS} s",
            fix="Look at its task log, then: broker list --refresh",
        )

    # -- a check

    async def _log_in(self) -> Finding:
        found = self._fine(await self.http.get("/version"))
        version = found.dig(found.json(), "data", "version")
        return fine(f"{self.http.where}, version {self.http.spoken(str(version))}")

    async def _rights(self) -> Finding:
        reply = await self.http.get("/access/permissions")
        if not reply.is_fine:
            return odd("our rights are not told", "Nothing to do if everything works")
        found = reply.dig(reply.json(), "data")
        held = {
            right
            for rights in (found.values() if isinstance(found, dict) else ())
            for right in (rights if isinstance(rights, dict) else ())
        }
        if lacking := [right for right in RIGHTS if right not in held]:
            return odd(
                f"{self._who} lacks {', '.join(lacking)}",
                "Give it a role with them on /vms or on a pool; see docs/sources/proxmox.md",
            )
        return fine(f"{self._who} holds {', '.join(RIGHTS)}")


def _state(status: str, lock: str) -> State:
    return _LOCKS.get(lock) or _STATES.get(status, State.UNKNOWN)


def _is_elsewhere(words: str) -> bool:
    return "not running" in words or "does not exist" in words
