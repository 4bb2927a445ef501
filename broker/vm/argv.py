"""What a VM's command line is. Pure: the same input gives the same list, nothing is looked up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.model import Accel, DiskBus, Display, Firmware, MachineSpec, Network
from broker.vm.paths import VmPaths

HOST_CPU: Final = "host"
_VGA: Final = {
    Display.STD: "std",
    Display.QXL: "qxl",
    Display.VIRTIO: "virtio",
    Display.NONE: "none",
}


@dataclass(frozen=True, slots=True)
class Engine:
    """How the guest's CPU will be run.

    Attributes:
        accel: KVM or TCG; AUTO was decided before.
        cpu: QEMU's CPU model; None takes the machine's default.
    """

    accel: Accel
    cpu: str | None = None

    def __str__(self) -> str:
        return self.accel.upper() + (f" with CPU model {self.cpu}" if self.cpu else "")


@dataclass(frozen=True, slots=True)
class UefiFiles:
    """UEFI firmware: its code, shared and read-only, and one VM's variables."""

    code: Path
    variables: Path


def build_argv(
    spec: MachineSpec,
    paths: VmPaths,
    *,
    engine: Engine,
    uefi: UefiFiles | None = None,
    qemu: str = "qemu-system-x86_64",
) -> list[str]:
    """The QEMU command line for `spec`, ready for exec (no shell, no quoting).

    SPICE is on without a listener and without a password; channels are handed over by the monitor
    at `paths.ctl`. Nothing listens but the unix sockets in `paths.run`. No secret is in it.

    Args:
        spec: Checked before; disks in boot order, a CD is tried after them.
        paths: Directories that exist and only we can enter.
        uefi: Needed exactly if the spec asks for UEFI.
        qemu: Name or path of the emulator.

    Returns:
        The argument vector, the program first.

    Source: QEMU manual, "Invocation".
    """
    assert engine.accel is not Accel.AUTO
    assert (uefi is not None) == (spec.firmware is Firmware.UEFI)
    return [
        qemu,
        *("-name", f"guest={_text(spec.name)},debug-threads=on"),
        *("-uuid", spec.uuid),
        *("-machine", f"q35,accel={engine.accel}"),
        *(("-cpu", engine.cpu) if engine.cpu else ()),
        *("-smp", str(spec.cpus)),
        *("-m", str(spec.memory)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-pidfile", str(paths.pid)),
        *_monitor("qmp", paths.qmp),
        *_monitor("ctl", paths.ctl),
        *_monitor("evt", paths.evt),
        *(_uefi(uefi) if uefi else ()),
        *_screen(spec),
        *_storage(spec),
        *_network(spec),
        *(_serial(paths) if spec.serial else ("-serial", "none")),
        *_extras(spec),
        *spec.extra_args,
    ]


def _text(value: object) -> str:
    """A value inside an option; QEMU takes a doubled comma for one that belongs to it."""
    return str(value).replace(",", ",,")


def _monitor(name: str, path: Path) -> Iterator[str]:
    yield from ("-chardev", f"socket,id={name},path={_text(path)},server=on,wait=off")
    yield from ("-mon", f"chardev={name},mode=control")


def _uefi(files: UefiFiles) -> Iterator[str]:
    code, variables = _text(files.code), _text(files.variables)
    yield from ("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}")
    yield from ("-drive", f"if=pflash,format=raw,unit=1,file={variables}")


def _screen(spec: MachineSpec) -> Iterator[str]:
    yield from ("-vga", _VGA[spec.display])
    yield from ("-spice", "agent-mouse=on,seamless-migration=off")
    # A tablet has absolute coordinates: the viewer's pointer and the guest's are one.
    yield from ("-device", "qemu-xhci,id=usb", "-device", "usb-tablet,bus=usb.0")


def _storage(spec: MachineSpec) -> Iterator[str]:
    sata_ports = itertools.count()  # q35's controller has six, of one device each
    for index, disk in enumerate(spec.disks):
        flags = (",snapshot=on" if disk.snapshot else "") + (
            ",readonly=on" if disk.readonly else ""
        )
        source = f"format={_text(disk.format)},file={_text(disk.path)}{flags}"
        yield from ("-drive", f"if=none,id=drive{index},{source}")
        if disk.bus is not DiskBus.FLOPPY:
            sata = disk.bus is DiskBus.SATA
            device = f"ide-hd,bus=ide.{next(sata_ports)}" if sata else "virtio-blk-pci"
            place = f"drive=drive{index},id=disk{index},bootindex={index + 1}"
            yield from ("-device", f"{device},{place}")
    yield from _floppies([n for n, disk in enumerate(spec.disks) if disk.bus is DiskBus.FLOPPY])
    if spec.cdrom is not None:
        source = f"media=cdrom,format=raw,readonly=on,file={_text(spec.cdrom)}"
        yield from ("-drive", f"if=none,id=cd0,{source}")
        place = f"bus=ide.{next(sata_ports)},drive=cd0,id=cdrom0,bootindex={len(spec.disks) + 1}"
        yield from ("-device", f"ide-cd,{place}")


def _floppies(indexes: list[int]) -> Iterator[str]:
    """One controller for all; it, and not its drives, knows their places in the boot order."""
    if not indexes:
        return
    order = "".join(f",bootindex{'AB'[unit]}={n + 1}" for unit, n in enumerate(indexes[:2]))
    yield from ("-device", f"isa-fdc,id=fdc{order}")
    for unit, index in enumerate(indexes):
        yield from ("-device", f"floppy,drive=drive{index},bus=fdc.0,unit={unit}")


def _network(spec: MachineSpec) -> Iterator[str]:
    if spec.network is Network.NONE:
        return
    # Always with an address: without one a forwarded port would be open to the whole network.
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{its}" for ours, its in spec.forwards)
    yield from ("-netdev", f"user,id=net0{forwards}")
    yield from ("-device", "virtio-net-pci,netdev=net0,id=nic0")


def _serial(paths: VmPaths) -> Iterator[str]:
    socket = f"path={_text(paths.serial)},server=on,wait=off"
    yield from ("-chardev", f"socket,id=serial0,{socket},logfile={_text(paths.serial_log)}")
    yield from ("-serial", "chardev:serial0")


def _extras(spec: MachineSpec) -> Iterator[str]:
    if spec.agent:
        yield from ("-device", "virtio-serial-pci", "-chardev", "spicevmc,id=agent0,name=vdagent")
        yield from ("-device", "virtserialport,chardev=agent0,name=com.redhat.spice.0")
    for slot in range(spec.usb_redirections):
        yield from ("-chardev", f"spicevmc,id=redir{slot},name=usbredir")
        yield from ("-device", f"usb-redir,chardev=redir{slot},id=usbredir{slot},bus=usb.0")
    if spec.sound:
        yield from ("-audiodev", "spice,id=sound0", "-device", "ich9-intel-hda")
        yield from ("-device", "hda-duplex,audiodev=sound0")
