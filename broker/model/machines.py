"""A machine as its source shows it, and where its screen is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from broker.dialing import DialPolicy

SourceName = NewType("SourceName", str)
MachineId = NewType("MachineId", str)
"""A machine's uuid inside its source, lower case; unique only together with the source."""


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
