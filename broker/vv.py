"""The .vv file: render and parse, text in, text out. No I/O and no clock.

The format is GLib's key file, group `[virt-viewer]` on the first line. Values are escaped as GLib
wants it, so that a machine's name can never add a key.
Source: virt-viewer 11.0, src/virt-viewer-file.c; GLib, gkeyfile.c.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from broker.errors import UsageError

GROUP: Final = "virt-viewer"
ANEW: Final = "Have it written anew, such as by: broker export-vv NAME"

PROFILES: Final = ("remote-viewer", "ryll", "minimal")
"""For whom a file is: `minimal` holds only what is needed to connect."""

HOTKEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "toggle-fullscreen": "shift+f11",
        "release-cursor": "shift+f12",
        "secure-attention": "ctrl+alt+end",
        "zoom-in": "<Ctrl>plus",
        "zoom-out": "<Ctrl>minus",
        "zoom-reset": "ctrl+0",
        "usb-device-reset": "ctrl+shift+r",
    }
)
"""All of them, because loading a .vv clears every hotkey that it does not list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VvFile:
    """What a .vv file says. With `unix_path`, host and ports do not count.

    Attributes:
        port: Plain port; leave it out when there is a `tls_port`, or viewers try it first.
        password: A token, or the hypervisor's ticket in a direct file.
        ca: PEM text of the CA to trust.
        host_subject: The certificate's subject in SPICE's notation, as `pki` gives it.
        proxy: `http://host:port` of an HTTP proxy on the way.
        valid_until: When the password stops opening a session; whole seconds are written.
        delete_this_file: The viewer removes the file once it has read it.
        usbredir: USB redirection is offered.
    """

    host: str = ""
    tls_port: int | None = None
    port: int | None = None
    unix_path: str | None = None
    password: str = field(default="", repr=False)
    host_subject: str | None = None
    ca: str | None = field(default=None, repr=False)
    proxy: str | None = None
    title: str = ""
    valid_until: datetime | None = None
    delete_this_file: bool = True
    usbredir: bool = True
    type: str = "spice"


def render(file: VvFile, profile: str = "remote-viewer") -> str:
    """The file's text, ending in a newline; a secret is in it.

    Raises:
        UsageError: There is no such profile.
    """
    if profile not in PROFILES:
        raise UsageError(
            f"{profile!r} is not a profile of .vv files", fix=f"Take one of {', '.join(PROFILES)}"
        )
    keys: dict[str, str | int | None] = {"type": file.type}
    if file.unix_path is not None:
        keys["unix-path"] = file.unix_path
    else:
        keys |= {"host": file.host, "port": file.port, "tls-port": file.tls_port}
        keys["proxy"] = file.proxy
    keys |= {
        "password": file.password or None,
        "host-subject": file.host_subject,
        "ca": file.ca,
    }
    if profile != "minimal":
        until = file.valid_until
        keys |= {
            "title": file.title or None,
            "delete-this-file": int(file.delete_this_file),
            **(HOTKEYS if profile == "remote-viewer" else {}),
            "enable-usbredir": int(file.usbredir),
            "ticket-valid-until": int(until.timestamp()) if until else None,
        }
    lines = [f"{key}={_escape(str(value))}" for key, value in keys.items() if value is not None]
    return "\n".join([f"[{GROUP}]", *lines, ""])


def parse(text: str) -> VvFile:
    """What a .vv file says; keys we have no word for are passed over.

    Raises:
        UsageError: It is no .vv file, or a value in it cannot be read.
    """
    keys = parse_keys(text)
    if "type" not in keys:
        raise UsageError("This .vv file does not say its type", fix=ANEW)
    until = _number(keys, "ticket-valid-until")
    return VvFile(
        type=keys["type"],
        host=keys.get("host", ""),
        port=_number(keys, "port"),
        tls_port=_number(keys, "tls-port"),
        unix_path=keys.get("unix-path"),
        password=keys.get("password", ""),
        host_subject=keys.get("host-subject"),
        ca=keys.get("ca"),
        proxy=keys.get("proxy"),
        title=keys.get("title", ""),
        valid_until=None if until is None else _moment(until),
        delete_this_file=bool(_number(keys, "delete-this-file")),
        usbredir=bool(_number(keys, "enable-usbredir")),
    )


def parse_keys(text: str) -> dict[str, str]:
    """The keys of the `[virt-viewer]` group and their unescaped values, in the file's order.

    Raises:
        UsageError: It does not begin with that group, or a line is neither key nor comment.
    """
    if not text.startswith(f"[{GROUP}]"):
        raise UsageError("This is no .vv file: it does not begin with [virt-viewer]", fix=ANEW)
    keys: dict[str, str] = {}
    inside = False
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip(_SPACES)
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            inside = line.rstrip(_SPACES) == f"[{GROUP}]"
        elif inside:
            key, found, value = line.partition("=")
            if not found or not key.strip(_SPACES):
                raise UsageError(f"Line {number} of this .vv file is not `key=value`", fix=ANEW)
            keys[key.rstrip(_SPACES)] = _unescape(value.lstrip(_SPACES), number)
    return keys


_SPACES: Final = " \t\r\v\f"
"""What GLib trims around keys and before values."""

_UNSOUND: Final = re.compile("[\0\v\f\ud800-\udfff]")
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES: Final = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", "s": " "}


def _escape(value: str) -> str:
    """A value as GLib's `g_key_file_set_string` writes it.

    What it has no escape for would end a C string, be trimmed or be no UTF-8, so it becomes the
    replacement character: a file with an odd title beats a file that no viewer reads.
    """
    sound = _UNSOUND.sub("\N{REPLACEMENT CHARACTER}", value)
    escaped = "".join(_ESCAPES.get(char, char) for char in sound)
    first = escaped[: len(escaped) - len(escaped.lstrip(" "))]
    return "\\s" * len(first) + escaped[len(first) :]


def _unescape(value: str, line: int) -> str:
    """The inverse; GLib gives up on a value with an escape it does not know, and so do we."""
    parts = iter(value)
    plain: list[str] = []
    for char in parts:
        if char != "\\":
            plain.append(char)
            continue
        if (meaning := _UNESCAPES.get(next(parts, ""))) is None:
            raise UsageError(
                f"Line {line} of this .vv file holds an escape that means nothing", fix=ANEW
            )
        plain.append(meaning)
    return "".join(plain)


def _number(keys: Mapping[str, str], key: str) -> int | None:
    value = keys.get(key)
    if value is None:
        return None
    if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > 19:
        raise UsageError(f"{key} in this .vv file is not a number", fix=ANEW)
    return int(value)


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as exc:
        raise UsageError("ticket-valid-until in this .vv file is no time", fix=ANEW) from exc
