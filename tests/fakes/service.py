"""A whole `Service` in memory: it behaves, remembers what it was asked, and fails when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.errors import Ambiguous, BrokerError, NoConsole, NotFound, VmStartFailed
from broker.events import Event, Kind
from broker.findings import CertificateFacts, Step, broken, fine
from broker.model import (
    CarriedOver,
    ChannelInfo,
    FoundQemu,
    HandOverTarget,
    Health,
    Machine,
    MachineId,
    MachineKey,
    MachineSpec,
    Protocol,
    ProxyStatus,
    Session,
    SessionId,
    SourceName,
    SourceStatus,
    State,
    TcpTarget,
)
from broker.provisioning import VmDraft, VmFacts
from broker.service.port import ConsoleInfo, Exported, ExportRequest, Opened
from broker.view import CALM_SECONDS, Way
from broker.vm import drafting
from tests.fakes.configuring import FakeConfiguring
from tests.fakes.guest import FakeGuest, FakeLook

NOW = datetime(2026, 11, 21, 8, 15, tzinfo=UTC)
SECRET = "Tok" + "en0123456789" * 2


FOUND = FoundQemu(
    pid=4711,
    started_at=NOW,
    user="ana",
    program="/usr/bin/qemu-system-x86_64",
    name="by hand",
    uuid="",
    owner="hand",
    machine="",
    monitor="qmp /run/vm.sock",
    held=True,
    screen="port 127.0.0.1:5910",
    target=TcpTarget("127.0.0.1", port=5910),
    ticket="known",
    why_not="",
    command=("qemu-system-x86_64", "-spice", "port=5910,password=***"),
)
"""A QEMU that somebody started by hand."""


def key(source: str, number: int) -> MachineKey:
    return MachineKey(SourceName(source), MachineId(f"6f4e2c1a-0000-0000-0000-{number:012d}"))


def console(
    name: str,
    source: str = "here",
    number: int = 1,
    state: State = State.RUNNING,
    *,
    reason: str = "",
    stale: bool = False,
    protocol: Protocol = Protocol.SPICE,
) -> ConsoleInfo:
    local = source == "here"
    running = state is State.RUNNING
    return ConsoleInfo(
        Machine(
            key(source, number),
            name,
            state,
            hypervisor="localhost" if local else f"{source}-n{number % 7:02d}",
            hypervisor_ip="127.0.0.1" if local else f"192.0.2.{number % 250}",
            protocol=protocol,
            reason=reason,
            pid=4000 + number if local and running else None,
            started_at=NOW - timedelta(minutes=7 * number) if running else None,
            target=HandOverTarget("ctl.sock") if local else TcpTarget("192.0.2.7", tls_port=5901),
            defined=local,
        ),
        stale=stale,
        startable=local,
        seen_at=NOW - timedelta(seconds=4),
    )


def session(info: ConsoleInfo, id_: str, client: str) -> Session:
    opened = NOW - timedelta(minutes=12)
    names = ("main", "display.0", "inputs", "cursor")
    return Session(
        SessionId(id_),
        info.machine.key,
        info.machine.name,
        client,
        worker=777,
        started_at=opened,
        channels=tuple(ChannelInfo(name, opened) for name in names),
        bytes_to_client=1_843_000,
        bytes_to_server=12_400,
        label="ana",
    )


def few(connected: Mapping[str, int] | None = None) -> list[ConsoleInfo]:
    """A small set-up with one of each state that a person would meet.

    Args:
        connected: Sessions by machine name.
    """
    reason = 'QEMU stopped: "Could not access KVM kernel module"'
    rows = [
        console("build-07", "lab", 7, State.STOPPED, stale=True),
        console("db-01", "here", 2, State.STOPPED),
        console("demo", "here", 1),
        console("k8s-node-1", "lab", 3, stale=True),
        console("printer", "debug", 4, State.UNKNOWN),
        console("web-01", "here", 5),
        console("web-02", "here", 6, State.CRASHED, reason=reason),
        console("win11-desktop", "debug", 8, State.PAUSED),
    ]
    counts = connected or {}
    return [replace(row, sessions=counts.get(row.machine.name, 0)) for row in rows]


def sources() -> list[SourceStatus]:
    at = NOW - timedelta(seconds=4)
    return [
        SourceStatus(
            SourceName("debug"),
            "static",
            Health.OK,
            warnings=("consoles 2 and 5 have the same uuid: sextant, printer; the last one wins",),
            machines=2,
            listed_at=at,
        ),
        SourceStatus(
            SourceName("lab"),
            "static",
            Health.FAILED,
            problem="sources.yaml: line 14: cannot be read as YAML",
            fix="Mend that line; what was known before is kept",
            machines=2,
            listed_at=at - timedelta(minutes=12),
        ),
        SourceStatus(SourceName("here"), "local", Health.OK, machines=4, listed_at=at),
    ]


@dataclass
class FakeService(FakeConfiguring):
    """Satisfies `Service`. `asked` holds every verb with what it was given, in order."""

    rows: list[ConsoleInfo] = field(default_factory=few)
    live: list[Session] = field(default_factory=list)
    status: list[SourceStatus] = field(default_factory=sources)
    log: list[Event] = field(default_factory=list)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    """What a verb raises: name of the method to exception."""
    watching: int = 0
    """Views that are open."""
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    """What a verb waits for."""
    proxy: ProxyStatus = field(default_factory=lambda: ProxyStatus(serving=False))
    guests: FakeGuest = field(default_factory=FakeGuest)
    """Whichever machine is asked for."""
    closed: bool = False
    notes: tuple[str, ...] = ()
    shown_certificate: CertificateFacts | None = field(
        default_factory=lambda: CertificateFacts(
            "O=Console Broker,CN=console-broker",
            ("localhost", "127.0.0.1", "::1", "broker.example"),
            "O=Console Broker,CN=Console Broker CA",
            ":".join(f"{byte:02X}" for byte in range(0xA0, 0xC0)),
            NOW - timedelta(days=303),
            NOW + timedelta(days=62),
        )
    )
    steps: list[Step] = field(default_factory=list)
    """What the doctor finds."""
    diagnosed: list[MachineKey] = field(default_factory=list)
    walked: list[Step] = field(default_factory=list)
    """Whom it looked at; not in `asked`, for nobody asked."""
    facts: list[VmFacts] = field(default_factory=list)
    """What is known of the VMs of this host."""
    specs: dict[MachineKey, MachineSpec] = field(default_factory=dict)
    """What VMs were defined as; one that is not here is a plain one."""
    found: list[FoundQemu] = field(default_factory=list)
    """What runs on this host."""

    def __post_init__(self) -> None:
        FakeConfiguring.__init__(self)
        self._news: list[asyncio.Event] = []

    def changed(self) -> None:
        """Something stored changed."""
        for event in self._news:
            event.set()

    def say(self, kind: Kind, text: str, info: ConsoleInfo | None = None) -> None:
        """Add to the event log."""
        machine = info.machine if info else None
        self.log.append(
            Event(
                NOW,
                kind,
                text,
                id=len(self.log) + 1,
                source=machine.key.source if machine else "",
                key=machine.key if machine else None,
                console=machine.name if machine else "",
            )
        )

    async def _ask(self, verb: str, *what: object) -> None:
        self.asked.append((verb, *what))
        if verb in self.slow:
            await self.slow[verb].wait()
        if verb in self.failing:
            raise self.failing[verb]

    def named(self, name: str) -> ConsoleInfo:
        """The console called so."""
        return next(row for row in self.rows if row.machine.name == name)

    def _row(self, key: MachineKey) -> ConsoleInfo:
        for row in self.rows:
            if row.machine.key == key:
                return row
        raise NotFound(f"There is no console {key.uuid}", fix="broker list shows what there is")

    def _put(self, key: MachineKey, state: State) -> Machine:
        row = self._row(key)
        machine = replace(row.machine, state=state, reason="")
        self.rows[self.rows.index(row)] = replace(row, machine=machine)
        self.changed()
        return machine

    # -- the port

    async def consoles(self) -> Sequence[ConsoleInfo]:
        if "consoles" in self.failing:
            raise self.failing["consoles"]
        return list(self.rows)

    async def find(self, reference: str) -> ConsoleInfo:
        hits = [
            row
            for row in self.rows
            if reference in (row.machine.name, row.machine.full_name, row.machine.key.uuid)
        ]
        if len(hits) > 1:
            names = tuple(row.machine.full_name for row in hits)
            raise Ambiguous(f"{len(hits)} consoles are called {reference}", candidates=names)
        if hits:
            return hits[0]
        raise NotFound(f"There is no console {reference}", fix="broker list shows what there is")

    async def find_by_token(self, text: str) -> ConsoleInfo:
        await self._ask("find_by_token", text)
        return self.rows[0]

    async def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        await self._ask("export_vv", key, request)
        row = self._row(key)
        if row.machine.protocol is Protocol.NONE:
            raise NoConsole(f"{row.machine.name} has no screen")
        text = f"[virt-viewer]\ntype=spice\npassword={SECRET}\n"
        later = NOW + timedelta(minutes=2)
        return Exported(text, key, row.machine.name, "127.0.0.1", 5443, later)

    async def diagnose(self, key: MachineKey) -> AsyncGenerator[Step, None]:
        self.diagnosed.append(key)
        if "diagnose" in self.slow:
            await self.slow["diagnose"].wait()
        for step in self.steps:
            self.walked.append(step)
            yield step

    async def open_viewer(self, key: MachineKey, request: ExportRequest | None = None) -> Opened:
        await self._ask("open_viewer", key, *([request] if request else []))
        return Opened(4711, ("remote-viewer", "-"), self._row(key).machine.name)

    async def define(self, spec: MachineSpec) -> Machine:
        await self._ask("define", spec)
        row = console(spec.name, "here", 0, State.STOPPED)
        machine = replace(row.machine, key=MachineKey(SourceName("here"), spec.uuid))
        self.rows = sorted(
            [*self.rows, replace(row, machine=machine)], key=lambda row: row.machine.name
        )
        self.changed()
        return machine

    async def spec(self, key: MachineKey) -> MachineSpec:
        plain = MachineSpec(self._row(key).machine.name, key.uuid)
        return self.specs.get(key, plain)

    async def local_vms(self) -> Sequence[VmFacts]:
        if "local_vms" in self.failing:
            raise self.failing["local_vms"]
        return list(self.facts)

    async def draft(self, text: str, *, known: MachineKey | None = None) -> VmDraft:
        spec = None if known is None else await self.spec(known)
        if spec is not None and not text:
            made = drafting.present(spec)
        else:
            taken = {row.machine.name for row in self.rows if row.startable}
            made = drafting.draft(text, start=Path.cwd(), taken=taken, known=spec)
        if made.spec is None:
            return made
        return replace(made, command=("qemu-system-x86_64", "-name", f"guest={made.spec.name}"))

    async def command(self, spec: MachineSpec) -> Sequence[str]:
        await self._ask("command", spec)
        return ("qemu-system-x86_64", "-name", f"guest={spec.name}", "a b")

    async def start(self, key: MachineKey) -> Machine:
        await self._ask("start", key)
        row = self._row(key)
        if row.machine.name == "web-02":
            raise VmStartFailed(
                'web-02: QEMU stopped at once: "Could not access KVM kernel module"',
                fix="Join the kvm group, or set accel to tcg",
            )
        return self._put(key, State.RUNNING)

    async def stop(
        self,
        key: MachineKey,
        *,
        timeout: float | None = None,
        wait: bool = True,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        await self._ask("stop", key)
        if tell is not None:
            tell("pressing the power button; the guest has 30 s")
        return self._put(key, State.STOPPED) if wait else self._row(key).machine

    async def kill(self, key: MachineKey) -> Machine:
        await self._ask("kill", key)
        return self._put(key, State.STOPPED)

    async def pause(self, key: MachineKey) -> Machine:
        await self._ask("pause", key)
        return self._put(key, State.PAUSED)

    async def resume(self, key: MachineKey) -> Machine:
        await self._ask("resume", key)
        return self._put(key, State.RUNNING)

    async def reset(self, key: MachineKey) -> Machine:
        await self._ask("reset", key)
        return self._put(key, State.RUNNING)

    async def redefine(self, key: MachineKey, spec: MachineSpec) -> Machine:
        await self._ask("redefine", key, spec)
        self.changed()
        return self._row(key).machine

    async def clone(
        self,
        key: MachineKey,
        name: str,
        *,
        linked: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        if tell is not None:
            tell("copying disk 1 of 1")
            tell("copying disk 1 of 1: 47 %")
            tell("copying disk 1 of 1: 50 %")
        await self._ask("clone", key, name, linked)
        row = console(name, "here", 90, State.STOPPED)
        self.rows = sorted([*self.rows, row], key=lambda row: row.machine.name)
        self.changed()
        return row.machine

    async def reboot(self, key: MachineKey) -> Machine:
        await self._ask("reboot", key)
        return self._put(key, State.RUNNING)

    async def rename(self, key: MachineKey, name: str) -> Machine:
        await self._ask("rename", key, name)
        row = self._row(key)
        machine = replace(row.machine, name=name)
        self.rows[self.rows.index(row)] = replace(row, machine=machine)
        self.changed()
        return machine

    async def delete(self, key: MachineKey, *, keep_disks: bool = True) -> None:
        await self._ask("delete", key)
        self.rows.remove(self._row(key))
        self.changed()

    async def machine_log(
        self, key: MachineKey, *, serial: bool = False, previous: bool = False
    ) -> str:
        await self._ask("machine_log", key, serial, *(["previous"] if previous else []))
        return "TEST-GUEST READY\r\n" if serial else "qemu-system-x86_64: warning: no KVM\n"

    async def guest(self, key: MachineKey) -> FakeGuest:
        await self._ask("guest", key)
        return self.guests

    @asynccontextmanager
    async def view(
        self, key: MachineKey, way: Way = Way.USE, *, calm: float = CALM_SECONDS
    ) -> AsyncIterator[FakeLook]:
        await self._ask("view", key, way)
        self.watching += 1
        try:
            yield self.guests.screen.look()
        finally:
            self.watching -= 1

    async def scan(self) -> Sequence[FoundQemu]:
        await self._ask("scan")
        return list(self.found)

    async def adopt(self, reference: str, *, name: str | None = None) -> Machine:
        await self._ask("adopt", reference, name)
        row = console(name or reference, "here", 90)
        machine = replace(row.machine, defined=False, adopted=True)
        self.rows.append(replace(row, machine=machine, startable=False))
        self.changed()
        return machine

    async def forget(self, key: MachineKey) -> None:
        await self._ask("forget", key)
        self.rows.remove(self._row(key))
        self.changed()

    async def as_definition(self, key: MachineKey) -> CarriedOver:
        await self._ask("as_definition", key)
        return CarriedOver(await self.spec(key), ("-device foo: not carried over",))

    async def sessions(self) -> Sequence[Session]:
        return list(self.live)

    async def message(self, session: SessionId, text: str) -> None:
        await self._ask("message", session, text)

    async def disconnect(self, session: SessionId) -> None:
        await self._ask("disconnect", session)
        self.live = [one for one in self.live if one.id != session]
        self.changed()

    async def revoke(self, key: MachineKey | None) -> int:
        await self._ask("revoke", key)
        return 3

    async def sources(self) -> Sequence[SourceStatus]:
        return list(self.status)

    async def retry_source(self, name: SourceName) -> None:
        await self._ask("retry_source", name)

    async def pause_source(self, name: SourceName) -> None:
        await self._ask("pause_source", name)

    async def check_source(self, name: SourceName) -> Sequence[Step]:
        await self._ask("check_source", name)
        return [Step("list", broken("403", "Grant VM.Audit") if name == "lab" else fine("2"), 0.1)]

    async def refresh(self) -> Sequence[SourceStatus]:
        await self._ask("refresh")
        return list(self.status)

    async def events(self, *, limit: int = 200, after: int = 0) -> Sequence[Event]:
        return [event for event in self.log if event.id > after][-limit:]

    async def changes(self) -> AsyncIterator[None]:
        news = asyncio.Event()
        news.set()
        self._news.append(news)
        try:
            while True:
                await news.wait()
                news.clear()
                yield None
        finally:
            self._news.remove(news)

    async def proxy_status(self) -> ProxyStatus:
        return self.proxy

    async def certificate(self) -> CertificateFacts | None:
        await self._ask("certificate")
        self.asked.remove(("certificate",))  # nobody asked: the page wants it
        return self.shown_certificate

    async def host_proxy(self) -> ProxyStatus:
        await self._ask("host_proxy")
        self.proxy = ProxyStatus(
            True, host="127.0.0.1", tls_port=5443, pid=776, workers=(777,), ours=True
        )
        self.changed()
        return self.proxy

    async def leave_proxy(self, *, keep_sessions: bool) -> None:
        await self._ask("leave_proxy", keep_sessions)

    async def aclose(self) -> None:
        self.closed = True

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeService]:
        """What `BrokerApp` enters."""
        if "open" in self.slow:
            await self.slow["open"].wait()
        if "open" in self.failing:
            raise self.failing["open"]
        try:
            yield self
        finally:
            await self.aclose()


def refuse(what: str, fix: str = "") -> BrokerError:
    return BrokerError(what, fix=fix)
