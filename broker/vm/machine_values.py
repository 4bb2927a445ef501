"""What single values of a VM's YAML may be: names, paths, sizes, ports as people write them.

Each check takes what was written and gives what it means, or says what is wrong with it.
"""

from __future__ import annotations

import re
import uuid as uuids
from pathlib import PurePosixPath
from typing import Final

import yaml
from pydantic_core import PydanticCustomError

from broker.model import EMPTY_DRIVE

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FORMAT: Final = r"^[a-z0-9-]+$"
MACHINE: Final = r"^(q35|pc|pc-q35-[\w.]+|pc-i440fx-[\w.]+)$"
CPU: Final = r"^[\w.+-]+(,[\w.+=-]+)*$"
INTERFACE: Final = r"^[^/\s,]{1,15}$"
MAC: Final = r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
_SIZE: Final = re.compile(r"(\d+)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MAX_DISK: Final = 1 << 53


def wrong(text: str) -> PydanticCustomError:
    """A mistake in our own words."""
    # Braces would be taken for placeholders.
    return PydanticCustomError("machine", "{text}", {"text": text})


def name(value: str) -> str:
    """A VM's name."""
    if NAME.fullmatch(value):
        return value
    raise wrong(
        "a name has 1 to 63 letters, digits, dots, underscores and dashes,"
        " and begins with a letter or digit"
    )


def uuid(value: str) -> str:
    """A uuid in its usual form, lower case."""
    try:
        return str(uuids.UUID(value))
    except ValueError:
        raise wrong("a uuid looks like 6f4e2c1a-0000-4000-8000-000000000001") from None


def absolute(value: str) -> str:
    """A path that begins with /."""
    if PurePosixPath(value).is_absolute() and "\0" not in value:
        return value
    raise wrong("a path here begins with /")


def absolute_or_none(value: str) -> str:
    """The same, or nothing."""
    return value and absolute(value)


def in_drive(value: str) -> str:
    """The same, or the word for a drive without a medium."""
    return value if value == EMPTY_DRIVE else absolute(value)


def forward(value: object) -> object:
    """`2222:22` as people write it, or the pair that it means."""
    if not isinstance(value, str):
        return value
    ours, colon, its = value.partition(":")
    if colon and ours.isdecimal() and its.isdecimal():
        return (int(ours), int(its))
    raise wrong("a forward is PORT:GUESTPORT, such as 2222:22")


def size_of(value: object) -> object:
    """Bytes from `20G` or the like; what is no text is left to the next check."""
    if not isinstance(value, str):
        return value
    if match := _SIZE.fullmatch(value):
        return int(match[1]) * _UNITS[match[2].upper()]
    raise wrong("a size is a number with a unit, such as 20G or 512M")


def size_text(size: int) -> int | str:
    """The size as people write it; the bytes themselves when no unit fits."""
    for letter, unit in reversed(_UNITS.items()):
        if size % unit == 0:
            return f"{size // unit}{letter}"
    return size


def document(value: object) -> object:
    """Text as it is; a mapping or list becomes the YAML that cloud-init wants."""
    if isinstance(value, (dict, list)):
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return value


def user_data(value: object) -> object:
    """The same for user-data, whose YAML needs a first line."""
    head = "#cloud-config\n" if isinstance(value, dict) else ""
    text = document(value)
    return head + text if isinstance(text, str) else text


def environment(value: object) -> object:
    """The variables of a `MachineSpec` as a mapping."""
    if isinstance(value, tuple):  # from a MachineSpec
        return dict(value)
    return value


def tcp_port(value: object) -> object:
    """`5901`, `auto` or `ADDRESS:PORT` as people write it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    if not isinstance(value, str):
        return value
    if value == "auto":
        return {}
    address, colon, port = value.rpartition(":")
    if port.isdecimal() and (address or not colon):
        return {"port": int(port)} | ({"address": address.strip("[]")} if address else {})
    raise wrong("say auto, a port, or ADDRESS:PORT")
