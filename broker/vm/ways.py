"""What can be done with a QEMU that is not ours: which monitor to ask, how to get to its screen.

Its files are read (certificates, a ticket's file); it is asked nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from broker.model import HandOverTarget, Target, TcpTarget, UnixTarget
from broker.vm.cmdline import Outlet, Speaks, Spice
from broker.vm.paths import MAX_SOCKET_PATH
from broker.vm.scan import Qemu

MAX_TICKET_BYTES: Final = 4096


class Ticket(StrEnum):
    """How a screen's ticket is come by."""

    NONE = "none"
    """None is needed."""
    KNOWN = "known"
    """From its command line, or the file that names."""
    FRESH = "fresh"
    """Nobody can read it, so each session sets a new one by the monitor."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The way to a QEMU's screen.

    Attributes:
        target: None when there is none.
        secret: The ticket, when it is known.
        words: The way, or why there is none; for people.
    """

    target: Target | None
    words: str
    ticket: Ticket = Ticket.NONE
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Ways:
    """Both.

    Attributes:
        monitor: The one to ask; None when it has none that can be connected to.
    """

    monitor: Outlet | None
    screen: Screen


def ways_of(qemu: Qemu) -> Ways:
    """How that QEMU can be asked, and its screen reached. Reads its files; blocks a little."""
    monitors = qemu.monitors()
    return Ways(monitors[0] if monitors else None, _screen(qemu, monitors))


def say_monitor(monitor: Outlet | None) -> str:
    """A monitor for people: `qmp /run/vm.sock`."""
    if monitor is None:
        return "none"
    return f"{monitor.speaks} {monitor.path or f'{monitor.host}:{monitor.port}'}"


def _screen(qemu: Qemu, monitors: list[Outlet]) -> Screen:
    """The best way: a port whose ticket is known needs no monitor; a hand-over needs no ticket."""
    spice = qemu.line.spice
    if spice is None:
        others = ", ".join(qemu.line.screens)
        return Screen(None, f"no SPICE{f', only {others}' if others else ''}")
    listening = [
        Listening(qemu, spice, monitors, target)
        for target in _targets(qemu, spice)
        if not spice.sasl
    ]
    ways = [each.screen() for each in listening if each.needs_no_monitor]
    if not spice.only_tls:  # QEMU refuses a channel that insists on TLS when it is handed over
        ways.append(_hand_over(monitors))
    ways += [each.screen() for each in listening]
    return next((way for way in ways if way is not None), Screen(None, _why_not(qemu, spice)))


def _targets(qemu: Qemu, spice: Spice) -> Iterator[Target]:
    """Where it listens, as far as we can connect there; a plain port first, for it costs least."""
    if spice.port and not spice.only_tls and not qemu.unreachable:
        yield TcpTarget(spice.host, port=spice.port)
    if spice.tls_port and not qemu.unreachable and (tls := _tls(qemu, spice)):
        yield tls
    if spice.path and (path := qemu.path(spice.path)) and _fits(path):
        yield UnixTarget(str(path))


@dataclass(frozen=True, slots=True)
class Listening:
    """One place where a QEMU's SPICE server listens."""

    qemu: Qemu
    spice: Spice
    monitors: list[Outlet]
    target: Target

    @property
    def needs_no_monitor(self) -> bool:
        """It is on TCP (on a unix socket no picture is compressed), and its ticket is known."""
        known = not self.spice.ticketing or _secret(self.qemu, self.spice) is not None
        return known and isinstance(self.target, TcpTarget)

    def screen(self) -> Screen | None:
        """The way there; None when its ticket cannot be had."""
        if not self.spice.ticketing:
            return Screen(self.target, _place(self.target))
        if (secret := _secret(self.qemu, self.spice)) is not None:
            return Screen(self.target, _place(self.target), Ticket.KNOWN, secret)
        if self.monitors:
            words = f"{_place(self.target)}, a new ticket for each session"
            return Screen(self.target, words, Ticket.FRESH)
        return None


def _hand_over(monitors: list[Outlet]) -> Screen | None:
    """Only QMP on a unix socket takes a descriptor."""
    for monitor in monitors:
        if monitor.speaks is Speaks.QMP and monitor.path and _fits(Path(monitor.path)):
            return Screen(HandOverTarget(monitor.path), "handed over by its monitor")
    return None


def _fits(path: Path) -> bool:
    return len(str(path).encode(errors="surrogateescape")) <= MAX_SOCKET_PATH


def _tls(qemu: Qemu, spice: Spice) -> TcpTarget | None:
    """Its TLS port, held to the CA and the subject that it was started with."""
    ca = _text(qemu, spice.ca_file)
    if ca is None:
        return None
    return TcpTarget(
        spice.host,
        tls_port=spice.tls_port,
        ca_pem=ca,
        host_subject=_subject(_text(qemu, spice.certificate_file)),
    )


def _subject(pem: str | None) -> str | None:
    import ssl

    from broker import pki

    if pem is None:
        return None
    begin = pem.find("-----BEGIN CERTIFICATE-----")
    end = pem.find("-----END CERTIFICATE-----", begin)
    if begin < 0 or end < 0:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[begin:end] + "-----END CERTIFICATE-----\n")
    except ValueError:
        return None
    return pki.subject_of(der) or None


def _secret(qemu: Qemu, spice: Spice) -> str | None:
    if not spice.ticketing:
        return None
    if spice.password is not None:
        return spice.password
    return _text(qemu, spice.password_file, MAX_TICKET_BYTES)


def _text(qemu: Qemu, name: str | None, limit: int = 1024 * 1024) -> str | None:
    """A file of its command line; None when it cannot be read (any more)."""
    path = qemu.path(name) if name else None
    if path is None or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", "strict")
    except (OSError, UnicodeDecodeError):
        return None


def _place(target: Target) -> str:
    match target:
        case TcpTarget(tls_port=int(port)):
            return f"TLS port {target.host}:{port}"
        case TcpTarget():
            return f"port {target.host}:{target.port}"
        case UnixTarget(path):
            return f"unix socket {path}"
        case _:
            return "handed over by its monitor"


def _why_not(qemu: Qemu, spice: Spice) -> str:
    if qemu.unreachable and (spice.port or spice.tls_port):
        return "SPICE listens in another network namespace"
    if spice.sasl:
        return "SPICE asks for SASL, which only a hand-over by QMP goes round"
    if (spice.only_tls or not spice.port) and spice.tls_port and _tls(qemu, spice) is None:
        return "SPICE wants TLS, and the file of its CA cannot be read"
    if spice.port or spice.tls_port:
        return "SPICE has a port, but its ticket cannot be read and no monitor can set one"
    if spice.path:
        return "SPICE has a unix socket that cannot be reached, or a ticket that cannot be read"
    return "SPICE without a port, and no QMP on a unix socket to hand a connection over by"
