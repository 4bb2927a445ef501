"""The fields of the form for a VM: where each stands, and what it does to the document.

The document is what a YAML file would say, as plain values: `{"name": "web-01", "memory": 2048}`.
What is typed and means nothing goes into it as it is, so that it is kept, and judged there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from broker.model import Accel, DiskBus, Display, Firmware, Network, Nic, Restart

Document = dict[str, Any]
NO, YES = "no", "yes"
_MOST_DIGITS: Final = 18
"""Longer ones are kept as they were typed: Python makes no number of thousands of digits."""
_MEMORY: Final = re.compile(rf"(\d{{1,{_MOST_DIGITS}}})\s*(|m|mb|mib|g|gb|gib)", re.IGNORECASE)
_SIZE: Final = re.compile(r"\d+\s*[kmgt](i?b)?", re.IGNORECASE)
_ON: Final = re.compile(r"(?:(\S+)\s+)?on\s+(\S.*)", re.IGNORECASE)
KEEP, FORGET, LOOK = "kept", "thrown away", "refused"
"""What becomes of what a guest writes to a disk."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the form.

    Attributes:
        id: Also a widget's; letters and dashes.
        place: Where the document has it; problems at or below that place are told here.
        hint: In a text field that is empty.
        words: A choice among these instead of a text.
        edits: It may be changed of a VM that is there.
    """

    id: str
    label: str
    place: str
    read: Callable[[Document], str]
    write: Callable[[Document, str], None]
    hint: str = ""
    words: tuple[str, ...] = ()
    edits: bool = True


def _text(key: str, label: str, hint: str = "", *, edits: bool = True) -> Item:
    def write(document: Document, text: str) -> None:
        _put(document, key, text.strip())

    return Item(
        key.replace("_", "-"), label, key, lambda d: _said(d, key), write, hint, edits=edits
    )


def _number(key: str, label: str, hint: str) -> Item:
    def write(document: Document, text: str) -> None:
        plain = text.strip()
        is_number = plain.isdecimal() and len(plain) <= _MOST_DIGITS
        _put(document, key, int(plain) if is_number else plain)

    return Item(key.replace("_", "-"), label, key, lambda d: _said(d, key), write, hint)


def _choice(key: str, label: str, words: tuple[str, ...]) -> Item:
    """Among words, the first of which is so when nothing is said."""

    def read(document: Document) -> str:
        said = _said(document, key)
        return said if said in words else words[0]

    def write(document: Document, text: str) -> None:
        _put(document, key, "" if text == words[0] else text)

    return Item(key.replace("_", "-"), label, key, read, write, words=words)


def _flag(key: str, label: str, *, usual: bool = False) -> Item:
    words = (YES, NO) if usual else (NO, YES)

    def read(document: Document) -> str:
        return YES if document.get(key, usual) is True else NO

    def write(document: Document, text: str) -> None:
        _put(document, key, "" if text == words[0] else text == YES)

    return Item(key.replace("_", "-"), label, key, read, write, words=words)


def _said(document: Document, key: str) -> str:
    value = document.get(key)
    return "" if value is None else str(value)


def _put(document: Document, key: str, value: object) -> None:
    if value == "":
        document.pop(key, None)
    else:
        document[key] = value


# --- those that are more than a key ------------------------------------------------------------


def _write_memory(document: Document, text: str) -> None:
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        _put(document, "memory", text.strip())
        return
    document["memory"] = int(match[1]) * (1024 if match[2].lower().startswith("g") else 1)


def _read_forwards(document: Document) -> str:
    said = document.get("forwards")
    return " ".join(map(str, said)) if isinstance(said, list) else _said(document, "forwards")


def _write_forwards(document: Document, text: str) -> None:
    _put(document, "forwards", text.replace(",", " ").split() or "")


def disks_of(document: Document) -> list[Any]:
    """The disks, each as a mapping."""
    said = document.get("disks")
    found = said if isinstance(said, list) else []
    return [{"path": disk} if isinstance(disk, str) else disk for disk in found]


def disk_text(disk: object) -> str:
    """A disk as people type it: a path, `20G`, `20G on base.qcow2`."""
    if not isinstance(disk, dict):
        return ""
    if disk.get("path"):
        return str(disk["path"])
    backing = f"on {disk['backing']}" if disk.get("backing") else ""
    return " ".join(filter(None, [str(disk.get("size", "")), backing]))


def disk_from(text: str) -> Document:
    """What was typed for a disk, as the document has it; empty for no disk."""
    text = text.strip()
    if _SIZE.fullmatch(text):
        return {"size": text.upper()}
    if match := _ON.fullmatch(text):
        return (
            {"size": match[1].upper(), "backing": match[2]} if match[1] else {"backing": match[2]}
        )
    return {"path": text} if text else {}


def _disk(number: int) -> Item:
    def read(document: Document) -> str:
        disks = disks_of(document)
        return disk_text(disks[number]) if number < len(disks) else ""

    def write(document: Document, text: str) -> None:
        disks = disks_of(document)
        while len(disks) <= number:
            disks.append({})
        if text.strip() != disk_text(disks[number]):
            kept = {key: disks[number][key] for key in ("bus", "snapshot", "readonly")
                    if isinstance(disks[number], dict) and key in disks[number]}  # fmt: skip
            made = disk_from(text)
            disks[number] = {**made, **kept} if made else {}
        while disks and not disks[-1]:
            disks.pop()
        _put(document, "disks", disks or "")

    hint = "image's path, 20G (new), 20G on base.qcow2"
    return Item(f"disk-{number}", f"Disk {number + 1}", f"disks.{number}", read, write, hint)


def _of_disk(
    number: int, id_: str, label: str, words: tuple[str, ...],
    read: Callable[[Document], str], write: Callable[[Document, str], None],
) -> Item:  # fmt: skip
    def of(document: Document) -> Document | None:
        disks = disks_of(document)
        found = disks[number] if number < len(disks) else None
        return found if isinstance(found, dict) and found else None

    def write_it(document: Document, text: str) -> None:
        disks = disks_of(document)
        if number < len(disks) and isinstance(disks[number], dict) and disks[number]:
            disks[number] = {**disks[number]}
            write(disks[number], text)
            document["disks"] = disks

    place = f"disks.{number}.{'bus' if id_ == 'bus' else 'snapshot'}"
    return Item(
        f"disk-{number}-{id_}", label, place, lambda d: read(of(d) or {}), write_it, words=words
    )


def _read_writes(disk: Document) -> str:
    if disk.get("readonly"):
        return LOOK
    return FORGET if disk.get("snapshot") else KEEP


def _write_writes(disk: Document, text: str) -> None:
    _put(disk, "snapshot", text == FORGET or "")
    _put(disk, "readonly", text == LOOK or "")


def _disk_group(number: int) -> tuple[Item, ...]:
    bus = _choice("bus", "", tuple(bus.value for bus in DiskBus if bus is not DiskBus.FLOPPY))
    return (
        _disk(number),
        _of_disk(number, "bus", "  bus", bus.words, bus.read, bus.write),
        _of_disk(
            number, "writes", "  writes are", (KEEP, FORGET, LOOK), _read_writes, _write_writes
        ),
    )


NAME: Final = _text("name", "Name", "web-01", edits=False)
MEMORY: Final = Item(
    "memory", "Memory", "memory", lambda d: _said(d, "memory"), _write_memory, "1024, 512M, 2G"
)
FORWARDS: Final = Item(
    "forwards", "Forwards", "forwards", _read_forwards, _write_forwards,
    "2222:22 makes port 2222 here its port 22",
)  # fmt: skip
FIRST_DISK: Final = _disk_group(0)

GROUPS: Final[dict[str, tuple[Item, ...]]] = {
    "Basics": (
        NAME,
        FIRST_DISK[0],
        _text("cdrom", "CD", "path of an .iso, or: empty"),
        MEMORY,
        _number("cpus", "CPUs", "1"),
        _choice("accel", "Runs on", tuple(Accel)),
        _choice("display", "Display", tuple(Display)),
        _choice("network", "Network", (Network.USER, Network.NONE, Network.TAP, Network.BRIDGE)),
    ),
    "Disks": (
        *FIRST_DISK[1:],
        *_disk_group(1),
        *_disk_group(2),
        _text("floppy", "Floppy", "path of a raw image, or: empty"),
    ),
    "System": (
        _choice("firmware", "Firmware", tuple(Firmware)),
        _flag("secure_boot", "Secure boot"),
        _flag("tpm", "TPM 2.0"),
        _text("machine", "Machine", "q35, pc, pc-q35-7.2"),
        _text("cpu", "CPU model", "the best that works here; host, EPYC,-svm"),
        _text("kernel", "Kernel", "path of a Linux kernel to boot straight away"),
        _text("initrd", "Initrd", "path of its initramfs"),
        _text("append", "Cmdline", "its command line"),
        _choice("restart", "Restart", tuple(Restart)),
        _flag("autostart", "At boot"),
    ),
    "Devices": (
        _text("interface", "Interface", "tap device or bridge of this host"),
        _choice("nic", "Net card", tuple(Nic)),
        _text("mac", "MAC", "made of the uuid; 52:54:00:12:34:56"),
        FORWARDS,
        _flag("vnc", "VNC instead"),
        _flag("tablet", "USB tablet", usual=True),
        _flag("agent", "Agent port", usual=True),
        _flag("serial", "Serial port", usual=True),
        _number("usb_redirections", "USB slots", "2"),
        _flag("sound", "Sound card"),
    ),
}
"""Every field, by the name of its group, in order."""

ITEMS: Final = {item.id: item for group in GROUPS.values() for item in group}
GROUP_OF: Final = {item.id: name for name, group in GROUPS.items() for item in group}


def item_at(place: str, why: str) -> str:
    """The id of the field that a problem belongs to; empty when there is none.

    One of the whole definition begins with the key it is about.
    """
    if not place:
        word = why.split(maxsplit=1)[0].strip(":") if why else ""
        return next((item.id for item in ITEMS.values() if item.place == word), "")
    fitting = [
        item for item in ITEMS.values() if place == item.place or place.startswith(f"{item.place}.")
    ]
    return max(fitting, key=lambda item: len(item.place)).id if fitting else ""
