"""What a QEMU's command line says about reaching it: name, monitors, screens. Pure.

Nothing is looked up; paths are as they were written, so relative ones need the process's directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from broker.vm import options
from broker.vm.options import Word, is_on

NO_UUID = "00000000-0000-0000-0000-000000000000"


class Speaks(StrEnum):
    """The two languages of a monitor."""

    QMP = "qmp"
    HMP = "hmp"
    """The one for people."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a monitor is; at most one of path, port and descriptor is set.

    Attributes:
        path: Of a unix socket.
        descriptor: A listening socket that whoever started QEMU handed to it.
        other: Where it is when nobody can connect there (`stdio`, `vc`, a client socket).
    """

    speaks: Speaks
    path: str | None = None
    host: str = ""
    port: int | None = None
    descriptor: int | None = None
    other: str = ""

    @property
    def is_socket(self) -> bool:
        """Whether one could connect to it."""
        return not self.other


@dataclass(frozen=True, slots=True)
class Spice:
    """`-spice`, with the secret object it names.

    Attributes:
        path: Of a unix socket, in place of ports.
        ticketing: A ticket is asked for.
        password: From the command line; None when it is not there.
        password_file: A file that held it when QEMU started.
        ca_file, certificate_file: PEM, as far as TLS is spoken.
        only_tls: Channels that insist on TLS; `default` stands for all.
    """

    host: str = ""
    port: int | None = None
    tls_port: int | None = None
    path: str | None = None
    ticketing: bool = True
    sasl: bool = False
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    only_tls: tuple[str, ...] = ()

    @property
    def listens(self) -> bool:
        """Whether anybody can connect to it."""
        return bool(self.port or self.tls_port or self.path)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A QEMU's command line, understood.

    Attributes:
        argv: All of it, the program first. It may hold secrets: show `masked(argv)`.
        words: Its options, in order.
        uuid: Lower case; empty when none was given.
        screens: Displays other than SPICE, for people: `vnc 127.0.0.1:1`, `gtk`.
        daemonized: It has left the directory it was started in.
    """

    argv: tuple[str, ...] = field(repr=False)
    words: tuple[Word, ...] = field(repr=False)
    name: str = ""
    uuid: str = ""
    pidfile: str | None = None
    monitors: tuple[Outlet, ...] = ()
    spice: Spice | None = None
    screens: tuple[str, ...] = ()
    daemonized: bool = False


def understand(argv: Sequence[str]) -> CommandLine:
    """Read a command line, the program first. What makes no sense is passed over."""
    words = tuple(options.words(argv[1:]))
    last = {word.name: word.value or "" for word in words}
    named = options.options(last.get("name", ""), "guest")
    uuid = last.get("uuid", "").lower()
    return CommandLine(
        argv=tuple(argv),
        words=words,
        name=named.get("guest", ""),
        uuid="" if uuid == NO_UUID else uuid,
        pidfile=last.get("pidfile"),
        monitors=tuple(_monitors(words)),
        spice=_spice(words),
        screens=tuple(_screens(words)),
        daemonized="daemonize" in last,
    )


# -- monitors


def _monitors(words: Sequence[Word]) -> list[Outlet]:
    """Those that can be connected to first, QMP before HMP."""
    chardevs = {
        each.get("id", ""): each
        for each in (options.options(value, "backend") for value in _values(words, "chardev"))
    }
    found: list[Outlet] = []
    for name, value in words:
        if name in ("qmp", "qmp-pretty"):
            found.append(_short(Speaks.QMP, value or "", chardevs))
        elif name == "monitor" and value != "none":
            found.append(_short(Speaks.HMP, value or "", chardevs))
        elif name == "mon":
            mon = options.options(value or "", "chardev")
            speaks = Speaks.QMP if mon.get("mode") == "control" else Speaks.HMP
            found.append(_of_chardev(speaks, chardevs.get(mon.get("chardev", ""), {})))
    return sorted(found, key=lambda each: (not each.is_socket, each.speaks is Speaks.HMP))


def _short(speaks: Speaks, text: str, chardevs: Mapping[str, Mapping[str, str]]) -> Outlet:
    """What `-qmp` and `-monitor` take: `unix:PATH,server=on`, `tcp:HOST:PORT,server`, `stdio`."""
    kind, _, rest = text.partition(":")
    if kind == "chardev":
        return _of_chardev(speaks, chardevs.get(rest, {}))
    where = options.options(rest, "where")
    if kind == "unix":
        where["path"] = where.get("where", "")
    elif kind in ("tcp", "telnet"):
        host, _, port = where.get("where", "").rpartition(":")
        where |= {"host": host, "port": port}
        if kind == "telnet":
            where["telnet"] = "on"
    else:
        return Outlet(speaks, other=options.masked([text])[0] or "nowhere")
    return _of_chardev(speaks, {**where, "backend": "socket"})


def _of_chardev(speaks: Speaks, chardev: Mapping[str, str]) -> Outlet:
    backend = chardev.get("backend", "nowhere")
    odd = [key for key in ("websocket", "abstract", "tls-creds") if key in chardev]
    if speaks is Speaks.QMP and "telnet" in chardev:  # HMP's words survive its negotiation
        odd.append("telnet")
    if backend != "socket" or odd:
        return Outlet(speaks, other=" ".join([backend, *odd]))
    if not is_on(chardev.get("server")):
        return Outlet(speaks, other="a socket that it connects to itself")
    if path := chardev.get("path"):
        return Outlet(speaks, path=path)
    if (descriptor := chardev.get("fd", "")).isdecimal():
        return Outlet(speaks, descriptor=int(descriptor))
    if port := _port(chardev.get("port")):
        return Outlet(speaks, host=_reachable(chardev.get("host", "")), port=port)
    return Outlet(speaks, other="a socket without a place")


# -- screens


def _spice(words: Sequence[Word]) -> Spice | None:
    given = [pair for value in _values(words, "spice") for pair in options.pairs(value)]
    app = any(value.startswith("spice-app") for value in _values(words, "display"))
    if not any(word.name == "spice" for word in words):
        # Its viewer's socket lies in a directory of a random name, so nobody else can connect.
        return Spice(ticketing=False) if app else None
    said = dict(given)
    unix = is_on(said.get("unix"))
    certificates = Path(said["x509-dir"]) if "x509-dir" in said else None
    password, password_file = _secret(words, said)
    return Spice(
        host=_reachable(said.get("addr", ""), ipv6=is_on(said.get("ipv6"))),
        port=None if unix else _port(said.get("port")),
        tls_port=None if unix else _port(said.get("tls-port")),
        path=said.get("addr") if unix else None,
        ticketing=not is_on(said.get("disable-ticketing")),
        sasl=is_on(said.get("sasl")),
        password=password,
        password_file=password_file,
        ca_file=said.get("x509-cacert-file") or _within(certificates, "ca-cert.pem"),
        certificate_file=said.get("x509-cert-file") or _within(certificates, "server-cert.pem"),
        only_tls=tuple(value for key, value in given if key == "tls-channel"),
    )


def _within(directory: Path | None, name: str) -> str | None:
    return str(directory / name) if directory else None


def _secret(words: Sequence[Word], said: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The ticket, or the file it was read from."""
    if (password := said.get("password")) is not None:
        return password, None
    for value in _values(words, "object"):
        made = options.options(value, "qom-type")
        if made.get("qom-type") != "secret" or made.get("id") != said.get("password-secret"):
            continue
        if "keyid" in made:  # encrypted with another secret
            return None, None
        if made.get("format", "raw") == "base64":
            return _decoded(made.get("data")), None
        return made.get("data"), made.get("file")
    return None, None


def _decoded(text: str | None) -> str | None:
    import base64
    import binascii

    try:
        return base64.b64decode(text, validate=True).decode() if text else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _screens(words: Sequence[Word]) -> list[str]:
    found = [f"vnc {value.partition(',')[0]}" for value in _values(words, "vnc") if value != "none"]
    for value in _values(words, "display"):
        kind = value.partition(",")[0]
        if kind.startswith("vnc="):
            found.append(f"vnc {kind.removeprefix('vnc=')}")
        elif kind not in ("none", "spice-app"):
            found.append(kind)
    found += [word.name for word in words if word.name in ("sdl", "curses", "nographic")]
    return found


def _values(words: Sequence[Word], name: str) -> list[str]:
    return [word.value or "" for word in words if word.name == name]


def _port(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and 0 < int(text) < 65536 else None


def _reachable(host: str, *, ipv6: bool = False) -> str:
    """An address to connect to, for one that was listened on."""
    host = host.strip("[]")
    if host in ("", "0.0.0.0", "*"):  # noqa: S104 - compared with, not bound to
        return "::1" if ipv6 else "127.0.0.1"
    return "::1" if host == "::" else host
