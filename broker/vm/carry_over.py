"""A QEMU's command line as a definition of ours: the best that can be made, and what is lost.

What the broker does its own way (monitors, SPICE, pidfile) is left out without a word. What a
definition has a word for is said in that word. What is independent of everything else goes along
in `extra_args`; the rest is lost, and told. A secret never goes along.
"""

from __future__ import annotations

import re
import uuid as uuids
from dataclasses import dataclass, field
from typing import Final

from broker.model import Accel, CarriedOver, Display, Firmware, MachineId, MachineSpec
from broker.vm.carry_disks import Disks
from broker.vm.carry_network import CARD, Wiring
from broker.vm.cmdline import NO_UUID
from broker.vm.machine_values import MACHINE
from broker.vm.options import IMAGE, Word, masked, named, options
from broker.vm.scan import Qemu

_OURS: Final = named(
    """name uuid qmp qmp-pretty monitor mon chardev spice display vnc daemonize pidfile nodefaults
    no-user-config nouserconfig nographic msg D d parallel debugcon sandbox runas usb no-shutdown
    smp m accel machine M enable-kvm vga nic net netdev serial audiodev snapshot full-screen
    sdl curses alt-grab ctrl-grab no-quit no-frame"""
)
"""Read by name below, or the broker's own affair."""
_DRIVES: Final = named("drive blockdev hda hdb hdc hdd fda fdb cdrom pflash bios sd mtdblock") | {
    IMAGE
}
_ALONG: Final = named(
    """cpu rtc boot smbios global overcommit kernel initrd append dtb no-reboot no-hpet no-acpi
    no-fd-bootchk win2k-hack mem-prealloc mem-path watchdog watchdog-action action icount"""
)
"""Options that stand on their own."""
_FILES: Final = frozenset({"kernel", "initrd", "dtb"})
_SCREENS: Final = {
    "VGA": Display.STD,
    "std": Display.STD,
    "qxl": Display.QXL,
    "qxl-vga": Display.QXL,
    "virtio": Display.VIRTIO,
    "virtio-vga": Display.VIRTIO,
    "virtio-gpu-pci": Display.VIRTIO,
    "none": Display.NONE,
}
_OUR_DEVICES: Final = re.compile(
    r"qemu-xhci|nec-usb-xhci|usb-ehci|ich9-usb-\w+|piix\d-usb-uhci|usb-tablet|virtio-serial(-\w+)?"
    r"|ich9-intel-hda|intel-hda|hda-(duplex|micro|output)|usb-redir|virtserialport|isa-serial"
    r"|usb-kbd|usb-mouse|isa-fdc|ahci|ich9-ahci|ac97|AC97|virtio-scsi(-\w+)?"
)
_QEMUS_MACHINE: Final = "pc"
"""What QEMU takes when nothing is said."""
_REFERENCES: Final = frozenset(
    {"drive", "netdev", "chardev", "audiodev", "bus", "iothread", "memdev"}
)
_MEMORY: Final = re.compile(r"(\d+)([bkmgt]?)", re.IGNORECASE)


@dataclass(slots=True)
class _Carried:
    """What has been made of a command line so far."""

    fields: dict[str, object] = field(default_factory=dict)
    along: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    redirections: int = 0
    machine: str = _QEMUS_MACHINE
    wiring: Wiring = field(default_factory=Wiring)


def carry_over(qemu: Qemu, name: str) -> CarriedOver:
    """The definition nearest to how that QEMU was started. Reads the first bytes of its images.

    Args:
        name: What it is called here.
    """
    words = qemu.line.words
    made = _Carried()
    disks = Disks(qemu)
    bare = any(word.name == "nodefaults" for word in words)
    made.fields |= {"display": Display.NONE if bare else Display.STD, "agent": False}
    made.fields |= {"memory": 128, "serial": any(word.name == "serial" for word in words)}
    for word in words:
        _carry(word, made, disks, qemu)
    found = disks.found(made.machine)
    made.lost += found.lost + tuple(made.wiring.lost)
    if found.uefi:
        made.fields["firmware"] = Firmware.UEFI
    made.fields |= made.wiring.fields(made.machine, bare=bare)
    spec = MachineSpec(
        name=_name(name),
        uuid=MachineId(qemu.line.uuid if _is_uuid(qemu.line.uuid) else str(uuids.uuid4())),
        machine=made.machine,
        disks=found.disks,
        cdrom=found.cdrom,
        usb_redirections=min(made.redirections, 8),
        extra_args=tuple(made.along),
        **made.fields,  # type: ignore[arg-type]  # each was made for its field
    )
    if spec.name != name:
        made.lost.append(f"Its name: {name!r} is none for a definition, so it is {spec.name}")
    return CarriedOver(spec, tuple(dict.fromkeys(made.lost)))


def _carry(word: Word, made: _Carried, disks: Disks, qemu: Qemu) -> None:
    name, value = word.name, word.value or ""
    shown = " ".join(masked([f"-{name}", value])).rstrip()
    if word.value is not None and masked([value]) != [value] and name != "spice":
        made.lost.append(f"{shown}: it holds a secret, which is not written down")
    elif name in _DRIVES:
        disks.add(word)
    elif name == "device":
        _device(value, made, disks, shown)
    elif name in _ALONG:
        _along(word, made, qemu, shown)
    elif name in _OURS:
        _setting(name, value, made, shown)
    else:
        made.lost.append(f"{shown}: a definition has no word for it")


def _along(word: Word, made: _Carried, qemu: Qemu, shown: str) -> None:
    value = word.value
    if word.name in _FILES and value:
        path = qemu.path(value)
        if path is None:
            made.lost.append(f"{shown}: nobody knows any more what its path was relative to")
            return
        value = str(path)
    made.along += [f"-{word.name}"] if value is None else [f"-{word.name}", value]


def _setting(name: str, value: str, made: _Carried, shown: str) -> None:
    match name:
        case "m":
            made.fields["memory"] = _memory(options(value, "size").get("size", "128"))
        case "smp":
            made.fields["cpus"] = _cpus(options(value, "cpus"))
        case "enable-kvm":
            made.fields["accel"] = Accel.KVM
        case "accel":
            _accel(value.partition(",")[0], made)
        case "machine" | "M":
            said = options(value, "type")
            _accel(said.get("accel", ""), made)
            kind = said.get("type", made.machine)
            if re.match(MACHINE, kind):
                made.machine = kind
            else:
                made.lost.append(f"{shown}: a definition's machine is q35 or pc")
        case "vga":
            _screen(value, made, shown)
        case "nic" | "net" | "netdev":
            made.wiring.add(name, value, shown)
        case "sandbox" | "runas" | "parallel" | "debugcon":
            if value not in ("none", "off"):
                made.lost.append(f"{shown}: not carried over")
        case "no-shutdown":
            made.along.append("-no-shutdown")


def _memory(text: str) -> int:
    """MiB of what `-m` takes."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        return 128
    per = {"b": 1, "k": 1024, "": 1024**2, "m": 1024**2, "g": 1024**3, "t": 1024**4}
    return max(1, int(found[1]) * per[found[2].lower()] // 1024**2)


def _cpus(said: dict[str, str]) -> int:
    if (cpus := said.get("cpus", "")).isdecimal():
        return max(1, int(cpus))
    total = 1
    for part in ("sockets", "dies", "clusters", "cores", "threads"):
        total *= int(said[part]) if said.get(part, "").isdecimal() else 1
    return max(1, total)


def _accel(text: str, made: _Carried) -> None:
    first = text.partition(":")[0]
    if first in ("kvm", "tcg"):
        made.fields["accel"] = Accel.AUTO if ":" in text else Accel(first)


def _screen(kind: str, made: _Carried, shown: str) -> None:
    if kind not in _SCREENS:
        made.lost.append(f"{shown}: the nearest graphics card is std")
    made.fields["display"] = _SCREENS.get(kind, Display.STD)


def _device(value: str, made: _Carried, disks: Disks, shown: str) -> None:
    said = options(value, "driver")
    driver = said.get("driver", "")
    if disks.attach(driver, said):
        return
    if driver in _SCREENS:
        made.fields["display"] = _SCREENS[driver]
    elif driver == "usb-redir":
        made.redirections += 1
    elif driver in ("hda-duplex", "hda-micro", "hda-output", "AC97", "ac97"):
        made.fields["sound"] = True
    elif said.get("name") == "com.redhat.spice.0":
        made.fields["agent"] = True
    elif driver == "virtserialport":
        made.lost.append(f"{shown}: its channel is not carried over")
    elif CARD.fullmatch(driver):
        made.wiring.card(driver, said.get("mac", ""), shown)
    elif not _OUR_DEVICES.fullmatch(driver):
        if _REFERENCES & said.keys():
            made.lost.append(f"{shown}: it hangs on something else of that command line")
        else:
            made.along += ["-device", value]


def _name(text: str) -> str:
    """The nearest that a definition may be called."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:63]
    return name if re.match(r"[A-Za-z0-9]", name) else f"vm-{name}"[:63].rstrip("-")


def _is_uuid(text: str) -> bool:
    try:
        return bool(text) and text != NO_UUID and str(uuids.UUID(text)) == text
    except ValueError:
        return False
