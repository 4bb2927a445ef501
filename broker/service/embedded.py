"""The port, served inside this process: what every face gets from `runtime.open_service`.

It composes the use cases and moves what blocks (the store, files, processes) into threads. The
rooms it must not know (drivers' reconcilers, the proxy's host) come in as small protocols.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from broker import human
from broker.driver import (
    Driver,
    LogKeeper,
)
from broker.errors import NotFound, UsageError
from broker.events import Event, Kind
from broker.findings import CertificateFacts, Step
from broker.guest import Guest
from broker.model import (
    LOCAL_TYPE,
    Console,
    MachineKey,
    ProxyStatus,
    Session,
    SessionId,
    SourceName,
    SourceStatus,
    WhenOccupied,
)
from broker.model import Protocol as Spoken
from broker.service.adopting import Adopting, AdoptingVerbs
from broker.service.consoles import Consoles
from broker.service.defining import DefiningVerbs
from broker.service.doctor import DiagnosingVerbs, PathProbes
from broker.service.drafting import DraftingVerbs
from broker.service.guests import guest_of
from broker.service.leaving import Leaving
from broker.service.naming import unmistakable
from broker.service.port import (
    MOST_SAID,
    VIEWER_LABEL,
    ConsoleInfo,
    Exported,
    ExportRequest,
    Opened,
    Service,
)
from broker.service.power import PowerVerbs, Reconciler
from broker.service.preferring import PreferringVerbs
from broker.service.redeeming import redeem
from broker.service.round_the_proxy import RoundTheProxy
from broker.service.source_verbs import SourceVerbs
from broker.service.telling import Teller
from broker.service.viewer import see_that_it_is_free, see_that_it_lets_in
from broker.service.viewing import OpenView, ViewingVerbs

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.config.preferences import PersonsFiles
    from broker.config.sources_file import SourceEntry
    from broker.store.store import Store


class Inventory(Protocol):
    """The sources and what they show."""

    async def refresh(self) -> Sequence[SourceStatus]: ...

    async def refresh_source(self, name: SourceName) -> None: ...

    async def retry(self, name: SourceName) -> None: ...

    async def pause(self, name: SourceName) -> None: ...

    async def refresh_machine(self, key: MachineKey) -> None: ...

    async def driver(self, name: SourceName, *, paused: bool = False) -> Driver: ...

    async def read_file(self) -> None: ...


class ProxyHost(Protocol):
    """Hosts a proxy for as long as this process wants one."""

    def status(self) -> ProxyStatus:
        """Whether one is serving; cheap."""
        ...

    async def host(self) -> ProxyStatus:
        """Have one serving."""
        ...

    async def leave(self, *, keep_sessions: bool) -> None:
        """Stop hosting."""
        ...


class Viewers(Protocol):
    """Starts viewers."""

    def check(self, name: str, protocol: Spoken) -> None:
        """Raise ViewerMissing when none can be started, before a token is spent."""
        ...

    def start(self, exported: Exported, name: str, protocol: Spoken) -> Opened:
        """Start the configured viewer on a file."""
        ...


class EmbeddedService(
    AdoptingVerbs,
    DefiningVerbs,
    DiagnosingVerbs,
    DraftingVerbs,
    PowerVerbs,
    PreferringVerbs,
    SourceVerbs,
    ViewingVerbs,
):
    """The whole port. See `broker.service.port.Service` for what each call gives.

    Args:
        stop_timeout: Seconds a guest has to power off by itself, unless asked otherwise.
        worker_alive: Whether a process is a relay worker that lives; sessions of dead ones end.
        probes: Looks along the path to one console.
        open_view: The screen that a .vv file leads to.
        files: The person's own, to be written for them.
        make_driver: The driver of an entry of sources.yaml; ConfigError when it is wrong.
        look_at: What answers where a console is said to be.
        poll_every: Seconds between looks at the store's change counter.
        notes: What is odd about the store and the settings by now; each said once by a face.
        certificate: What the proxy's certificate says of itself.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        consoles: Consoles,
        *,
        inventory: Inventory,
        reconciler: Reconciler,
        proxy: ProxyHost,
        viewers: Viewers,
        stop_timeout: float,
        worker_alive: Callable[[int, str], bool],
        probes: Callable[[Service, MachineKey], Coroutine[Any, Any, PathProbes]],
        open_view: OpenView,
        files: PersonsFiles,
        make_driver: Callable[[SourceEntry], Driver],
        look_at: Callable[[Console, Clock], Awaitable[Sequence[Step]]],
        poll_every: float = 0.25,
        notes: Callable[[], tuple[str, ...]] = lambda: (),
        certificate: Callable[[], CertificateFacts | None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._consoles = consoles
        self._round = RoundTheProxy(inventory, consoles)
        self._inventory = self._machines = self._sources = inventory
        self._reconciler = reconciler
        self._proxy = proxy
        self._viewers = viewers
        self._stop_timeout = stop_timeout
        self._worker_alive = worker_alive
        self._poll_every = poll_every
        self._certificate = certificate
        self._tell = Teller(store, clock).tell
        AdoptingVerbs.__init__(self, Adopting(store, inventory, self._tell, self._local_source))
        DefiningVerbs.__init__(self, inventory, self._local_source)
        DiagnosingVerbs.__init__(self, clock, lambda key: probes(self, key))
        DraftingVerbs.__init__(self, files.sources, make_driver, inventory, look_at)
        PreferringVerbs.__init__(self, files)
        self._leaving = Leaving(store.token, self.sessions)
        ViewingVerbs.__init__(self, self, open_view, self._leaving)
        self._notes = notes

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes()

    # -- consoles

    async def consoles(self) -> Sequence[ConsoleInfo]:
        return await asyncio.to_thread(self._consoles.all)

    async def find(self, reference: str) -> ConsoleInfo:
        return await asyncio.to_thread(self._consoles.find, reference)

    async def find_by_token(self, text: str) -> ConsoleInfo:
        key = await redeem(text, self._inventory, [one.name for one in await self.sources()])
        if not any(one.machine.key == key for one in await self.consoles()):
            await self._inventory.refresh_source(key.source)
        for one in await self.consoles():
            if one.machine.key == key:
                return one
        raise NotFound(f"{key.source} does not list the machine of that token", fix="broker list")

    async def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        if request.direct and (issued := await self._round.ticket(key, request)) is not None:
            return issued
        return await asyncio.to_thread(self._consoles.export_vv, key, request)

    async def open_viewer(self, key: MachineKey, request: ExportRequest | None = None) -> Opened:
        machine = await asyncio.to_thread(self._store.machine, key)
        called = await unmistakable(self, machine)
        await asyncio.to_thread(self._viewers.check, called, machine.protocol)
        request = request or ExportRequest(label=VIEWER_LABEL)
        await self._leaving.over(key)
        if request.policy.occupied is WhenOccupied.REFUSE:
            see_that_it_is_free(machine, await self.sessions())
        exported = await self._round.door(machine, request)
        if exported is None:
            see_that_it_lets_in(await self.proxy_status())
            exported = await self.export_vv(key, request)
        return await asyncio.to_thread(self._viewers.start, exported, called, machine.protocol)

    # -- machines

    async def machine_log(
        self, key: MachineKey, *, serial: bool = False, previous: bool = False
    ) -> str:
        driver = await self._inventory.driver(key.source)
        if not isinstance(driver, LogKeeper):
            raise UsageError(f"{key.source} keeps no logs of its machines")
        return await driver.log(key.uuid, serial=serial, previous=previous)

    async def guest(self, key: MachineKey) -> Guest:
        machine = await asyncio.to_thread(self._store.machine, key)
        return await guest_of(await self._inventory.driver(key.source), machine, self._tell)

    async def _local_source(self) -> SourceName:
        for known in (self.sources, self.refresh):
            for status in await known():
                if status.type == LOCAL_TYPE:
                    return status.name
        raise NotFound("There is no local source", fix="Add `- source: here` with `type: local`")

    # -- sessions

    async def sessions(self) -> Sequence[Session]:
        sessions = await asyncio.to_thread(self._store.sessions)
        workers = {(session.worker, session.worker_life) for session in sessions}
        if all(self._worker_alive(*worker) for worker in workers):
            return sessions
        await asyncio.to_thread(self._store.end_orphans, self._worker_alive, self._clock.now())
        return await asyncio.to_thread(self._store.sessions)

    async def message(self, session: SessionId, text: str) -> None:
        line = human.one_line(text.strip())
        if not line or len(line) > MOST_SAID:
            raise UsageError(
                f"A message of {len(line)} characters cannot be sent",
                fix=f"Say something of at most {MOST_SAID} characters",
            )
        found = await asyncio.to_thread(self._store.session, session)
        await asyncio.to_thread(self._store.put_message, found.id, line, self._clock.now())

    async def disconnect(self, session: SessionId) -> None:
        found = await asyncio.to_thread(self._store.session, session)
        await asyncio.to_thread(self._store.ask_end, found.id)

    async def revoke(self, key: MachineKey | None) -> int:
        revoked = await asyncio.to_thread(self._store.revoke_tokens, key)
        if not revoked:
            return 0
        if key is None:
            text = f"{revoked} unused files open nothing any more"
            event = Event(at=self._clock.now(), kind=Kind.TOKEN_REVOKED, text=text)
            await asyncio.to_thread(self._store.add_event, event)
            return revoked
        machine = await asyncio.to_thread(self._store.machine, key)
        text = f"{revoked} unused files for {machine.full_name} open nothing any more"
        await self._tell(Kind.TOKEN_REVOKED, machine, text)
        return revoked

    # -- what happened

    async def events(self, *, limit: int = 200, after: int = 0) -> Sequence[Event]:
        return await asyncio.to_thread(self._store.events, limit=limit, after=after)

    async def changes(self) -> AsyncIterator[None]:
        """See the port. The store's change counter is one cheap read, so it is looked at often."""
        seen: tuple[object, ...] | None = None
        while True:
            now = (await asyncio.to_thread(self._store.data_version), self._proxy.status())
            if now != seen:
                seen = now
                yield
            await asyncio.sleep(self._poll_every)

    # -- the proxy

    async def proxy_status(self) -> ProxyStatus:
        return await asyncio.to_thread(self._proxy.status)

    async def certificate(self) -> CertificateFacts | None:
        return await asyncio.to_thread(self._certificate)

    async def host_proxy(self) -> ProxyStatus:
        return await self._proxy.host()

    async def leave_proxy(self, *, keep_sessions: bool) -> None:
        await self._proxy.leave(keep_sessions=keep_sessions)

    async def aclose(self) -> None:
        await self._proxy.leave(keep_sessions=True)
