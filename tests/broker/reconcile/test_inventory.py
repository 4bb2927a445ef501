"""Sources, last-good, and what a failure leaves alone. The store is the real one."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar, Self

import pytest

from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.config.sources_file import SourceEntry, SourcesFile
from broker.driver import Driver, DriverContext
from broker.errors import (
    BrokerError,
    ConfigError,
    NotFound,
    Refused,
    SourceDenied,
    SourceUnreachable,
    StoreError,
    UsageError,
)
from broker.events import Kind
from broker.model import (
    Ability,
    Console,
    Health,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    SourceStatus,
    State,
    TcpTarget,
)
from broker.reconcile.health import SourceHealth
from broker.reconcile.inventory import FILE_ROW, Inventory
from broker.store.store import Store

LAB, PROD = SourceName("lab"), SourceName("prod")


@dataclass
class FakeDriver:
    """A driver that shows what it is told to, or fails as it is told to."""

    type: ClassVar[str] = "fake"
    name: SourceName
    shows: list[str] = field(default_factory=list)
    fails: Exception | None = None
    closed: bool = False
    warnings: tuple[str, ...] = ()
    asked: int = 0
    shortcomings: tuple[str, ...] = ()
    can: Mapping[Ability, str] = field(default_factory=dict)

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        return cls(name)

    def abilities(self) -> Mapping[Ability, str]:
        return self.can

    async def machines(self) -> Sequence[Machine]:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return [
            Machine(
                key=MachineKey(self.name, MachineId(f"{self.name}-{each}")),
                name=each,
                state=State.UNKNOWN,
                target=TcpTarget("192.0.2.1", port=5900),
            )
            for each in self.shows
        ]

    def kept_tickets(self) -> Mapping[MachineId, str]:
        return {MachineId(f"{self.name}-{each}"): f"ticket-of-{each}" for each in self.shows}

    async def console(self, machine_id: MachineId) -> Console:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class TellingDriver(FakeDriver):
    """One that tells by itself."""

    tell: Callable[[MachineId | None], None] = field(default=lambda _: None)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def changes(self, changed: Callable[[MachineId | None], None]) -> None:
        self.tell = changed
        self.listening.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


@dataclass
class World:
    """sources.yaml, the drivers, and the store, in a test's hands."""

    store: Store
    entries: list[SourceEntry] = field(default_factory=list)
    broken: BrokerError | None = None
    version: int = 0
    drivers: dict[SourceName, FakeDriver] = field(default_factory=dict)

    def write(self, *entries: SourceEntry, broken: BrokerError | None = None) -> None:
        self.entries, self.broken = list(entries), broken
        self.version += 1

    def read(self) -> SourcesFile:
        if self.broken is not None:
            raise self.broken
        return SourcesFile(tuple(self.entries))

    def driver(self, entry: SourceEntry) -> Driver:
        if "bad" in entry.options:
            raise ConfigError(f"sources.yaml: {entry.name}.bad is not an option")
        return self.drivers.setdefault(entry.name, FakeDriver(entry.name))

    def inventory(self) -> Inventory:
        return Inventory(
            self.store,
            SystemClock(),
            read_file=self.read,
            fingerprint=lambda: str(self.version),
            make_driver=self.driver,
            time_out=5,
            every={"": 3600},
        )

    def names(self) -> list[str]:
        return [stored.machine.full_name for stored in self.store.machines()]

    def status(self, name: SourceName) -> SourceStatus:
        return next(status for status in self.store.sources() if status.name == name)


@pytest.fixture
def world(locations: Locations) -> Iterator[World]:
    store = Store.open(locations, clock=SystemClock())
    world = World(store)
    world.drivers = {
        LAB: FakeDriver(LAB, ["web", "db"]),
        PROD: FakeDriver(PROD, ["mail"]),
    }
    world.write(entry(LAB), entry(PROD))
    yield world
    store.close()


def entry(name: SourceName, **options: object) -> SourceEntry:
    return SourceEntry(name, "fake", options)


async def test_what_the_sources_show_is_listed(world: World) -> None:
    statuses = await world.inventory().refresh()
    assert world.names() == ["lab/db", "prod/mail", "lab/web"]
    assert [(status.name, status.health) for status in statuses] == [
        (LAB, Health.OK),
        (PROD, Health.OK),
    ]


async def test_tickets_are_kept_sealed_and_come_back(world: World) -> None:
    await world.inventory().refresh()
    console = world.store.kept_console(MachineKey(LAB, MachineId("lab-web")))
    assert console is not None
    assert console.ticket == "ticket-of-web"


async def test_a_source_that_fails_says_why_keeps_what_it_showed_and_stops_nobody(
    world: World,
) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.drivers[LAB].fails = SourceUnreachable("lab cannot be reached", fix="Check its url")
    world.drivers[PROD].shows = ["mail", "proxy"]
    await inventory.refresh()
    assert world.names() == ["lab/db", "prod/mail", "prod/proxy", "lab/web"]
    assert world.status(LAB).health is Health.FAILED
    assert (world.status(LAB).problem, world.status(LAB).fix) == (
        "lab cannot be reached",
        "Check its url",
    )
    assert {stored.machine.full_name for stored in world.store.machines() if stored.stale} == {
        "lab/db",
        "lab/web",
    }


async def test_a_bug_in_a_driver_stops_nobody_either(world: World) -> None:
    world.drivers[LAB].fails = ZeroDivisionError()
    await world.inventory().refresh()
    assert world.names() == ["prod/mail"]
    assert "driver broke" in world.status(LAB).problem


async def test_a_source_that_recovers_is_fresh_again_and_both_are_told(world: World) -> None:
    inventory = world.inventory()
    world.drivers[LAB].fails = SourceUnreachable("lab cannot be reached")
    await inventory.refresh()
    await inventory.refresh()
    world.drivers[LAB].fails = None
    await inventory.refresh()
    assert world.status(LAB).health is Health.OK
    assert not any(stored.stale for stored in world.store.machines())
    assert [event.kind for event in world.store.events()] == [
        Kind.SOURCE_FAILED,
        Kind.SOURCE_RECOVERED,
    ]


async def test_a_broken_edit_changes_nothing_but_the_error_that_is_shown(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.write(broken=ConfigError("sources.yaml: line 3 is not YAML", fix="Mend it"))
    statuses = await inventory.refresh()
    assert world.names() == ["lab/db", "prod/mail", "lab/web"]
    assert [status.name for status in statuses if status.health is Health.FAILED] == [FILE_ROW]
    assert not any(stored.stale for stored in world.store.machines())


async def test_mending_the_file_takes_the_error_away(world: World) -> None:
    inventory = world.inventory()
    world.write(broken=ConfigError("sources.yaml: line 3 is not YAML"))
    await inventory.refresh()
    world.write(entry(LAB))
    statuses = await inventory.refresh()
    assert [status.name for status in statuses] == [LAB]


async def test_a_fresh_process_that_finds_the_file_broken_keeps_what_the_last_one_knew(
    world: World,
) -> None:
    await world.inventory().refresh()
    world.write(broken=ConfigError("sources.yaml: line 3 is not YAML"))
    await world.inventory().refresh()
    assert {"lab/db", "prod/mail", "lab/web"} <= set(world.names())


async def test_options_that_became_wrong_fail_that_source_and_delete_nothing(
    world: World,
) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.write(entry(LAB, bad="yes"), entry(PROD))
    await inventory.refresh()
    assert world.names() == ["lab/db", "prod/mail", "lab/web"]
    assert "not an option" in world.status(LAB).problem
    assert world.status(PROD).health is Health.OK


async def test_a_source_taken_out_of_the_file_goes_with_its_machines(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.write(entry(PROD))
    await inventory.refresh()
    assert world.names() == ["prod/mail"]
    assert world.drivers[LAB].closed


async def test_what_is_gone_from_a_complete_listing_is_forgotten(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.drivers[LAB].shows = ["web"]
    await inventory.refresh_source(LAB)
    assert world.names() == ["prod/mail", "lab/web"]


async def test_a_listing_that_shows_nothing_new_wakes_nobody(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    before = world.store.data_version()
    await inventory.refresh()
    assert world.store.data_version() == before


async def test_an_unknown_source_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.inventory().driver(SourceName("nowhere"))


async def test_a_file_that_was_broken_from_the_start_still_leaves_the_local_source(
    world: World,
) -> None:
    world.write(broken=ConfigError("sources.yaml: line 3 is not YAML"))
    here = SourceName("here")
    world.drivers[here] = FakeDriver(here, ["demo"])
    await world.inventory().refresh()
    assert world.names() == ["here/demo"]
    assert world.status(here).health is Health.OK


async def test_a_store_that_was_begun_anew_is_filled_again(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    world.store.put_configured([])
    world.store.put_file_fingerprint("")
    await inventory.refresh()
    assert world.names() == ["lab/db", "prod/mail", "lab/web"]


# -- health, back-off, pausing


async def test_a_source_that_refused_our_credentials_is_not_asked_again_by_itself(
    world: World,
) -> None:
    world.drivers[LAB].fails = SourceDenied("lab refuses the password")
    inventory = world.inventory()
    await inventory.refresh()
    status = world.status(LAB)
    assert status.error == "source-denied"
    assert status.retry_at is not None
    assert status.since is not None
    assert status.retry_at >= status.since + timedelta(seconds=60)
    asked = world.drivers[LAB].asked
    await inventory.refresh()
    with pytest.raises(SourceDenied):
        await world.inventory().refresh_source(LAB)  # another process
    assert world.drivers[LAB].asked == asked
    assert world.status(PROD).health is Health.OK
    world.drivers[LAB].fails = None
    await inventory.retry(LAB)
    assert world.status(LAB).health is Health.OK
    assert world.status(LAB).retry_at is None


async def test_sources_yaml_written_anew_ends_the_waiting(world: World) -> None:
    world.drivers[LAB].fails = SourceDenied("lab refuses the password")
    inventory = world.inventory()
    await inventory.refresh()
    asked = world.drivers[LAB].asked
    world.write(*world.entries)
    await inventory.refresh()
    assert world.drivers[LAB].asked == asked + 1


async def test_pauses_grow_and_a_source_may_ask_for_longer(world: World) -> None:
    health = SourceHealth(world.store, SystemClock())
    plain = SourceUnreachable("gone")
    assert [health.pause(LAB, plain) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert health.pause(PROD, SourceUnreachable("busy", retry_after=90)) == 90
    assert health.pause(PROD, SourceDenied("no")) == 120


async def test_a_paused_source_is_left_alone_and_its_machines_are_kept(world: World) -> None:
    inventory = world.inventory()
    await inventory.refresh()
    await inventory.pause(LAB)
    asked = world.drivers[LAB].asked
    await inventory.refresh()
    assert world.drivers[LAB].asked == asked
    assert world.status(LAB).health is Health.PAUSED
    assert all(
        stored.stale == (stored.machine.key.source == LAB) for stored in world.store.machines()
    )
    assert "lab/web" in world.names()
    await inventory.retry(LAB)
    assert world.status(LAB).health is Health.OK
    assert not any(stored.stale for stored in world.store.machines())


async def test_a_paused_source_is_asked_for_nothing_else_either(world: World) -> None:
    inventory, other = world.inventory(), world.inventory()
    await inventory.refresh()
    await other.refresh()
    await inventory.pause(LAB)
    assert world.drivers[LAB].closed
    for each in (inventory, other):  # another process, such as a relay worker
        with pytest.raises(Refused, match="lab is paused") as caught:
            await each.driver(LAB)
        assert "broker sources resume lab" in caught.value.fix
        with pytest.raises(Refused):
            await each.refresh_machine(MachineKey(LAB, MachineId("lab-web")))
    await inventory.driver(PROD)
    await inventory.driver(LAB, paused=True)
    await inventory.retry(LAB)
    await other.driver(LAB)


async def test_this_host_cannot_be_paused(world: World) -> None:
    here = SourceName("here")
    world.drivers[here] = FakeDriver(here)
    world.write(*world.entries, SourceEntry(here, "local"))
    inventory = world.inventory()
    with pytest.raises(UsageError, match="this host"):
        await inventory.pause(here)


async def test_a_source_that_tells_is_no_longer_heard_once_somebody_paused_it(
    world: World,
) -> None:
    teller = TellingDriver(LAB, ["web"])
    world.drivers[LAB] = teller
    inventory, other = world.inventory(), world.inventory()
    await other.refresh()
    running = asyncio.ensure_future(inventory.run())
    try:
        async with asyncio.timeout(60):
            await teller.listening.wait()
            await other.pause(LAB)
            await teller.left.wait()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_source_that_is_short_of_something_is_degraded(world: World) -> None:
    driver = world.drivers[LAB]
    driver.shortcomings = ("VM.Console is missing",)
    driver.can = {Ability.START: "", Ability.PAUSE: "It cannot"}
    inventory = world.inventory()
    await inventory.refresh()
    status = world.status(LAB)
    assert status.health is Health.DEGRADED
    assert status.problem == "VM.Console is missing"
    assert status.abilities == driver.can
    assert world.names()


async def test_what_a_source_tells_is_looked_at_without_waiting_for_its_turn(world: World) -> None:
    teller = TellingDriver(LAB, ["web"])
    world.drivers[LAB] = teller
    inventory = world.inventory()
    running = asyncio.ensure_future(inventory.run())
    try:
        async with asyncio.timeout(60):
            await teller.listening.wait()
            teller.shows.append("new")
            teller.tell(None)
            while "lab/new" not in world.names():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])


@dataclass
class HangingDriver(FakeDriver):
    """One that answers nothing until it is closed, as one does that cannot be reached."""

    asking: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def machines(self) -> Sequence[Machine]:
        self.asking.set()
        await self.closing.wait()
        raise SourceUnreachable("lab was left while it was asked")

    async def aclose(self) -> None:
        self.closing.set()


@pytest.mark.parametrize("then", ["taken away", "paused"])
async def test_a_source_that_fails_too_late_is_not_told_of(world: World, then: str) -> None:
    world.drivers[LAB] = hanging = HangingDriver(LAB)
    inventory = world.inventory()
    asking = asyncio.ensure_future(inventory.refresh())
    await hanging.asking.wait()
    if then == "paused":
        await inventory.pause(LAB)
    else:
        world.write(entry(PROD))
        await inventory.read_file()
    await asking
    found = {status.name: status.health for status in world.store.sources()}
    kept = {LAB: Health.PAUSED} if then == "paused" else {}
    assert found == {PROD: Health.OK, **kept}


async def test_a_store_that_cannot_be_used_for_a_while_does_not_end_the_looking(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.reconcile.inventory.FILE_EVERY", 0.01)
    put, tries, read = world.store.put_configured, [StoreError("The disk is full")], asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail_once(sources: Sequence[tuple[SourceName, str]]) -> None:
        if tries:
            raise tries.pop()
        put(sources)
        loop.call_soon_threadsafe(read.set)

    monkeypatch.setattr(world.store, "put_configured", fail_once)
    running = asyncio.ensure_future(world.inventory().run())
    reading = asyncio.ensure_future(read.wait())
    await asyncio.wait([running, reading], timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, reading):
        task.cancel()
    await asyncio.wait([running, reading])
    assert read.is_set()


async def test_a_source_that_is_taken_away_while_somebody_waits_for_it_is_not_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drivers[LAB] = hanging = HangingDriver(LAB)
    inventory = world.inventory()
    first = asyncio.ensure_future(inventory.refresh_source(LAB))
    await hanging.asking.wait()

    async def seen(_: SourceName) -> None: ...

    monkeypatch.setattr(inventory, "_configured_source", seen)
    second = asyncio.ensure_future(inventory.refresh_source(LAB))
    await asyncio.sleep(0)
    world.write(entry(PROD))
    await inventory.read_file()
    failures = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(each) for each in failures] == [SourceUnreachable, NotFound]


def test_a_clock_that_was_set_back_does_not_lengthen_a_pause(world: World) -> None:
    health, now = SourceHealth(world.store, SystemClock()), SystemClock().now()
    refused = SourceStatus(LAB, "fake", Health.FAILED, problem="No", error=SourceDenied.code)
    world.store.put_source_status(replace(refused, retry_at=now + timedelta(minutes=15)))
    with pytest.raises(SourceDenied):
        health.may_ask(LAB)
    world.store.put_source_status(replace(refused, retry_at=now + timedelta(days=1)))
    assert health.may_ask(LAB)
