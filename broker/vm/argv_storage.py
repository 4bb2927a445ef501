"""The part of QEMU's command line that is disks, drives and what lies in them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final

from broker.model import EMPTY_DRIVE, Disk, DiskBus, MachineSpec
from broker.vm.paths import VmPaths

MAX_FLOPPIES: Final = 2


def is_q35(machine: str) -> bool:
    """Whether it is of the PCI Express kind; the others have IDE in place of SATA."""
    return machine == "q35" or machine.startswith("pc-q35-")


def sata_ports(machine: str) -> int:
    """How many disks and CD drives fit on the controller that comes with the machine."""
    return 6 if is_q35(machine) else 4


def storage(spec: MachineSpec, paths: VmPaths, text: Callable[[object], str]) -> Iterator[str]:
    """The arguments for all drives: disks in boot order, floppies, the CD after them, the seed.

    Args:
        text: Escapes a value inside an option.
    """
    ports = itertools.count()
    q35 = is_q35(spec.machine)

    def port() -> str:
        number = next(ports)
        return f"bus=ide.{number}" if q35 else f"bus=ide.{number // 2},unit={number % 2}"

    if any(disk.bus is DiskBus.SCSI for disk in spec.disks):
        yield from ("-device", "virtio-scsi-pci,id=scsi")
    for index, disk in enumerate(spec.disks):
        yield from ("-drive", f"if=none,id=drive{index},{_source(disk, text)}")
        if disk.bus is not DiskBus.FLOPPY:
            place = f"drive=drive{index},id=disk{index},bootindex={index + 1}"
            yield from ("-device", f"{_device(disk.bus, index, port)},{place}")
    yield from _floppies(spec, text)
    if spec.cdrom is not None:
        drive = ""
        if spec.cdrom != EMPTY_DRIVE:
            source = f"media=cdrom,format=raw,readonly=on,file={text(spec.cdrom)}"
            yield from ("-drive", f"if=none,id=cd0,{source}")
            drive = ",drive=cd0"
        order = f",bootindex={len(spec.disks) + 1}"
        yield from ("-device", f"ide-cd,{port()}{drive},id=cdrom0{order}")
    if spec.cloud_init is not None:
        # On virtio, not in a CD drive: the kernels of cloud images know no SATA controller.
        seed = f"format=raw,readonly=on,file={text(paths.seed)}"
        yield from ("-drive", f"if=none,id=seed0,{seed}")
        yield from ("-device", "virtio-blk-pci,drive=seed0,id=cloudinit0")


def _source(disk: Disk, text: Callable[[object], str]) -> str:
    flags = (",snapshot=on" if disk.snapshot else "") + (",readonly=on" if disk.readonly else "")
    return f"format={text(disk.format)},file={text(disk.path)}{flags}"


def _device(bus: DiskBus, index: int, port: Callable[[], str]) -> str:
    match bus:
        case DiskBus.SATA:
            return f"ide-hd,{port()}"
        case DiskBus.SCSI:
            return "scsi-hd,bus=scsi.0"
        case DiskBus.NVME:
            return f"nvme,serial=disk{index}"
        case DiskBus.USB:
            return "usb-storage,bus=usb.0"
        case _:
            return "virtio-blk-pci"


def _floppies(spec: MachineSpec, text: Callable[[object], str]) -> Iterator[str]:
    """One controller for all; it, and not its drives, knows their places in the boot order."""
    units = [f"drive=drive{n}" for n, disk in enumerate(spec.disks) if disk.bus is DiskBus.FLOPPY]
    places = [n + 1 for n, disk in enumerate(spec.disks) if disk.bus is DiskBus.FLOPPY]
    if spec.floppy is not None:
        drive = ""
        if spec.floppy != EMPTY_DRIVE:
            yield from ("-drive", f"if=none,id=fd0,format=raw,file={text(spec.floppy)}")
            drive = "drive=fd0,"
        units.append(f"{drive}id=floppy0")
        places.append(len(spec.disks) + 2)  # the CD is tried before
    if not units:
        return
    order = {f"bootindex{'AB'[unit]}": place for unit, place in enumerate(places[:MAX_FLOPPIES])}
    if is_q35(spec.machine):
        yield from ("-device", "isa-fdc,id=fdc" + "".join(f",{k}={v}" for k, v in order.items()))
    else:  # there is one already
        for key, place in order.items():
            yield from ("-global", f"isa-fdc.{key}={place}")
    bus = "bus=fdc.0," if is_q35(spec.machine) else ""
    for unit, drive in enumerate(units):
        yield from ("-device", f"floppy,{bus}unit={unit},{drive}")
