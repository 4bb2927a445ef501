"""What files say of a VM: sizes of its disks, how it runs. QEMU and qemu-img are not asked.

The head of a qcow2 image has its size and how many snapshots it keeps; QEMU writes both there as
soon as they change. Source: QEMU, docs/interop/qcow2.txt, "Header".
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Final

from broker.model import Disk, MachineSpec
from broker.provisioning import DiskFacts
from broker.vm import process, record
from broker.vm.paths import VmPaths

_BLOCK: Final = 512
_HEAD: Final = struct.Struct(">4sIQIIQIIQQII")
"""Magic, version, backing (offset, length), cluster bits, size, encryption, L1 table (length,
offset), refcount table (offset, clusters), snapshots."""
_QCOW2: Final = b"QFI\xfb"


def disks(spec: MachineSpec) -> tuple[DiskFacts, ...]:
    """The disks of a definition; waits for the file systems they are on."""
    return tuple(_look(disk) for disk in spec.disks)


def engine(paths: VmPaths) -> str:
    """How the CPU of a VM is run that runs now; empty when it is off."""
    found = process.find(paths.pid)
    run = record.read(paths.running) if found is not None else None
    return run.engine if run is not None and found is not None and run.is_of(found) else ""


def _look(disk: Disk) -> DiskFacts:
    path = Path(disk.path)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(_HEAD.size)
            end = file.seek(0, os.SEEK_END) if stat.S_ISBLK(status.st_mode) else status.st_size
    except OSError:
        return DiskFacts(disk.path, size=disk.size)
    used = status.st_blocks * _BLOCK
    if disk.format == "qcow2" and len(head) == _HEAD.size and head.startswith(_QCOW2):
        fields = _HEAD.unpack(head)
        return DiskFacts(disk.path, fields[5], used, fields[11])
    return DiskFacts(disk.path, end if disk.format == "raw" else disk.size, used)
