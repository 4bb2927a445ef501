"""The libvirt source: domains of one connection, local or far away.

On this host each channel is handed over as a descriptor, and no ticket is needed. From elsewhere
the domain's ports are dialled, with a password made for the one session.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Self

from broker.dialing import DialPolicy
from broker.driver import DriverContext
from broker.errors import (
    NoConsole,
    NotFound,
    RightMissing,
    SourceUnreachable,
    UsageError,
    VmStartFailed,
    speaks_vnc,
)
from broker.findings import Step
from broker.guest import Guest
from broker.model import (
    POWER,
    Ability,
    Console,
    GivenTarget,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    State,
    Target,
    TcpTarget,
)
from sources.libvirt import domain, link
from sources.libvirt.guest import LibvirtGuest
from sources.libvirt.link import Connection, Link
from sources.libvirt.look import look_into
from sources.libvirt.options import LibvirtOptions
from sources.libvirt.power import RIGHTS, switch
from sources.options import options_schema, parse_options
from sources.reading import Reader
from sources.vetting import problems_of

PASSWORD_LENGTH = 40
"""Letters and digits; libvirt takes 60, of which spice-server keeps 59."""
LISTING = "connect.search-domains, domain.getattr or domain.read"
PASSWORDS = "domain.read-secure or domain.write"
ACTIVE = (State.RUNNING, State.PAUSED, State.SUSPENDED, State.BUSY)
_LETTERS = string.ascii_letters + string.digits
_XML_SECURE = 1
_AFFECT_LIVE = 1
_SKIP_AUTH = 1
_STATS_STATE = 1
_LIFECYCLE = 0


class LibvirtDriver:
    """Domains of one libvirt connection. See `broker.driver.Driver` and `broker.hypervisor`."""

    type: ClassVar[str] = "libvirt"
    options_model = LibvirtOptions

    def __init__(self, name: SourceName, options: LibvirtOptions, context: DriverContext) -> None:
        self._name = name
        self._options = options
        self._clock = context.clock
        self._reader = Reader(name, context)
        self._remote = link.host_of(options.uri)
        pki = None if options.pki is None else str(self._reader.path(options.pki))
        credentials = None if options.password is None else self._credentials
        self._link = Link(name, link.prepared(options.uri, pki), credentials)
        self._known: dict[str, tuple[int, domain.Screens]] = {}
        self._hearing = False
        self._hostname = ""
        self._may_not: dict[Ability, str] = {}

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry; nothing is connected, and the binding not imported.

        Raises:
            ConfigError: An option is unknown, missing or wrong.
        """
        return cls(name, parse_options(LibvirtOptions, name, cls.type, options), context)

    @classmethod
    def options_schema(cls) -> Mapping[str, object]:
        """See `Described`."""
        return options_schema(LibvirtOptions)

    @classmethod
    def option_problems(cls, options: Mapping[str, object]) -> Mapping[str, str]:
        """See `broker.hypervisor.Vetting`."""
        return problems_of(LibvirtOptions, options)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the files that the entry names, and about the way there."""
        odd = self._reader.warnings
        if "+tcp" in self._options.uri and self._remote not in ("127.0.0.1", "::1", "localhost"):
            odd += (f"{link.shown(self._options.uri)} is not encrypted; use qemu+tls or qemu+ssh",)
        if "no_verify=1" in self._options.uri:
            odd += (f"{link.shown(self._options.uri)} is not checked to be who it says",)
        return odd

    def dial_policy(self) -> DialPolicy:
        """The loopback is meant where the daemon is of this host."""
        return self._options.policy(local=not self._remote)

    def abilities(self) -> Mapping[Ability, str]:
        """All of power, screenshots and the serial console."""
        can = (*POWER, Ability.SCREENSHOT, Ability.SERIAL, Ability.VNC, Ability.EVENTS)
        keys = {Ability.KEYS: "Keys are pressed on its screen: broker open NAME"}
        return dict.fromkeys(can, "") | keys | self._may_not

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """Which rights have turned out to be missing; see `Short`."""
        return tuple(dict.fromkeys(self._may_not.values()))

    # -- what there is

    async def machines(self) -> Sequence[Machine]:
        """All domains, running or not."""
        return await self._link.call(self._list, right=LISTING)

    async def machine(self, machine_id: MachineId) -> Machine:
        """One domain as it is now."""

        def look(connection: Connection) -> Machine:
            found = connection.lookupByUUIDString(_uuid(machine_id))
            self._known.pop(machine_id, None)
            return self._machine(connection, found, *found.state()[:2])

        return await self._link.call(look)

    def _list(self, connection: Connection) -> list[Machine]:
        binding = link.load()
        try:
            stats = connection.getAllDomainStats(_STATS_STATE)
            found = [(d, s.get("state.state", 0), s.get("state.reason", 0)) for d, s in stats]
        except binding.libvirtError as exc:
            if exc.get_error_code() != link.NOT_SUPPORTED:
                raise
            found = [(each, *each.state()[:2]) for each in connection.listAllDomains(0)]
        machines = []
        for each, state, reason in found:
            try:
                machines.append(self._machine(connection, each, state, reason))
            except binding.libvirtError as exc:
                if exc.get_error_code() != link.NO_DOMAIN:  # it went meanwhile
                    raise
        for gone in self._known.keys() - {machine.key.uuid for machine in machines}:
            self._known.pop(gone, None)
        return machines

    def _machine(self, connection: Connection, found: Any, state: int, reason: int) -> Machine:
        uuid = MachineId(found.UUIDString().lower())
        seen = domain.state_of(state, reason)
        screens = self._screens(uuid, found, found.ID())
        if not self._hostname:
            self._hostname = self._remote or connection.getHostname()
        target: Target | None = None
        if seen in ACTIVE and screens.spice is not None:
            try:
                target = self._target(uuid, screens.spice)
            except NoConsole:
                target = None  # it is said when somebody wants it
        return Machine(
            key=MachineKey(self._name, uuid),
            name=found.name(),
            state=seen,
            hypervisor=self._hostname,
            hypervisor_ip=self._options.spice_host or self._remote or "127.0.0.1",
            protocol=screens.protocol,
            reason="it ended by itself" if seen is State.CRASHED else "",
            target=target,
        )

    def _screens(self, uuid: str, found: Any, run: int) -> domain.Screens:
        """What its XML says; read again when it was started or defined since, if we hear of that.

        Args:
            run: Libvirt's number of this run of it; -1 while it is off.
        """
        known = self._known.get(uuid)
        if self._hearing and known is not None and known[0] == run:
            return known[1]
        screens = domain.screens_of(found.XMLDesc(0))
        self._known[uuid] = (run, screens)
        return screens

    # -- its screen

    async def console(self, machine_id: MachineId) -> Console:
        """A descriptor for each channel on this host; else its ports and a password of now.

        Raises:
            NotFound: No such domain.
            NoConsole: It is off, or has no SPICE that can be reached.
        """
        return await self._link.call(
            lambda connection: self._console(connection, machine_id), right=PASSWORDS
        )

    def _console(self, connection: Connection, machine_id: MachineId) -> Console:
        found = connection.lookupByUUIDString(_uuid(machine_id))
        self._known.pop(machine_id, None)
        machine = self._machine(connection, found, *found.state()[:2])
        known = self._known.get(machine_id)  # not when an event has come meanwhile
        screens = known[1] if known else domain.screens_of(found.XMLDesc(0))
        called = shlex.quote(machine.name)
        if screens.spice is None:
            if screens.vnc:
                raise speaks_vnc(machine.name)
            raise NoConsole(
                f"{machine.full_name} has no SPICE display",
                fix=f"Give it one: virsh edit {called}, <graphics type='spice'/>",
            )
        if machine.state not in ACTIVE:
            raise NoConsole(
                f"{machine.full_name} is {machine.state.value}",
                fix=f"Start it: broker vm start {called}",
            )
        target = self._target(machine_id, screens.spice)
        if isinstance(target, GivenTarget):
            return Console(target)
        password = "".join(secrets.choice(_LETTERS) for _ in range(PASSWORD_LENGTH))
        until = self._clock.now() + timedelta(seconds=self._options.ticket_seconds)
        xml = domain.with_password(found.XMLDesc(_XML_SECURE), screens.spice.index, password, until)
        if xml is None:
            return Console(target)
        found.updateDeviceFlags(xml, _AFFECT_LIVE)
        return Console(target, ticket=password, expires_at=until, superseding=True)

    def _target(self, uuid: MachineId, spice: domain.Spice) -> Target:
        if not self._remote and not spice.tls_only:
            return GivenTarget(self._name, uuid)
        port, tls_port = (None if spice.tls_only else spice.port), spice.tls_port
        if port is None and tls_port is None:
            raise NoConsole(
                "Its SPICE display listens on no port that can be used from here",
                fix="Give it one: <graphics type='spice' autoport='yes'><listen type='address' "
                "address='0.0.0.0'/>; TLS needs spice_tls in qemu.conf",
            )
        return TcpTarget(
            host=self._host(spice),
            port=port,
            tls_port=tls_port,
            ca_pem=self._reader.ca(self._options.ca_cert, "ca_cert"),
            host_subject=self._options.host_subject,
        )

    def _host(self, spice: domain.Spice) -> str:
        if self._options.spice_host is not None:
            return self._options.spice_host
        if not self._remote:
            return "127.0.0.1" if spice.address in domain.WILDCARDS else spice.address
        if spice.address in domain.WILDCARDS:
            return self._remote
        if spice.address in ("127.0.0.1", "::1") and not _is_loopback(self._remote):
            raise NoConsole(
                f"Its SPICE display listens on {spice.address} of {self._remote} only",
                fix="Have it listen on an address that can be reached from here, or set spice_host "
                "of the source to where it is forwarded",
            )
        return spice.address

    async def give_channel(self, machine_id: MachineId, end: socket.socket) -> None:
        """Hand one end of a connection to its SPICE server."""
        binding = link.load()

        def give(connection: Connection) -> None:
            found = connection.lookupByUUIDString(_uuid(machine_id))
            spice = self._screens(machine_id, found, found.ID()).spice
            if spice is None:
                raise NoConsole(f"{self._name}/{found.name()} has no SPICE display")
            try:
                found.openGraphics(spice.index, end.fileno(), _SKIP_AUTH)
            except binding.libvirtError as exc:
                if exc.get_error_code() == link.WRONG_STATE:
                    raise NoConsole(
                        f"{self._name}/{found.name()} is off",
                        fix=f"Start it: broker vm start {shlex.quote(found.name())}",
                    ) from None
                raise

        await self._link.call(give, again=False, right="domain.open-graphics")

    # -- power

    async def switch(self, machine_id: MachineId, ability: Ability) -> None:
        """See `Switching`."""
        binding = link.load()

        def act(connection: Connection) -> None:
            found = connection.lookupByUUIDString(_uuid(machine_id))
            try:
                switch(found, ability, domain.state_of(*found.state()[:2]))
            except binding.libvirtError as exc:
                problem = self._link.translated(exc)
                if ability is Ability.START and type(problem) is UsageError:
                    said = str(exc).strip()
                    raise VmStartFailed(
                        f"{self._name}/{found.name()} did not start: {said}",
                        fix="Look at its log on the host: /var/log/libvirt/qemu",
                    ) from None
                raise

        try:
            await self._link.call(act, again=False, right=RIGHTS.get(ability, ""))
        except RightMissing as problem:  # faces stop offering it
            self._may_not[ability] = problem.what
            raise

    # -- what changes

    async def changes(self, changed: Callable[[MachineId | None], None]) -> None:
        """Lifecycle events of all domains."""
        loop, lost = asyncio.get_running_loop(), asyncio.Event()

        def tell(uuid: MachineId) -> None:
            self._known.pop(uuid, None)
            changed(uuid)

        def happened(_: object, found: Any, *__: object) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, MachineId(found.UUIDString().lower()))

        def over() -> None:
            with contextlib.suppress(RuntimeError):  # our loop has ended
                loop.call_soon_threadsafe(lost.set)

        self._link.on_loss(over)
        handle = await self._link.call(
            lambda c: c.domainEventRegisterAny(None, _LIFECYCLE, happened, None)
        )
        self._hearing = True
        try:
            changed(None)  # what happened before we listened
            await lost.wait()
        finally:
            self._hearing = False
            self._link.on_loss(lambda: None)
            self._link.forget(lambda c: c.domainEventDeregisterAny(handle))
        await self._link.lose()
        raise SourceUnreachable(f"{self._name}: the connection to libvirt was lost")

    # -- its use

    async def guest(self, machine_id: MachineId) -> Guest:
        """A domain to be used: its picture and its serial console."""
        machine = await self.machine(machine_id)
        return LibvirtGuest(self._link, machine)

    # -- check

    async def check(self) -> Sequence[Step]:
        """Connect, list, and see what we may."""
        return await look_into(self._link, self.machines, remote=bool(self._remote))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._link.aclose()

    def _credentials(self) -> tuple[str, str]:
        assert self._options.username is not None
        assert self._options.password is not None
        return self._options.username, self._reader.secret(self._options.password)


def _uuid(machine_id: MachineId) -> str:
    """A machine's id as libvirt will look for it.

    Raises:
        NotFound: It is no uuid, so no domain has it.
    """
    import uuid

    try:
        return str(uuid.UUID(machine_id))
    except ValueError:
        raise NotFound(f"No machine has the id {machine_id!r}", fix="See: broker list") from None


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
