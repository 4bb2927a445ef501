"""Consoles: what they are called, and how one gets into a .vv file.

Everything here is synchronous and light to import, because `broker list` and `broker export-vv`
run it straight from the command line; the long-lived faces call it in a thread.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from broker import human, tokens, vv
from broker.errors import Ambiguous, NoConsole, NotFound, UsageError, speaks_vnc
from broker.events import Event, Kind
from broker.model import (
    Ability,
    Console,
    Machine,
    MachineKey,
    ProxyStatus,
    SourceName,
    Token,
)
from broker.model import Protocol as Spoken
from broker.service.direct import is_loopback, of_kept, see_that_all_is_allowed, title
from broker.service.port import ConsoleInfo, Exported, ExportRequest
from broker.service.stored import NOTHING, StoredMachine, info_of

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.config.settings import ProxySettings

NO_PROXY = (
    "No proxy is serving now, so nobody can connect with this file yet; start one: broker serve"
)
DRAINING = "The proxy is being stopped, and lets nobody in with this file before it serves again"


class ConsoleStore(Protocol):
    """What is needed of a store here; the quick and the full one both have it."""

    def machines(self) -> Sequence[StoredMachine]:
        """All machines, ordered by name then source."""
        ...

    def find(self, reference: str) -> Sequence[StoredMachine]:
        """The machines that `name`, `source/name`, uuid or `source/uuid` names."""
        ...

    def add_token(self, token: Token) -> None:
        """Keep a token's digest."""
        ...

    def add_event(self, event: Event) -> object:
        """Write one line of the audit log."""
        ...


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a .vv file says of the proxy's certificate.

    Attributes:
        ca_pem: Our CA, for the viewer to trust.
        host_subject: The leaf's subject in SPICE's notation; replaces the host name check.
    """

    ca_pem: str
    host_subject: str


class Consoles:
    """The use cases of consoles.

    Args:
        certificate: Our proxy's certificate; made when there is none yet.
        proxy_status: Whether a proxy serves on this host.
        kept_console: The stored console with its ticket, or None; needed for direct files only.
        abilities: What can be done with the machines of each source that says so.
    """

    def __init__(
        self,
        store: ConsoleStore,
        settings: ProxySettings,
        clock: Clock,
        *,
        certificate: Callable[[], Certificate],
        proxy_status: Callable[[], ProxyStatus],
        kept_console: Callable[[MachineKey], Console | None] = lambda _: None,
        abilities: Callable[[], Mapping[SourceName, Mapping[Ability, str]]] = dict,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._certificate = certificate
        self._proxy_status = proxy_status
        self._kept_console = kept_console
        self._abilities = abilities

    def all(self) -> list[ConsoleInfo]:
        """All known consoles, ordered by name then source."""
        return self._infos(self._store.machines())

    def _infos(self, found: Sequence[StoredMachine]) -> list[ConsoleInfo]:
        can = self._abilities()
        return [info_of(stored, can.get(stored.machine.key.source, NOTHING)) for stored in found]

    def find(self, reference: str) -> ConsoleInfo:
        """The console called `name`, `source/name` or uuid.

        Raises:
            NotFound: Nothing is called so.
            Ambiguous: Several are.
        """
        found = self._infos(self._store.find(reference.strip()))
        # All of them are needed only to say what else there is.
        return found[0] if len(found) == 1 else find(reference, self.all())

    def by_key(self, key: MachineKey) -> ConsoleInfo:
        """The console of that machine.

        Raises:
            NotFound: It is no longer known.
        """
        for info in self._infos(self._store.find(f"{key.source}/{key.uuid}")):
            if info.machine.key == key:
                return info
        raise NotFound(f"{key.source}/{key.uuid} is no longer known", fix="See: broker list")

    def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        """Mint a token for that console and render a .vv file; the hypervisor is not asked.

        Raises:
            NotFound: The machine is no longer known.
            NoConsole: It has no screen, or a direct file was asked of one without a listener.
            UsageError: The file would name a host that its reader cannot reach.
        """
        info = self.by_key(key)
        machine = info.machine
        if machine.protocol is Spoken.NONE:
            import shlex  # here, for export-vv is quick

            called = shlex.quote(machine.name)
            raise NoConsole(
                f"{machine.full_name} has no graphical console",
                fix=f"Give it a display, or use its serial port: broker vm serial {called}",
            )
        if machine.protocol is Spoken.VNC:
            raise speaks_vnc(machine.name)
        if not request.direct:
            return self._proxied(machine, request)
        see_that_all_is_allowed(request)
        return of_kept(machine, request, self._kept_console(machine.key))

    def life_of(self, request: ExportRequest) -> float:
        """How long a new token or ticket shall open a session, in seconds.

        Raises:
            UsageError: That is longer than is allowed.
        """
        ttl = self._settings.token_ttl if request.ttl is None else request.ttl
        if not 0 < ttl <= self._settings.token_ttl_max:
            longest = self._settings.token_ttl_max
            raise UsageError(
                f"A file can be good for {human.age(longest)} at most",
                fix="Ask for less with --ttl, or raise proxy.token_ttl_max",
            )
        return ttl

    def _proxied(self, machine: Machine, request: ExportRequest) -> Exported:
        status = self._proxy_status()
        host = self._host_for(request)
        tls_port = status.tls_port if status.serving else self._settings.tls_port
        ttl = self.life_of(request)
        if not tls_port:
            raise UsageError(
                "proxy.tls_port is 0 and no proxy is serving, so the port is not known yet",
                fix="Start one first: broker serve",
            )
        policy = request.policy.spelled_out()
        for network in policy.sources_from:
            check_network(network)
        certificate = self._certificate()
        secret = tokens.mint()
        now = self._clock.now()
        expires_at = now + timedelta(seconds=ttl)
        token = Token(
            digest=tokens.digest(secret),
            key=machine.key,
            created_at=now,
            expires_at=expires_at,
            label=request.label,
            policy=policy,
        )
        if not request.draft:
            self._keep(token, machine, secret)
        text = vv.render(
            vv.VvFile(
                host=host,
                tls_port=tls_port,
                password=secret,
                ca=certificate.ca_pem,
                host_subject=certificate.host_subject,
                title=title(machine, view_only=policy.view_only),
                valid_until=expires_at,
                usbredir=policy.usb,
            ),
            profile=request.profile,
        )
        return Exported(
            text=text,
            key=machine.key,
            name=machine.name,
            host=host,
            tls_port=tls_port,
            expires_at=expires_at,
            notes=(DRAINING,) if status.draining else () if status.serving else (NO_PROXY,),
        )

    def _keep(self, token: Token, machine: Machine, secret: str) -> None:
        """From now on the token opens a session; who may see the log reads its first letters."""
        self._store.add_token(token)
        self._store.add_event(
            Event(
                at=token.created_at,
                kind=Kind.TOKEN_ISSUED,
                text=f"Token {human.hint(secret)} issued for {machine.full_name}"
                + (f" to {token.label}" if token.label else "")
                + (f": {', '.join(token.policy.words)}" if token.policy.words else ""),
                source=machine.key.source,
                key=machine.key,
                console=machine.name,
                label=token.label,
            )
        )

    def _host_for(self, request: ExportRequest) -> str:
        """The host a file names: what was asked, what is set, or where the proxy listens."""
        if request.host:
            return request.host
        host = self._settings.public_host or self._settings.listen
        wildcard = _is_wildcard(host)
        if request.elsewhere and (wildcard or is_loopback(host)):
            raise UsageError(
                f"The file is meant for another machine, but it would name {host}",
                fix="Say how this host is reached: set proxy.public_host, or pass --host NAME",
            )
        return "127.0.0.1" if wildcard else host


def find(reference: str, known: Sequence[ConsoleInfo]) -> ConsoleInfo:
    """The one console of `known` that `reference` names: uuid, `source/name` or name.

    Raises:
        NotFound: Nothing is called so; `fix` offers the nearest name.
        Ambiguous: Several are; the candidates are listed.
    """
    wanted = reference.strip()
    hits = [
        info
        for info in known
        if wanted in (info.machine.name, info.machine.full_name)
        or wanted.lower() == info.machine.key.uuid
        or wanted.lower() == f"{info.machine.key.source}/{info.machine.key.uuid}".lower()
    ]
    if len(hits) == 1:
        return hits[0]
    if hits:
        names = [info.machine.full_name for info in hits]
        doubled = len(set(names)) < len(names)
        raise Ambiguous(
            f"{len(hits)} consoles are called {human.one_line(wanted)}",
            candidates=tuple(
                f"{info.machine.key.source}/{info.machine.key.uuid}" if doubled else name
                for info, name in zip(hits, names, strict=True)
            ),
        )
    names = [info.machine.name for info in known]
    names += [info.machine.full_name for info in known]
    near = human.did_you_mean(wanted, names)
    raise NotFound(
        f"There is no console called {human.one_line(wanted)}",
        fix=near or "See what there is: broker list",
    )


def check_network(text: str) -> str:
    """A network, or one address, in its usual form.

    Raises:
        UsageError: It is neither, or has bits beyond its mask: more than was meant may get in.
    """
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as exc:
        with contextlib.suppress(ValueError):
            meant = ipaddress.ip_network(text, strict=False)
            raise UsageError(
                f"{text!r} is an address with a mask, not a network",
                fix=f"Write {meant} for the network, {text.partition('/')[0]} for the address",
            ) from exc
        raise UsageError(
            f"{human.one_line(text)!r} is not a network",
            fix="Write it as 192.0.2.0/24, 2001:db8::/32 or one address",
        ) from exc


def _is_wildcard(host: str) -> bool:
    return host in ("", "*", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
