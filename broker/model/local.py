"""Local VMs: what is asked of one, and what is found of a QEMU that runs.

`broker.model` imports this on demand, since listing and exporting never ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from broker.model.machines import MachineId, Target


class Accel(StrEnum):
    """How the guest's CPU is run."""

    AUTO = "auto"
    """KVM when a real probe says that it works, else TCG."""
    KVM = "kvm"
    TCG = "tcg"


class Firmware(StrEnum):
    """What the machine boots with."""

    BIOS = "bios"
    UEFI = "uefi"


class Display(StrEnum):
    """The emulated graphics card."""

    STD = "std"
    QXL = "qxl"
    VIRTIO = "virtio"
    NONE = "none"


class Network(StrEnum):
    """How the guest is connected."""

    NONE = "none"
    USER = "user"
    """QEMU's own NAT; the guest can go out, nobody can come in but through `forwards`."""
    TAP = "tap"
    """A tap device of this host, named by `interface`, made and brought up by its admin."""
    BRIDGE = "bridge"
    """A bridge of this host, named by `interface`, joined by QEMU's bridge helper."""


class Nic(StrEnum):
    """The emulated network card."""

    VIRTIO = "virtio"
    E1000 = "e1000"
    E1000E = "e1000e"
    RTL8139 = "rtl8139"


class DiskBus(StrEnum):
    """The bus a disk hangs on."""

    VIRTIO = "virtio"
    SATA = "sata"
    """IDE on machines of type `pc`."""
    SCSI = "scsi"
    NVME = "nvme"
    USB = "usb"
    FLOPPY = "floppy"


class Restart(StrEnum):
    """What becomes of a VM that ended without being asked to, while a broker that stays runs."""

    NEVER = "never"
    ON_CRASH = "on-crash"
    """Started again when it crashed; not when its guest powered off."""
    ALWAYS = "always"
    """Started again whatever ended it, but for a person."""


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk image.

    Attributes:
        path: Absolute path of the image. Empty until the machine is defined for one that is to
            be made in the VM's own directory.
        format: `qcow2`, `raw`, …; always said, never probed by QEMU.
        snapshot: Writes go to a temporary file and are gone when QEMU ends.
        size: Bytes of the disk to make when there is no file at `path`.
        backing: Absolute path of an image that the one to make is an overlay of; it is only read.
        backing_format: The format of that image; always said, never probed.
    """

    path: str
    format: str = "qcow2"
    bus: DiskBus = DiskBus.VIRTIO
    snapshot: bool = False
    readonly: bool = False
    size: int | None = None
    backing: str | None = None
    backing_format: str | None = None

    @property
    def is_made(self) -> bool:
        """Whether it is ours to make when it is missing."""
        return self.size is not None or self.backing is not None


@dataclass(frozen=True, slots=True)
class SpicePort:
    """A TCP port for SPICE, for viewers that must come without the proxy.

    It asks everybody for a ticket, and has none until one is made for a session.

    Attributes:
        port: 0 takes a free one at each start.
    """

    address: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, slots=True)
class CloudInit:
    """What a cloud image reads at its first boot, from a NoCloud seed.

    Attributes:
        user_data: Text of `user-data`, such as one that begins with `#cloud-config`.
        user_data_file: Absolute path of a file that holds it, read at each start instead.
        meta_data: Text of `meta-data`; made of the VM's uuid and name when empty.
        network_config: Text of `network-config`; none when empty.
    """

    user_data: str = field(default="", repr=False)
    user_data_file: str | None = None
    meta_data: str = ""
    network_config: str = ""


EMPTY_DRIVE = "empty"
"""In place of an image's path: a drive with nothing in it."""


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A local VM as it was asked for; what `vm define` stores and `vm start` launches.

    Attributes:
        name: 1 to 63 of letters, digits, `.`, `_`, `-`; starts with a letter or digit.
        uuid: Lower-case uuid; also QEMU's `-uuid` and the machine's id in the local source.
        memory: MiB.
        cpus: Virtual CPUs.
        machine: QEMU's machine type: `q35`, `pc`, or a version of one, such as `pc-q35-7.2`.
        cpu: QEMU's CPU model and flags; None takes the best that this host can.
        secure_boot: UEFI that starts signed systems only.
        tpm: A TPM 2.0, played by swtpm.
        cdrom: Absolute path of an ISO image, or `EMPTY_DRIVE`.
        floppy: Absolute path of a raw image, or `EMPTY_DRIVE`.
        kernel: Absolute path of a Linux kernel to boot straight away.
        initrd: Absolute path of its initramfs.
        append: Its command line.
        tablet: A USB tablet, so that the viewer's pointer and the guest's are one.
        spice: A port for SPICE beside the hand-over of descriptors; None has nothing listen.
        vnc: VNC on a unix socket in place of SPICE, for a QEMU that was built without.
        interface: The tap device or bridge of `network`.
        nic: The network card.
        mac: Its address; made of the uuid when None.
        forwards: `PORT:GUESTPORT` pairs of the user network, bound to 127.0.0.1.
        serial: COM1 goes to a socket and a log in the VM's runtime directory.
        agent: The SPICE agent's virtio-serial port (clipboard, resize).
        usb_redirections: How many USB redirection slots it has.
        sound: An HDA card over SPICE.
        cloud_init: A NoCloud seed, on a disk of its own.
        sandbox: QEMU gives up the system calls that it does not need.
        env: Environment variables of the QEMU process, by name.
        extra_args: Further QEMU arguments, appended as they are.
        allow_insecure: Let `extra_args` open consoles that ask nobody for a password.
        restart: What becomes of it when it ends by itself.
        autostart: Started once after each boot of this host, by the first broker that stays.
    """

    name: str
    uuid: MachineId
    memory: int = 1024
    cpus: int = 1
    machine: str = "q35"
    cpu: str | None = None
    accel: Accel = Accel.AUTO
    firmware: Firmware = Firmware.BIOS
    secure_boot: bool = False
    tpm: bool = False
    disks: tuple[Disk, ...] = ()
    cdrom: str | None = None
    floppy: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    append: str = ""
    display: Display = Display.STD
    tablet: bool = True
    spice: SpicePort | None = None
    vnc: bool = False
    network: Network = Network.USER
    interface: str | None = None
    nic: Nic = Nic.VIRTIO
    mac: str | None = None
    forwards: tuple[tuple[int, int], ...] = ()
    serial: bool = True
    agent: bool = True
    usb_redirections: int = 2
    sound: bool = False
    cloud_init: CloudInit | None = None
    sandbox: bool = True
    env: tuple[tuple[str, str], ...] = ()
    extra_args: tuple[str, ...] = ()
    allow_insecure: bool = False
    restart: Restart = Restart.NEVER
    autostart: bool = False


@dataclass(frozen=True, slots=True)
class FoundQemu:
    """A QEMU that runs on this host, whoever started it, and what can be done with it.

    Attributes:
        user: Whose process it is.
        uuid: Empty when it was given none.
        owner: `hand`, `broker`, `adopted`, `libvirt`, `proxmox` or `other-broker`.
        machine: What it is called here when it is ours or adopted; else empty.
        monitor: `qmp PATH`, `hmp HOST:PORT` or `none`.
        held: Another program is at that monitor.
        screen: How its screen is reached, or why it is not; for people.
        target: Where; None when it is not.
        ticket: `none`, `known` or `fresh` (each session sets a new one).
        why_not: Why it cannot be adopted; empty when it can.
        command: Its command line, secrets hidden.
    """

    pid: int
    started_at: datetime
    user: str
    program: str
    name: str
    uuid: str
    owner: str
    machine: str
    monitor: str
    held: bool
    screen: str
    target: Target | None
    ticket: str
    why_not: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """A QEMU's command line as a definition of ours.

    Attributes:
        lost: What of it the definition does not say, one sentence each.
    """

    spec: MachineSpec
    lost: tuple[str, ...]
