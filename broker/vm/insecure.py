"""Which of a person's own QEMU arguments would open a console that asks nobody for a password.

Pure. It looks for what people write, not for what an enemy would: whoever defines a VM may run any
program anyway. What it finds is refused unless the definition says `allow_insecure: true`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

_MONITORS: Final = ("monitor", "qmp", "qmp-pretty", "gdb")
_CHARACTERS: Final = ("serial", "parallel", "debugcon", "virtioconsole")
_NETWORKED: Final = ("tcp:", "telnet:", "websocket:", "tn3270:", "udp:")
_OFF: Final = ("off", "no", "false", "n", "0")
_HIDDEN: Final = {
    "readconfig": "what stands in that file is not looked at",
    "set": "it changes other options",
}


def insecure(extra_args: Sequence[str]) -> list[str]:
    """What is wrong with some arguments, each as `-option value: reason`; empty when nothing is.

    A value with a secret in it is not repeated.

    Source: QEMU manual, "Invocation", 7.2 and 9.2.
    """
    pairs = list(_pairs(extra_args))
    monitors = {_options(value).get("chardev", "") for name, value in pairs if name == "mon"}
    found = [(name, value, _why(name, value, monitors)) for name, value in pairs]
    return [f"-{name}{_shown(value)}: {why}" for name, value, why in found if why]


def _shown(value: str) -> str:
    secret = {"password", "data"} & _options(value).keys()
    return f" {value}" if value and not secret else ""


def _pairs(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option's name, and the word behind it if that is none itself."""
    for index, word in enumerate(args):
        if not word.startswith("-") or len(word) < 2:
            continue
        following = args[index + 1] if index + 1 < len(args) else ""
        is_value = following == "-" or not following.startswith("-")
        yield word.removeprefix("-").removeprefix("-"), following if is_value else ""


def _why(name: str, value: str, monitors: set[str]) -> str:
    if name == "s":
        return "anybody on the network may debug the guest"
    if name in _HIDDEN:
        return _HIDDEN[name]
    if name in _MONITORS:
        return "whoever connects commands QEMU" if _is_networked(value) else ""
    if name in _CHARACTERS:
        return _of_character(value)
    match name:
        case "vnc":
            return _of_vnc(value)
        case "display" if value.startswith("vnc="):
            return _of_vnc(value.removeprefix("vnc="))
        case "spice":
            return _of_spice(_options(value))
        case "chardev":
            return _of_chardev(_options(value), monitors)
        case "incoming" if _is_networked(value):
            return "whoever connects decides what the guest is"
        case "object" if _options(value).get("data") and "secret" in value.split(",")[0]:
            return "everybody on this host can read a secret on a command line; give it as file="
    return ""


def _is_networked(value: str) -> bool:
    return value.startswith(_NETWORKED)


def _of_vnc(value: str) -> str:
    where, *rest = value.split(",")
    options = _options(",".join(["", *rest]))
    if where.startswith("unix:") or where == "none" or "reverse" in options:
        return ""
    if _is_on(options, "password") or "password-secret" in options or _is_on(options, "sasl"):
        return ""
    return "its screen would be open to whoever connects; say vnc: true for one on a unix socket"


def _of_spice(options: dict[str, str]) -> str:
    if "password" in options:
        return "everybody on this host can read a password on a command line"
    if _is_on(options, "disable-ticketing") and not _is_on(options, "unix"):
        return "its screen would be open to whoever connects; for a port with a ticket, say spice:"
    return ""


def _of_character(value: str) -> str:
    """A serial or parallel port's own short form of a chardev."""
    if value.startswith("mon:"):
        return _of_character(value.removeprefix("mon:")) and "whoever connects commands QEMU"
    if not _is_networked(value):
        return ""
    kind, _, where = value.partition(":")
    host = where.split(",")[0].rpartition(":")[0].strip("[]")
    is_server = kind == "udp" or _is_on(_options(f",{where}"), "server")
    return _open_to_others(host) if is_server else ""


def _of_chardev(options: dict[str, str], monitors: set[str]) -> str:
    kind = options.get("", "")
    if kind not in ("socket", "udp") or "path" in options or "port" not in options:
        return ""
    if kind == "socket" and not _is_on(options, "server"):
        return ""
    if options.get("id") in monitors:
        return "whoever connects commands QEMU"
    return _open_to_others(options.get("host" if kind == "socket" else "localaddr", ""))


def _open_to_others(host: str) -> str:
    if host == "localhost":
        return ""
    try:
        if ipaddress.ip_address(host).is_loopback:
            return ""
    except ValueError:
        pass
    return "it asks nobody who connects for a password; bind it to 127.0.0.1, or to a unix socket"


def _options(value: str) -> dict[str, str]:
    """`first,key=value,flag` as a mapping; a first word without a key is under the empty one."""
    parts = [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]
    first = {"": parts[0]} if "=" not in parts[0] else {}
    words = parts if "=" in parts[0] else parts[1:]
    return first | {key: held for key, _, held in (word.partition("=") for word in words)}


def _is_on(options: dict[str, str], key: str) -> bool:
    return key in options and options[key] not in _OFF
