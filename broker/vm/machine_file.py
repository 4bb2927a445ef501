"""The keys of a VM's YAML and what may stand there; `broker.vm.schema` reads and writes by them.

Each field's docstring is what the exported JSON schema says of it.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from broker.model import (
    Accel,
    DiskBus,
    Display,
    Firmware,
    Network,
    Nic,
    Restart,
)
from broker.vm import machine_values as values
from broker.vm.argv_storage import MAX_FLOPPIES, is_q35, sata_ports

_Port = Annotated[int, Field(ge=1, le=65535)]
_Path = Annotated[str, AfterValidator(values.absolute)]
_Drive = Annotated[str, AfterValidator(values.in_drive)]
_Size = Annotated[int, Field(ge=1, le=values.MAX_DISK), BeforeValidator(values.size_of)]
_Format = Annotated[str, Field(pattern=values.FORMAT)]
_Text = Annotated[str, BeforeValidator(values.document)]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Line = Annotated[str, Field(pattern=r"^[^\x00\n]*$")]


class Strict(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DiskFile(Strict):
    """One entry of `disks:`."""

    path: Annotated[str, AfterValidator(values.absolute_or_none)] = ""
    """Absolute path of the image; left out, one is made in the VM's own directory."""
    format: _Format = "qcow2"
    """`qcow2`, `raw`, `vmdk`, …: never guessed."""
    bus: DiskBus = DiskBus.VIRTIO
    """`virtio`, `sata` (IDE on `pc`), `scsi`, `nvme`, `usb` or `floppy`."""
    snapshot: bool = False
    """Throw away what was written when the VM ends."""
    readonly: bool = False
    """Let the guest read only."""
    size: _Size | None = None
    """Make the disk with this size when there is no file: `20G`."""
    backing: _Path | None = None
    """Make it an overlay of this image when there is no file; that image is only read."""
    backing_format: _Format | None = None
    """The format of that image."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.path and self.size is None and self.backing is None:
            raise values.wrong("a disk has a path, or a size or a backing to make it from")
        if (self.backing is None) != (self.backing_format is None):
            raise values.wrong("backing and backing_format belong together")
        if self.backing is not None and self.format != "qcow2":
            raise values.wrong("an overlay has the format qcow2")
        return self


class TcpPort(Strict):
    """`spice: {tcp: …}`."""

    address: Annotated[str, Field(pattern=r"^[^\s,]+$")] = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """The port; 0 takes a free one at each start."""


class SpiceFile(Strict):
    """`spice:`: how viewers reach it beside the proxy."""

    tcp: Annotated[TcpPort, BeforeValidator(values.tcp_port)]
    """A port; each session needs a ticket of its own (`broker export-vv --direct`)."""


class CloudInitFile(Strict):
    """`cloud_init:`: what a cloud image reads at its first boot."""

    user_data: Annotated[str, BeforeValidator(values.user_data)] = ""
    """Text of user-data; a mapping is written as #cloud-config."""
    user_data_file: _Path | None = None
    """A file with it, read at each start instead."""
    meta_data: _Text = ""
    """Text of meta-data; made of uuid and name when left out."""
    network_config: _Text = ""
    """Text of network-config; none when left out."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.user_data and self.user_data_file:
            raise values.wrong("user_data and user_data_file say the same thing twice")
        return self


class MachineFile(Strict):
    """A VM's `machine.yaml`."""

    name: Annotated[str, AfterValidator(values.name)]
    """What people call it."""
    uuid: Annotated[str, AfterValidator(values.uuid)]
    """Its identity; lower case."""
    memory: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)] = 1024
    """MiB."""
    cpus: Annotated[int, Field(ge=1, le=1024)] = 1
    """Virtual CPUs."""
    machine: Annotated[str, Field(pattern=values.MACHINE)] = "q35"
    """Machine type: `q35`, `pc`, or a version of one such as `pc-q35-7.2`."""
    cpu: Annotated[str, Field(pattern=values.CPU)] | None = None
    """CPU model and flags, such as `host` or `EPYC,-svm`; the best that works when left out."""
    accel: Accel = Accel.AUTO
    """`auto`, `kvm` or `tcg`."""
    firmware: Firmware = Firmware.BIOS
    """`bios` or `uefi`."""
    secure_boot: bool = False
    """UEFI that starts signed systems only."""
    tpm: bool = False
    """A TPM 2.0; needs the program swtpm."""
    disks: tuple[DiskFile, ...] = ()
    """In boot order."""
    cdrom: _Drive | None = None
    """Absolute path of an ISO image, or `empty` for a drive without one; tried after the disks."""
    floppy: _Drive | None = None
    """Absolute path of a raw image, or `empty` for a drive without one."""
    kernel: _Path | None = None
    """Absolute path of a Linux kernel to boot straight away."""
    initrd: _Path | None = None
    """Absolute path of its initramfs."""
    append: _Line = ""
    """Its command line."""
    display: Display = Display.STD
    """`std`, `qxl`, `virtio` or `none`."""
    tablet: bool = True
    """A USB tablet: the viewer's pointer and the guest's are one."""
    spice: SpiceFile | None = None
    """`{tcp: PORT}`: a port beside the proxy. Nothing listens when left out."""
    vnc: bool = False
    """VNC on a unix socket in place of SPICE, for a QEMU that was built without."""
    network: Network = Network.USER
    """`user`, `none`, `tap` or `bridge`."""
    interface: Annotated[str, Field(pattern=values.INTERFACE)] | None = None
    """The tap device or bridge of this host."""
    nic: Nic = Nic.VIRTIO
    """The network card: `virtio`, `e1000`, `e1000e` or `rtl8139`."""
    mac: Annotated[str, Field(pattern=values.MAC)] | None = None
    """Its address, such as 52:54:00:12:34:56; made of the uuid when left out."""
    forwards: tuple[Annotated[tuple[_Port, _Port], BeforeValidator(values.forward)], ...] = ()
    """`PORT:GUESTPORT` of the user network, bound to 127.0.0.1."""
    serial: bool = True
    """COM1 with a socket and a log."""
    agent: bool = True
    """The SPICE agent's port: clipboard and resizing."""
    usb_redirections: Annotated[int, Field(ge=0, le=8)] = 2
    """Slots for the viewer's USB devices."""
    sound: bool = False
    """A sound card."""
    cloud_init: CloudInitFile | None = None
    """A NoCloud seed for a cloud image."""
    sandbox: bool = True
    """QEMU gives up the system calls that it does not need."""
    env: Annotated[dict[_Variable, _Line], BeforeValidator(values.environment)] = {}
    """Environment variables of the QEMU process; who has your rights sees them."""
    extra_args: tuple[str, ...] = ()
    """Further QEMU arguments, appended as they are."""
    allow_insecure: bool = False
    """Let `extra_args` open consoles that ask nobody for a password."""
    restart: Restart = Restart.NEVER
    """`never`, `on-crash` or `always`: started again when it ended by itself."""
    autostart: bool = False
    """Started once after each boot of this host."""

    @field_validator("spice", mode="before")
    @classmethod
    def _spice(cls, value: object) -> object:
        from broker.model import SpicePort

        if isinstance(value, SpicePort):  # from a MachineSpec
            return {"tcp": {"address": value.address, "port": value.port}}
        return value or None

    @field_validator("cloud_init", mode="before")
    @classmethod
    def _cloud_init(cls, value: object) -> object:
        from broker.model import CloudInit

        if isinstance(value, CloudInit):
            return CloudInitFile.model_validate(value, from_attributes=True)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in self._misfits():
            raise values.wrong(problem)
        return self

    def _misfits(self) -> list[str]:
        """What no machine can be; each in one sentence."""
        floppies = sum(disk.bus is DiskBus.FLOPPY for disk in self.disks)
        sata = sum(disk.bus is DiskBus.SATA for disk in self.disks)
        room = sata_ports(self.machine) - 1  # one is for the CD
        wired = self.network in (Network.TAP, Network.BRIDGE)
        rules = {
            f"disks: a machine has room for {MAX_FLOPPIES} floppy disks": floppies
            + (self.floppy is not None)
            > MAX_FLOPPIES,
            f"disks: a machine of type {self.machine} has room for {room} sata disks": sata > room,
            "secure_boot needs firmware: uefi": self.secure_boot
            and self.firmware is not Firmware.UEFI,
            "secure_boot needs machine: q35": self.secure_boot and not is_q35(self.machine),
            "initrd and append need a kernel": bool(self.initrd or self.append) and not self.kernel,
            f"network: {self.network} needs an interface, its device on this host": wired
            and not self.interface,
            "interface needs network: tap or network: bridge": bool(self.interface) and not wired,
            "forwards need network: user": bool(self.forwards) and self.network is not Network.USER,
            "spice and vnc exclude each other": self.vnc and self.spice is not None,
            "vnc needs a display": self.vnc and self.display is Display.NONE,
        }
        return [rule for rule, broken in rules.items() if broken]
