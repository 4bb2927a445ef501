"""The nouns: what the rooms hand to each other. Frozen, checked by the type checker, no I/O.

Words are those of ARCHITECTURE.md: a *source* yields *machines*; a *console* is where a machine's
screen can be reached now; a *ticket* is the hypervisor's password (ours to use, never to show); a
*token* is what a viewer gets as its password; a *session* is one person at one machine.

They are one file because each is a few lines, and every room wants several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from broker.dialing import DialPolicy
from broker.latency import Timing

SourceName = NewType("SourceName", str)
MachineId = NewType("MachineId", str)
"""A machine's uuid inside its source, lower case; unique only together with the source."""
SessionId = NewType("SessionId", str)
"""Twelve lower-case letters and digits; names one session in lists, logs and `disconnect`."""


@dataclass(frozen=True, slots=True, order=True)
class MachineKey:
    """What names a machine for the store: the same uuid may live in two sources."""

    source: SourceName
    uuid: MachineId


class State(StrEnum):
    """The state a machine was last seen in. JSON shows these values."""

    UNKNOWN = "unknown"
    """The source cannot tell (a static entry)."""
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    SHUTDOWN = "shutdown"
    """The guest is off, its QEMU process is not."""
    BUSY = "busy"
    MIGRATING = "migrating"
    CRASHED = "crashed"
    ERROR = "error"
    UNRESPONSIVE = "unresponsive"


class Power(StrEnum):
    """The power a person asked for."""

    ON = "on"
    OFF = "off"


class Protocol(StrEnum):
    """What is spoken on a console."""

    SPICE = "spice"
    VNC = "vnc"
    """A local VM without SPICE; opened by a viewer on this host, not by the proxy."""
    NONE = "none"
    """The machine has no screen that can be reached."""


# --- where a screen is -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A SPICE server on TCP. At least one of the ports is set; TLS is used when `tls_port` is.

    A TLS leg is verified against `ca_pem`; `host_subject`, when set, must equal the certificate's
    subject (every attribute, same order), otherwise the certificate must carry `host`.
    """

    host: str
    port: int | None = None
    tls_port: int | None = None
    ca_pem: str | None = None
    host_subject: str | None = None
    proxy: str | None = None
    """An HTTP proxy on the way, `http://host:port`; it is asked by CONNECT."""
    address: str | None = None
    """What `host` stood for when the session began; its further channels go nowhere else."""
    tunnel: str | None = field(default=None, repr=False)
    """What `proxy` is asked for in place of `host:port`, where that is a credential (Proxmox signs
    one). Never shown or stored; `host` is then what people call the far end."""
    policy: DialPolicy | None = None
    """What the address must keep to; None where a person wrote it down. The house fills it in."""


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """A SPICE server on a unix socket of this host."""

    path: str


@dataclass(frozen=True, slots=True)
class HandOverTarget:
    """A local QEMU without a listener: each channel is handed over by QMP `add_client`.

    Attributes:
        control_path: The VM's `ctl.sock`, a QMP monitor used for nothing else.
    """

    control_path: str


@dataclass(frozen=True, slots=True)
class GivenTarget:
    """A SPICE server without an address for us: its source's driver hands each channel over.

    The driver is a `broker.hypervisor.ChannelGiver`.
    """

    source: SourceName
    machine: MachineId


Target = TcpTarget | UnixTarget | HandOverTarget | GivenTarget


@dataclass(frozen=True, slots=True)
class Console:
    """Where and how a machine's screen can be reached now.

    Attributes:
        ticket: The hypervisor's SPICE password, or None when none is needed. Never shown.
        expires_at: When the way there (ticket or tunnel) stops being good for a new channel; None
            for never. A channel that comes later has the driver asked anew.
        superseding: Asking for it made the tickets before it useless for new channels.
    """

    target: Target
    protocol: Protocol = Protocol.SPICE
    ticket: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    superseding: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """A VM as its source shows it.

    Attributes:
        hypervisor: The name of the host it runs on, as people know it.
        hypervisor_ip: That host's address, when the source tells one.
        protocol: What its console speaks, or NONE.
        reason: Why it is in trouble (`crashed`, `error`, `unresponsive`), else empty.
        pid: The QEMU process of a local VM.
        started_at: When that process started.
        target: Where its screen is, as far as the source knows without being asked for a ticket.
        defined: True for VMs this broker can start, stop and delete.
        adopted: Somebody else started it; it is seen, stopped when asked, and never started.
    """

    key: MachineKey
    name: str
    state: State
    hypervisor: str = ""
    hypervisor_ip: str = ""
    protocol: Protocol = Protocol.SPICE
    reason: str = ""
    pid: int | None = None
    started_at: datetime | None = None
    target: Target | None = None
    defined: bool = False
    adopted: bool = False

    @property
    def full_name(self) -> str:
        """`source/name`, which names it on the command line."""
        return f"{self.key.source}/{self.name}"


# --- sources -----------------------------------------------------------------------------------


class Ability(StrEnum):
    """What can be done with a source's machines besides reaching their screens."""

    START = "start"
    SHUTDOWN = "shutdown"
    """Ask the guest to go off."""
    STOP = "stop"
    """Cut the power."""
    REBOOT = "reboot"
    """Ask the guest to start anew."""
    RESET = "reset"
    PAUSE = "pause"
    RESUME = "resume"
    SCREENSHOT = "screenshot"
    KEYS = "keys"
    """Press keys without opening the screen."""
    SERIAL = "serial"
    VNC = "vnc"
    """It has consoles that speak VNC; they are told, and not brokered."""
    EVENTS = "events"
    """It tells what changes, rather than being asked all the time."""


POWER = (
    Ability.START,
    Ability.SHUTDOWN,
    Ability.STOP,
    Ability.REBOOT,
    Ability.RESET,
    Ability.PAUSE,
    Ability.RESUME,
)
"""Those that switch a machine."""


class Health(StrEnum):
    """How a source does."""

    OK = "ok"
    DEGRADED = "degraded"
    """Its list is whole, but something does not work there, such as for want of a right."""
    PAUSED = "paused"
    """Somebody asked that it be left alone; what was known before is kept and marked stale."""
    FAILED = "failed"
    """The last look failed; what was known before is kept and marked stale."""
    NEW = "new"
    """Configured, not looked at yet."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A configured source and how it does.

    Attributes:
        problem: What the last look failed with; empty when it did not.
        fix: What to do about it.
        warnings: Things that did not stop the source (duplicates, odd values).
        machines: How many machines are known from it.
        listed_at: When its list was last read without an error.
        since: Since when its health is what it is.
        seconds: How long its last whole listing took; 0 when there was none.
        error: The `code` of the problem.
        retry_at: Before then nobody asks it by itself again (back-off, or its own Retry-After).
        abilities: What can be done with its machines; for what cannot, why (`hypervisor.Offering`).
    """

    name: SourceName
    type: str
    health: Health
    problem: str = ""
    fix: str = ""
    warnings: tuple[str, ...] = ()
    machines: int = 0
    listed_at: datetime | None = None
    since: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    retry_at: datetime | None = None
    abilities: Mapping[Ability, str] = field(default_factory=dict)


# --- a local VM --------------------------------------------------------------------------------


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


# --- tokens and sessions ------------------------------------------------------------------------


class WhenOccupied(StrEnum):
    """What to do when somebody is at the console already; QEMU serves one viewer at a time."""

    REFUSE = "refuse"
    TAKE_OVER = "take-over"
    """End the other session, then open this one."""
    WAIT = "wait"
    """Open this one once the other has ended, within `proxy.turn_timeout`."""


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What whoever shows a token may do with the machine; all of it unless taken away.

    Attributes:
        view_only: Look on: nothing the viewer does reaches the machine. Takes away the next four
            as well, whatever they say.
        usb: Attach USB devices of the viewer's host.
        clipboard: Copy and paste, in both directions.
        file_transfer: Drop files on the screen, and share a folder.
        audio_in: The viewer's microphone.
        sources_from: Networks (CIDR) that a session may be opened from; from anywhere when empty.
        session_ttl: Seconds after which the session is ended; None for no end.
        occupied: What becomes of whoever is at the console already.
    """

    view_only: bool = False
    usb: bool = True
    clipboard: bool = True
    file_transfer: bool = True
    audio_in: bool = True
    sources_from: tuple[str, ...] = ()
    session_ttl: float | None = None
    occupied: WhenOccupied = WhenOccupied.REFUSE

    def spelled_out(self) -> LinkPolicy:
        """The same with everything said that `view_only` takes away."""
        if not self.view_only:
            return self
        return replace(self, usb=False, clipboard=False, file_transfer=False, audio_in=False)

    @property
    def words(self) -> tuple[str, ...]:
        """What differs from all allowed, as people read it and options say it."""
        taken = (
            ("no-usb", self.usb),
            ("no-clipboard", self.clipboard),
            ("no-file-transfer", self.file_transfer),
            ("no-audio-in", self.audio_in),
        )
        return (
            *(("view-only",) if self.view_only else (word for word, may in taken if not may)),
            *(f"from {network}" for network in self.sources_from),
            *((f"for {self.session_ttl:g} s",) if self.session_ttl else ()),
            *(() if self.occupied is WhenOccupied.REFUSE else (self.occupied.value,)),
        )


@dataclass(frozen=True, slots=True)
class Token:
    """A token at rest: its digest, what it opens, and until when. Never the token itself.

    Attributes:
        digest: SHA-256 of the token, 32 bytes.
        label: Whom it was made for; shown in the audit log.
        session: The session it opened; a token opens one.
        policy: What that session may do.
    """

    digest: bytes = field(repr=False)
    key: MachineKey
    created_at: datetime
    expires_at: datetime
    label: str = ""
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    session: SessionId | None = None
    policy: LinkPolicy = LinkPolicy()


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One live channel of a session.

    Attributes:
        name: `main`, `display.0`, `inputs.0`, …
        timing: What it showed of latency.
    """

    name: str
    opened_at: datetime
    bytes_to_client: int = 0
    bytes_to_server: int = 0
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class Session:
    """One person at one machine: all channels admitted by one token.

    Attributes:
        console: The machine's name when the session began.
        client: The viewer's address, `host:port` of its main channel.
        worker: Process id of the relay worker that holds it.
        end_reason: Why it ended; empty while it lives.
        policy: What it may do, as its token says.
        timing: All its channels' times, also of those that have closed; no connections.
        rate_to_client: Bytes a second, of late.
        rate_to_server: The same, the other way.
    """

    id: SessionId
    key: MachineKey
    console: str
    client: str
    worker: int
    started_at: datetime
    channels: tuple[ChannelInfo, ...] = ()
    bytes_to_client: int = 0
    bytes_to_server: int = 0
    label: str = ""
    ended_at: datetime | None = None
    end_reason: str = ""
    policy: LinkPolicy = LinkPolicy()
    timing: Timing = field(default_factory=Timing)
    rate_to_client: float = 0.0
    rate_to_server: float = 0.0


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """Whether a proxy serves on this host, and where viewers reach it.

    Attributes:
        host: What a .vv file names: `public_host`, or the address it listens on.
        pid: The process that supervises the relay workers.
        workers: Process ids of the relay workers.
        metrics_port: Where /metrics is answered on the loopback, if it is.
        ours: It is there because the face that asks hosts it, and goes with that face.
    """

    serving: bool
    host: str = ""
    tls_port: int | None = None
    pid: int | None = None
    workers: tuple[int, ...] = ()
    ours: bool = False
    metrics_port: int | None = None
