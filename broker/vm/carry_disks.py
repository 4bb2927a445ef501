"""The disks of a QEMU's command line, in all the ways that they can be said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.model import Disk, DiskBus
from broker.vm.argv_storage import MAX_FLOPPIES, sata_ports
from broker.vm.options import IMAGE, Word, is_on, options
from broker.vm.scan import Qemu

MANY: Final = 1000
"""Where there is no telling how many fit."""
_MAGIC: Final = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"QED\0": "qed", b"conectix": "vpc"}
_DEVICES: Final = {
    "virtio-blk": DiskBus.VIRTIO,
    "ide-hd": DiskBus.SATA,
    "ide-cd": DiskBus.SATA,
    "floppy": DiskBus.FLOPPY,
    "scsi-hd": DiskBus.SCSI,
    "scsi-cd": DiskBus.SATA,
    "nvme": DiskBus.NVME,
    "usb-storage": DiskBus.USB,
}
_LAYERS: Final = frozenset({"file", "host_device", "host_cdrom", "raw"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a definition says of them.

    Attributes:
        uefi: It boots by UEFI.
        lost: One sentence each.
    """

    disks: tuple[Disk, ...]
    cdrom: str | None
    uefi: bool
    lost: tuple[str, ...]


@dataclass(slots=True)
class _Drive:
    """One image.

    Attributes:
        bus: None for one that waits for its `-device`.
    """

    text: str
    format: str = ""
    bus: DiskBus | None = None
    cdrom: bool = False
    snapshot: bool = False
    readonly: bool = False


@dataclass(slots=True)
class Disks:
    """Collects them, option by option."""

    qemu: Qemu
    _drives: list[_Drive] = field(default_factory=list)
    _by_id: dict[str, _Drive] = field(default_factory=dict)
    _nodes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _lost: list[str] = field(default_factory=list)
    _uefi: bool = False

    def add(self, word: Word) -> None:
        """Take an option that names an image."""
        name, value = word.name, word.value or ""
        if name == "drive":
            self._drive(options(value))
        elif name == "blockdev":
            node = options(value, "driver")
            self._nodes[node.get("node-name", "")] = node
        elif name in ("fda", "fdb"):
            self._drives.append(_Drive(value, bus=DiskBus.FLOPPY))
        elif name == "cdrom":
            self._drives.append(_Drive(value, cdrom=True, bus=DiskBus.SATA))
        elif name in ("bios", "pflash"):
            self._firmware(value)
        elif name in ("hda", "hdb", "hdc", "hdd", IMAGE):
            self._drives.append(_Drive(value, bus=DiskBus.SATA))
        else:
            self._lost.append(f"-{name} {value}: a definition has no such disk")

    def attach(self, driver: str, said: Mapping[str, str]) -> bool:
        """Take a `-device`; whether it is one of a disk."""
        kind = next((kind for kind in _DEVICES if driver.startswith(kind)), None)
        if kind is None or "drive" not in said:
            return False
        drive = self._by_id.get(said["drive"]) or self._node(said["drive"])
        if drive is None:
            return True
        drive.bus = _DEVICES[kind]
        drive.cdrom = drive.cdrom or driver in ("ide-cd", "scsi-cd")
        if drive not in self._drives:
            self._drives.append(drive)
        return True

    def found(self, machine: str) -> Found:
        """What there is, once every option was taken.

        Args:
            machine: The machine's type, which decides how many disks its controller takes.
        """
        disks: list[Disk] = []
        cdrom: str | None = None
        room = {DiskBus.SATA: sata_ports(machine) - 1, DiskBus.FLOPPY: MAX_FLOPPIES}
        for drive in self._drives:
            if drive.bus is None or not drive.text:
                continue
            path = self._path(drive.text)
            if path is None:
                continue
            if drive.cdrom and cdrom is None:
                cdrom = str(path)
            elif drive.cdrom or not room.get(drive.bus, MANY):
                self._lost.append(f"{drive.text}: there is no room for another one of its kind")
            else:
                room[drive.bus] = room.get(drive.bus, MANY) - 1
                snapshot = drive.snapshot or self._all_snapshots
                kind = drive.format or self._format(path)
                disks.append(Disk(str(path), kind, drive.bus, snapshot, drive.readonly))
        return Found(tuple(disks), cdrom, self._uefi, tuple(self._lost))

    @property
    def _all_snapshots(self) -> bool:
        return any(word.name == "snapshot" for word in self.qemu.line.words)

    def _drive(self, said: Mapping[str, str]) -> None:
        kind, file = said.get("if", "ide"), said.get("file") or said.get("file.filename", "")
        if kind == "pflash":
            self._firmware(file)
            return
        buses = {"virtio": DiskBus.VIRTIO, "floppy": DiskBus.FLOPPY, "none": None}
        drive = _Drive(
            file,
            said.get("format") or said.get("driver", ""),
            bus=buses.get(kind, DiskBus.SATA),
            cdrom=said.get("media") == "cdrom",
            snapshot=is_on(said.get("snapshot")),
            readonly=is_on(said.get("readonly") or said.get("read-only")),
        )
        self._by_id[said.get("id", "")] = drive
        self._drives.append(drive)

    def _node(self, name: str) -> _Drive | None:
        """A `-blockdev` and the one below it."""
        node = self._nodes.get(name)
        if node is None:
            self._lost.append(f"A disk called {name}: nothing says what image it is")
            return None
        below = self._nodes.get(node.get("file", ""), {})
        text = next(
            (
                found
                for each, key in ((node, "filename"), (node, "file.filename"), (below, "filename"))
                if (found := each.get(key))
            ),
            "",
        )
        if not text:
            self._lost.append(f"The disk {name}: its image is no file of this host")
            return None
        driver = node.get("driver", "")
        kind = "raw" if driver in _LAYERS else driver
        self._by_id[name] = _Drive(text, kind, readonly=is_on(node.get("read-only")))
        return self._by_id[name]

    def _firmware(self, file: str) -> None:
        if re.search(r"ovmf|edk2|uefi|_code", file, re.IGNORECASE):
            self._uefi = True
        elif "vars" not in file.lower():
            self._lost.append(f"{file}: its own firmware; a definition has bios or uefi")
            return
        if "vars" in file.lower():
            self._lost.append(f"{file}: a copy of the firmware's variables is made anew")

    def _path(self, text: str) -> Path | None:
        if re.match(r"[a-z][a-z0-9+.-]+:", text):
            self._lost.append(f"{text.partition(':')[0]}:…: an image that is no file of this host")
            return None
        path = self.qemu.path(text)
        if path is None:
            self._lost.append(f"{text}: nobody knows any more what its path was relative to")
        return path

    def _format(self, path: Path) -> str:
        """By its first bytes; QEMU guessed too, and what it guesses is worth a word."""
        try:
            with path.open("rb") as file:
                head = file.read(16)
        except OSError:
            head = b""
        kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "raw")
        self._lost.append(f"{path}: its format was not said; by its first bytes it is {kind}")
        return kind
