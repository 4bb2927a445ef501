"""What a VM's command line is. Pure: the same input gives the same list, nothing is looked up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.model import Accel, Display, Firmware, MachineSpec, Network, Nic
from broker.vm.argv_storage import storage
from broker.vm.paths import VmPaths

HOST_CPU: Final = "host"
_VGA: Final = {
    Display.STD: "std",
    Display.QXL: "qxl",
    Display.VIRTIO: "virtio",
    Display.NONE: "none",
}
_NIC: Final = {
    Nic.VIRTIO: "virtio-net-pci",
    Nic.E1000: "e1000",
    Nic.E1000E: "e1000e",
    Nic.RTL8139: "rtl8139",
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
    """UEFI firmware: its code, shared and read-only, and one VM's variables.

    Attributes:
        template: What the variables begin as.
    """

    code: Path
    variables: Path
    template: Path


def build_argv(
    spec: MachineSpec,
    paths: VmPaths,
    *,
    engine: Engine,
    uefi: UefiFiles | None = None,
    spice_port: int | None = None,
    qemu: str = "qemu-system-x86_64",
) -> list[str]:
    """The QEMU command line for `spec`, ready for exec (no shell, no quoting).

    SPICE is on without a listener and without a password; channels are handed over by the monitor
    at `paths.ctl`. Nothing listens but the unix sockets in `paths.run`, unless the spec asks for
    a port. No secret is in it.

    Args:
        spec: Checked before; disks in boot order, a CD is tried after them.
        paths: Directories that exist and only we can enter.
        uefi: Needed exactly if the spec asks for UEFI.
        spice_port: Needed exactly if the spec asks for a port for SPICE.
        qemu: Name or path of the emulator.

    Returns:
        The argument vector, the program first.

    Source: QEMU manual, "Invocation".
    """
    assert engine.accel is not Accel.AUTO
    assert (uefi is not None) == (spec.firmware is Firmware.UEFI)
    assert (spice_port is not None) == (spec.spice is not None and not spec.vnc)
    return [
        qemu,
        *("-name", f"guest={_text(spec.name)},debug-threads=on"),
        *("-uuid", spec.uuid),
        *(
            "-machine",
            f"{spec.machine},accel={engine.accel}{',smm=on' if spec.secure_boot else ''}",
        ),
        *(("-cpu", engine.cpu) if engine.cpu else ()),
        *("-smp", str(spec.cpus)),
        *("-m", str(spec.memory)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *_sandbox(spec),
        *("-pidfile", str(paths.pid)),
        *_monitor("qmp", paths.qmp),
        *_monitor("ctl", paths.ctl),
        *_monitor("evt", paths.evt),
        *(_uefi(uefi, secure=spec.secure_boot) if uefi else ()),
        *_screen(spec, paths, spice_port),
        *storage(spec, paths, _text),
        *_direct_boot(spec),
        *_network(spec),
        *(_tpm(paths) if spec.tpm else ()),
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


def _uefi(files: UefiFiles, *, secure: bool) -> Iterator[str]:
    if secure:  # the guest's own system may not write to the variables, only its firmware
        yield from ("-global", "driver=cfi.pflash01,property=secure,value=on")
        yield from ("-global", "ICH9-LPC.disable_s3=1")
    code, variables = _text(files.code), _text(files.variables)
    yield from ("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}")
    yield from ("-drive", f"if=pflash,format=raw,unit=1,file={variables}")


def _screen(spec: MachineSpec, paths: VmPaths, spice_port: int | None) -> Iterator[str]:
    yield from ("-vga", _VGA[spec.display])
    if spec.vnc:
        yield from ("-vnc", f"unix:{_text(paths.vnc)}")
    else:
        # A port asks everybody for a ticket, and without one set it lets nobody in.
        where = ""
        if spec.spice is not None:
            where = f"port={spice_port},addr={_text(spec.spice.address)},"
        yield from ("-spice", f"{where}agent-mouse=on,seamless-migration=off")
    yield from ("-device", "qemu-xhci,id=usb")
    if spec.tablet:  # it has absolute coordinates: the viewer's pointer and the guest's are one
        yield from ("-device", "usb-tablet,bus=usb.0")


def _direct_boot(spec: MachineSpec) -> Iterator[str]:
    if spec.kernel is not None:
        yield from ("-kernel", spec.kernel)
    if spec.initrd is not None:
        yield from ("-initrd", spec.initrd)
    if spec.append:
        yield from ("-append", spec.append)


def _network(spec: MachineSpec) -> Iterator[str]:
    match spec.network:
        case Network.NONE:
            return
        case Network.USER:
            # Always with an address: without one a forwarded port would be open to all networks.
            ports = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{its}" for ours, its in spec.forwards)
            yield from ("-netdev", f"user,id=net0{ports}")
        case Network.TAP:
            name = _text(spec.interface)
            yield from ("-netdev", f"tap,id=net0,ifname={name},script=no,downscript=no")
        case Network.BRIDGE:
            yield from ("-netdev", f"bridge,id=net0,br={_text(spec.interface)}")
    mac = spec.mac or mac_of(spec)
    yield from ("-device", f"{_NIC[spec.nic]},netdev=net0,id=nic0,mac={mac}")


def mac_of(spec: MachineSpec) -> str:
    """An address of its own for each VM: QEMU would give all of them the same.

    Source: 52:54:00 is what QEMU and libvirt use, from the locally administered space.
    """
    own = hashlib.sha256(spec.uuid.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *own[:3]))


def _tpm(paths: VmPaths) -> Iterator[str]:
    yield from ("-chardev", f"socket,id=tpm0,path={_text(paths.tpm)}")
    yield from ("-tpmdev", "emulator,id=tpm0,chardev=tpm0", "-device", "tpm-crb,tpmdev=tpm0")


def _sandbox(spec: MachineSpec) -> Iterator[str]:
    if not spec.sandbox or "-sandbox" in spec.extra_args:
        return
    # A bridge is joined by a helper of QEMU's that is a program of its own, and setuid.
    helper = spec.network is Network.BRIDGE
    alone = "" if helper else ",elevateprivileges=deny,spawn=deny"
    yield from ("-sandbox", f"on,obsolete=deny{alone},resourcecontrol=deny")


def _serial(paths: VmPaths) -> Iterator[str]:
    socket = f"path={_text(paths.serial)},server=on,wait=off"
    yield from ("-chardev", f"socket,id=serial0,{socket},logfile={_text(paths.serial_log)}")
    yield from ("-serial", "chardev:serial0")


def _extras(spec: MachineSpec) -> Iterator[str]:
    if spec.vnc:
        return  # all of these are channels of SPICE
    if spec.agent:
        yield from ("-device", "virtio-serial-pci", "-chardev", "spicevmc,id=agent0,name=vdagent")
        yield from ("-device", "virtserialport,chardev=agent0,name=com.redhat.spice.0")
    for slot in range(spec.usb_redirections):
        yield from ("-chardev", f"spicevmc,id=redir{slot},name=usbredir")
        yield from ("-device", f"usb-redir,chardev=redir{slot},id=usbredir{slot},bus=usb.0")
    if spec.sound:
        yield from ("-audiodev", "spice,id=sound0", "-device", "ich9-intel-hda")
        yield from ("-device", "hda-duplex,audiodev=sound0")
