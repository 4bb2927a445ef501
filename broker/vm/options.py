"""How QEMU's arguments are written: options and their values, commas and all. Pure.

Source: QEMU manual, "Invocation"; qemu-options.hx for the options that take no value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

IMAGE: Final = ""
"""The name of what stands alone: a disk image."""


def named(text: str) -> frozenset[str]:
    """A set of names, written as people list them."""
    return frozenset(text.split())


FLAGS: Final = named("""
    h help version S s snapshot usb nographic portrait full-screen win2k-hack no-fd-bootchk
    no-acpi no-hpet singlestep preconfig enable-kvm no-kvm xen-attach xen-domid-restrict no-reboot
    no-shutdown daemonize only-migratable nodefaults no-user-config nouserconfig mem-prealloc
    enable-sync-profile audio-help curses sdl no-frame alt-grab ctrl-grab no-quit old-param
    semihosting enable-fips async-teardown no-tpm
""")
"""Options that take no value; every other one takes the next argument."""

_SHORT_OFF: Final = {"nowait": "wait", "noserver": "server"}
_SECRET_KEY: Final = re.compile(
    r"password|passwd|passphrase|credential|token|api-?key|^data$|^key$", re.IGNORECASE
)
_ID_KEY: Final = re.compile(r"-secret$|^secret$", re.IGNORECASE)
"""Keys that name a secret object rather than hold it."""
_PAIR: Final = re.compile(r"(?P<key>[\w.-]+)=(?P<value>(?:[^,]|,,)*)")
_IN_URL: Final = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
_IN_RBD: Final = re.compile(r"(:(?:key|password)=)[^:,]+")
HIDDEN: Final = "***"


class Word(NamedTuple):
    """One option as it was given.

    Attributes:
        name: Without its dashes; `IMAGE` for an argument that stands alone.
        value: None for an option that takes none.
    """

    name: str
    value: str | None = None


def words(arguments: Iterable[str]) -> Iterator[Word]:
    """The options of a command line, without the program; one or two dashes are the same."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or argument == "-":
            yield Word(IMAGE, argument)
            continue
        name = argument.removeprefix("-").removeprefix("-")
        yield Word(name) if name in FLAGS else Word(name, next(rest, ""))


def pairs(text: str, first: str = "") -> list[tuple[str, str]]:
    """The `key=value` parts of an option's value, in order.

    A doubled comma belongs to a value, a key alone means `on`, `nowait` means `wait=off`. A value
    may also be JSON, whose inner keys are then written with dots.

    Args:
        first: The key of a first part that has none (`guest` of `-name`, say).
    """
    if text.startswith("{"):
        return list(_flat(_object(text)))
    found: list[tuple[str, str]] = []
    for number, part in enumerate(_parts(text)):
        key, equals, value = part.partition("=")
        if number == 0 and first and (not equals or not re.fullmatch(r"[\w.-]+", key)):
            found.append((first, part))
        elif equals:
            found.append((key, value))
        elif key in _SHORT_OFF:
            found.append((_SHORT_OFF[key], "off"))
        elif key:
            found.append((key, "on"))
    return found


def options(text: str, first: str = "") -> dict[str, str]:
    """The same by key; the last of a key counts, as it does for QEMU."""
    return dict(pairs(text, first))


def is_on(value: str | None) -> bool:
    """Whether a switch is on."""
    return value in ("on", "yes", "true", "y")


def masked(argv: Sequence[str]) -> list[str]:
    """A command line that may be shown: what could be a secret is hidden.

    Too much is hidden rather than too little; names of secret objects stay.
    """
    return [_masked(argument) for argument in argv]


def _masked(argument: str) -> str:
    if argument.startswith("{") and (known := _object(argument)):
        return json.dumps(_without_secrets(known))
    text = _IN_RBD.sub(rf"\g<1>{HIDDEN}", _IN_URL.sub(rf"\g<1>{HIDDEN}@", argument))
    return _PAIR.sub(_hide, text)


def _hide(pair: re.Match[str]) -> str:
    if _is_secret(pair["key"], pair["value"]):
        return f"{pair['key']}={HIDDEN}"
    return pair[0]


def _is_secret(key: str, value: object) -> bool:
    last = key.rpartition(".")[2]
    if value in ("on", "off", "") or _ID_KEY.search(last):
        return False
    return _SECRET_KEY.search(last) is not None


def _without_secrets(value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _without_secrets(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, key) for inner in value]
    if isinstance(value, str):
        return HIDDEN if _is_secret(key, value) else _IN_URL.sub(rf"\g<1>{HIDDEN}@", value)
    return value


def _parts(text: str) -> list[str]:
    """Split at single commas."""
    return [part.replace(",,", ",") for part in re.findall(r"(?:[^,]|,,)+", text)]


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}.{number}")
    elif isinstance(value, bool):
        yield prefix, "on" if value else "off"
    elif value is not None:
        yield prefix, str(value)
