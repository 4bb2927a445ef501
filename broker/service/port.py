"""The one port every face asks: the TUI and the commands.

All calls are coroutines of one event loop and raise only `broker.errors.BrokerError`. Lists come
from what is stored, so they answer at once; `refresh` asks the sources.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from broker.model import LinkPolicy
from broker.service.configuring import Configuring
from broker.service.definitions import Definitions
from broker.service.info import ConsoleInfo as ConsoleInfo
from broker.view import CALM_SECONDS, Way

if TYPE_CHECKING:  # what is only spoken of here costs nobody an import
    from broker.events import Event
    from broker.findings import CertificateFacts, Step
    from broker.guest import Guest
    from broker.model import (
        CarriedOver,
        FoundQemu,
        Machine,
        MachineKey,
        ProxyStatus,
        Session,
        SessionId,
        SourceName,
        SourceStatus,
    )
    from broker.view import View

MOST_SAID = 400
"""Characters of a message to a session."""
LIVE_LABEL = "live view"
"""Whom a token is for that a live view uses."""
VIEWER_LABEL = "viewer"
"""Whom a file is for that is made for a viewer on this host."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """How a .vv file should be made.

    Attributes:
        profile: `remote-viewer`, `ryll` or `minimal`.
        ttl: Seconds the token is good for; None takes the setting.
        host: What the file names as host; None takes `public_host`.
        label: Whom it is for; shown in the audit log.
        direct: Point at the backend with its real ticket instead of at the proxy.
        elsewhere: The file is meant for another machine, so a loopback host is refused.
        policy: What whoever has the file may do.
        draft: Its token is kept nowhere, so that it opens nothing; for looking at the file.
    """

    profile: str = "remote-viewer"
    ttl: float | None = None
    host: str | None = None
    label: str = ""
    direct: bool = False
    elsewhere: bool = False
    policy: LinkPolicy = field(default_factory=LinkPolicy)
    draft: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class Exported:
    """A rendered .vv file.

    Attributes:
        text: The file, a secret in it: write it 0600 or to stdout on request.
        expires_at: When its token stops opening a session; None for a direct file.
        tls_port: The proxy's port, or the backend's TLS port in a direct file.
        notes: Things to say on stderr (no proxy serves; a direct file holds the real ticket).
    """

    text: str = field(repr=False)
    key: MachineKey
    name: str
    host: str
    tls_port: int | None
    expires_at: datetime | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A viewer that was started.

    Attributes:
        pid: The viewer's process.
        command: What was run, for people; no secret in it.
    """

    pid: int
    command: tuple[str, ...]
    name: str


class Service(Configuring, Definitions, Protocol):
    """Everything a person can ask for."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should hear of, whatever is asked; more may come while it is open."""
        ...

    # -- consoles
    async def consoles(self) -> Sequence[ConsoleInfo]:
        """All known consoles of all sources, ordered by name then source; the caller's to keep."""
        ...

    async def find(self, reference: str) -> ConsoleInfo:
        """The console called `name`, `source/name` or uuid.

        Raises:
            NotFound: Nothing is called so; `fix` offers the nearest name.
            Ambiguous: Several are; the candidates are listed.
        """
        ...

    async def find_by_token(self, text: str) -> ConsoleInfo:
        """The console that a token of a hypervisor's own (or a URL with one) stands for.

        Raises:
            UsageError: It is no token.
            NotFound: No source knows it.
        """
        ...

    async def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        """Mint a token for that console and render a .vv file. The hypervisor is not asked."""
        ...

    async def open_viewer(self, key: MachineKey, request: ExportRequest | None = None) -> Opened:
        """Start the configured viewer on a fresh .vv; the proxy must be serving.

        Args:
            request: How the file is made; None allows everything.

        Raises:
            ViewerMissing: No viewer or no display; `fix` says what to do from elsewhere.
        """
        ...

    def diagnose(self, key: MachineKey) -> AsyncGenerator[Step, None]:
        """The steps from a console to its picture, as they are taken, up to the first broken one.

        Nobody is thrown off the screen by it, no machine is put at risk, nothing is written down.
        """
        ...

    # -- machines
    async def start(self, key: MachineKey) -> Machine:
        """Power on and wait until it runs; VmStartFailed has QEMU's own words."""
        ...

    async def stop(
        self,
        key: MachineKey,
        *,
        timeout: float | None = None,
        wait: bool = True,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """Ask the guest to power off; end it when it has not after `timeout` seconds.

        Args:
            wait: False only asks, and returns at once. A guest that does not heed it is ended by
                a broker that stays, if one runs; one that cannot hear it is ended now.
            tell: Told each step as it begins: a sentence without the VM's name.
        """
        ...

    async def kill(self, key: MachineKey) -> Machine:
        """Power off at once."""
        ...

    async def reboot(self, key: MachineKey) -> Machine:
        """Ask the guest of a hypervisor's machine to start anew.

        Raises:
            UsageError: Its source cannot do that; why is said.
        """
        ...

    async def pause(self, key: MachineKey) -> Machine:
        """Hold the guest's CPUs; UsageError when it is off."""
        ...

    async def resume(self, key: MachineKey) -> Machine:
        """Let the guest go on from a pause, a disk's error, or its sleep."""
        ...

    async def reset(self, key: MachineKey) -> Machine:
        """Press the reset button; the guest is not asked."""
        ...

    async def machine_log(
        self, key: MachineKey, *, serial: bool = False, previous: bool = False
    ) -> str:
        """QEMU's own output of the current or last run, or the guest's serial output.

        Args:
            previous: Of the run before that; empty when there was none.
        """
        ...

    async def guest(self, key: MachineKey) -> Guest:
        """A VM's screen, keys, media, snapshots, monitor and serial port, to be used.

        It holds nothing open, and is good for as long as the VM is.

        Raises:
            UsageError: It is no VM of this host.
        """
        ...

    def view(
        self, key: MachineKey, way: Way = Way.USE, *, calm: float = CALM_SECONDS
    ) -> AbstractAsyncContextManager[View]:
        """A machine's screen to be looked at and typed on, open until the block ends.

        `USE` and `TAKE_OVER` are a session through the proxy, or QEMU's monitor for a VM of this
        host that the proxy cannot reach. `WATCH` takes nobody's place: QEMU's monitor for a VM of
        this host, a view-only session for any other.

        Args:
            calm: A monitor is asked no more often than every so many seconds while nothing changes.

        Raises:
            Occupied: Somebody is there; or this machine cannot be watched meanwhile.
            Unreachable: It is off, or no proxy serves.
        """
        ...

    # -- machines that somebody else started
    async def scan(self) -> Sequence[FoundQemu]:
        """Every QEMU of this user on this host (for root: of all users), asked nothing."""
        ...

    async def adopt(self, reference: str, *, name: str | None = None) -> Machine:
        """Make a QEMU that runs a machine of ours to see, open and stop; never to start.

        Args:
            reference: Its process id, name or uuid. One that was adopted is not an error.
            name: What to call it; None takes its own name.

        Raises:
            NotFound: There is none.
            Refused: Something else looks after it.
        """
        ...

    async def forget(self, key: MachineKey) -> None:
        """Undo `adopt`; the process is not touched."""
        ...

    async def as_definition(self, key: MachineKey) -> CarriedOver:
        """The best definition that an adopted machine's command line makes."""
        ...

    # -- sessions
    async def sessions(self) -> Sequence[Session]:
        """Live sessions, oldest first."""
        ...

    async def message(self, session: SessionId, text: str) -> None:
        """Send a line to the person in a session, through the proxy. Most viewers only log it.

        Raises:
            NotFound: No live session has that id.
            UsageError: There is no text, or too much of it.
        """
        ...

    async def disconnect(self, session: SessionId) -> None:
        """End a session in the order that is safe for its VM.

        Raises:
            NotFound: No live session has that id (a unique prefix will do).
        """
        ...

    async def revoke(self, key: MachineKey | None) -> int:
        """Files of one machine, or all, that nobody has used open nothing any more.

        Returns:
            How many.
        """
        ...

    # -- sources
    async def retry_source(self, name: SourceName) -> None:
        """Ask a source that is paused or was backed off from, since somebody says it is mended.

        Raises:
            NotFound: No such source is configured.
            BrokerError: It failed (again).
        """
        ...

    async def pause_source(self, name: SourceName) -> None:
        """Leave a source alone until `retry_source`; what is known of it is kept.

        Raises:
            NotFound: No such source is configured.
        """
        ...

    async def check_source(self, name: SourceName) -> Sequence[Step]:
        """Log in, list, and see what we may there; nothing is changed.

        Raises:
            NotFound: No such source is configured.
            ConfigError: Its entry is wrong.
        """
        ...

    async def sources(self) -> Sequence[SourceStatus]:
        """Every configured source and how it does, in the order of sources.yaml."""
        ...

    async def refresh(self) -> Sequence[SourceStatus]:
        """Read sources.yaml if it changed, ask every source, store what they show."""
        ...

    # -- what happened
    async def events(self, *, limit: int = 200, after: int = 0) -> Sequence[Event]:
        """The newest `limit` events with an id above `after`, oldest first."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields once at once and then each time something stored changed, coalesced."""
        ...

    # -- the proxy
    async def proxy_status(self) -> ProxyStatus:
        """Whether a proxy is serving, and where."""
        ...

    async def certificate(self) -> CertificateFacts | None:
        """What the proxy's certificate says of itself; None when none was ever made.

        Raises:
            StoreError: It cannot be read.
        """
        ...

    async def host_proxy(self) -> ProxyStatus:
        """Have a proxy serving: the one that is, or one of our own for as long as we live."""
        ...

    async def leave_proxy(self, *, keep_sessions: bool) -> None:
        """Stop hosting. A proxy that others host is left alone.

        Args:
            keep_sessions: Let live sessions go on until they end by themselves; the proxy stays
                up for them and then goes. Otherwise they are ended in the VM-safe order.
        """
        ...

    async def aclose(self) -> None:
        """Give back what was opened; hosting ends with sessions kept."""
        ...
