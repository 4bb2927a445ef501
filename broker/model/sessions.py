"""Tokens, what they allow, the sessions they open, and the proxy that carries these."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from broker.latency import Timing
from broker.model.machines import MachineKey

SessionId = NewType("SessionId", str)
"""Twelve lower-case letters and digits; names one session in lists, logs and `disconnect`."""


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
        worker_life: What tells that process from a later one with its number.
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
    worker_life: str = ""


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """Whether a proxy serves on this host, and where viewers reach it.

    Attributes:
        host: What a .vv file names: `public_host`, or the address it listens on.
        pid: The process that supervises the relay workers.
        workers: Process ids of the relay workers.
        metrics_port: Where /metrics is answered on the loopback, if it is.
        draining: It is being stopped: sessions go on for a while, and nobody new is let in.
        ours: It is there because the face that asks hosts it, and goes with that face.
    """

    serving: bool
    host: str = ""
    tls_port: int | None = None
    pid: int | None = None
    workers: tuple[int, ...] = ()
    ours: bool = False
    metrics_port: int | None = None
    draining: bool = False
