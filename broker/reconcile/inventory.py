"""What the sources show, kept in the store; and the drivers that are asked.

A failure of one source marks it failed with its reason and stops nobody else. What is gone from a
complete, error-free listing is forgotten; what a failing source showed before is kept and marked
stale. A sources.yaml that cannot be read changes nothing but the error that is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.driver import SingleLook
from broker.errors import (
    BrokerError,
    NotFound,
    Refused,
    SourceUnreachable,
    StoreError,
    UsageError,
)
from broker.model import LOCAL_TYPE, Health, Machine, MachineKey, SourceName, SourceStatus
from broker.reconcile.health import HealthStore, SourceHealth
from broker.reconcile.hearing import Hearing
from broker.reconcile.loop import Loop
from broker.within import within

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.config.sources_file import SourceEntry, SourcesFile
    from broker.driver import Driver

log = logging.getLogger(__name__)

FILE_ROW = SourceName("sources.yaml")
"""The name under which a sources.yaml that cannot be read is shown among the sources."""

FILE_EVERY = 1.0
"""Seconds between looks at sources.yaml's modification time."""

TOLD_EVERY = 300.0
"""Seconds between looks at a source that tells by itself what changes."""


class InventoryStore(HealthStore, Protocol):
    """What is needed of the store."""

    def put_configured(self, sources: Sequence[tuple[SourceName, str]]) -> None: ...

    def put_machine(self, machine: Machine) -> bool: ...

    def put_file_fingerprint(self, fingerprint: str) -> None: ...

    def file_fingerprint(self) -> str: ...


class Inventory:
    """Sources as configured, their drivers, and what they show.

    Args:
        read_file: Parses sources.yaml; ConfigError when it cannot.
        fingerprint: Something cheap that changes when sources.yaml does.
        make_driver: The driver of one entry; ConfigError when its options are wrong.
        time_out: Seconds one source may take to list its machines.
        every: Seconds between looks at a source nobody wakes, by type; `""` is the default.
    """

    def __init__(
        self,
        store: InventoryStore,
        clock: Clock,
        *,
        read_file: Callable[[], SourcesFile],
        fingerprint: Callable[[], str],
        make_driver: Callable[[SourceEntry], Driver],
        time_out: float,
        every: Mapping[str, float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._read_file = read_file
        self._fingerprint = fingerprint
        self._make_driver = make_driver
        self._time_out = time_out
        self._every = every
        self._entries: dict[SourceName, SourceEntry] = {}
        self._drivers: dict[SourceName, Driver] = {}
        self._seen_fingerprint: str | None = None
        self._configured = False
        self._read_at = -FILE_EVERY
        self._reading = asyncio.Lock()
        self._looking: dict[SourceName, asyncio.Lock] = {}
        self._health = SourceHealth(store, clock)
        self._pauses: dict[SourceName, float] = {}
        self._hearing = Hearing(self.wake, self.refresh_machine)
        self._loop: Loop[SourceName] = Loop(
            self._look, every=every.get("", 30.0), pause_after=self._pauses.get
        )

    async def refresh(self) -> Sequence[SourceStatus]:
        """Read sources.yaml if it changed, ask every source, store what they show."""
        await self.read_file()
        async with asyncio.TaskGroup() as group:
            for name in self._entries:
                group.create_task(self._refresh_quietly(name), name=f"refresh {name}")
        return await asyncio.to_thread(self._store.sources)

    async def refresh_source(self, name: SourceName) -> None:
        """Ask one source, store what it shows.

        Raises:
            NotFound: No such source is configured.
            BrokerError: It failed; its status says so too.
        """
        await self._configured_source(name)
        async with self._looking.setdefault(name, asyncio.Lock()):
            await self._list(name)

    async def retry(self, name: SourceName) -> None:
        """Ask a source that is paused or was backed off from, since somebody says it is mended.

        Raises:
            NotFound: No such source is configured.
            BrokerError: It failed (again).
        """
        await self._configured_source(name)
        await asyncio.to_thread(self._health.set_paused, name, paused=False)
        await asyncio.to_thread(self._health.begin_anew, [name])
        await self._give_back(name)
        await self.refresh_source(name)

    async def pause(self, name: SourceName) -> None:
        """Leave a source alone until `retry`; what is known of it is kept.

        Raises:
            NotFound: No such source is configured.
        """
        await self._configured_source(name)
        if self._entries[name].type == LOCAL_TYPE:
            raise UsageError(
                f"{name} is this host, which is not asked over any network",
                fix="Only sources elsewhere can be paused",
            )
        await asyncio.to_thread(self._health.set_paused, name, paused=True)
        await self._give_back(name)

    async def _give_back(self, name: SourceName) -> None:
        """Close what is open towards a source; asking it makes its driver anew."""
        if (driver := self._drivers.pop(name, None)) is not None:
            await driver.aclose()

    async def _configured_source(self, name: SourceName) -> None:
        await self.read_file()
        self._entry(name)

    def _entry(self, name: SourceName) -> SourceEntry:
        if (entry := self._entries.get(name)) is None:
            raise NotFound(f"There is no source called {name}", fix="See: broker sources")
        return entry

    async def refresh_machine(self, key: MachineKey) -> None:
        """Store how one machine is now, without a look at the others where its driver can do so.

        Raises:
            BrokerError: The source failed.
        """
        driver = await self.driver(key.source)
        if not isinstance(driver, SingleLook):
            return await self.refresh_source(key.source)
        async with self._looking.setdefault(key.source, asyncio.Lock()):
            try:
                async with within(self._time_out):
                    machine = await driver.machine(key.uuid)
                await asyncio.to_thread(self._store.put_machine, machine)
            except (NotFound, TimeoutError):  # gone, or new: its source's listing says which
                return await self._list(key.source)

    async def driver(self, name: SourceName, *, paused: bool = False) -> Driver:
        """The driver of a source.

        Args:
            paused: Also when somebody said that it is to be left alone.

        Raises:
            NotFound: No such source is configured.
            ConfigError: Its options are wrong.
            Refused: It is paused.
        """
        if not paused:
            await self._see_that_it_is_not_paused(name)
        made = self._drivers.get(name)
        if made is not None and self._clock.monotonic() - self._read_at < FILE_EVERY:
            return made  # sources.yaml was looked at just now
        try:
            await self.read_file()
        except StoreError as problem:  # what was read of the file is known all the same
            if name not in self._entries:
                raise
            log.info("%s", problem)
        return self._driver(name)

    async def run(self) -> None:
        """Keep looking until cancelled: at the file every second, at each source in its turn."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="inventory loop")
            said = ""
            try:
                while True:
                    try:
                        await self._follow(group)
                        said = ""
                    except BrokerError as problem:  # the store may be usable again in a second
                        if said != problem.what:
                            log.warning("sources are not followed for now: %s", problem)
                        said = problem.what
                    await asyncio.sleep(FILE_EVERY)
            finally:
                self._hearing.forget()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        await self.read_file()
        self._loop.set_keys(self._entries)
        await self._wake_mended()
        await self._let_paused_be()
        fit = {
            name: driver
            for name, driver in self._drivers.items()
            if name in self._entries and name not in self._pauses
        }
        self._hearing.follow(group, fit, self._drivers)

    async def _see_that_it_is_not_paused(self, name: SourceName) -> None:
        entry = self._entries.get(name)
        if entry is not None and entry.type == LOCAL_TYPE:
            return  # it never is, and it is asked all the time
        status = await asyncio.to_thread(self._health.status, name)
        if status is not None and status.health is Health.PAUSED:
            raise Refused(
                f"{name} is paused, so it is not asked for anything",
                reason="source-paused",
                fix=f"Go on with it: broker sources resume {name}",
            )

    async def _let_paused_be(self) -> None:
        """Somebody, in whatever process, paused a source that we hear."""
        if not self._hearing:
            return
        for status in await asyncio.to_thread(self._store.sources):
            if status.health is Health.PAUSED:
                await self._give_back(status.name)

    async def _wake_mended(self) -> None:
        """Somebody asked, in whatever process, to try a source anew."""
        if not self._pauses:
            return
        for status in await asyncio.to_thread(self._store.sources):
            if status.name in self._pauses and status.retry_at is None:
                del self._pauses[status.name]
                self._loop.wake(status.name)

    def wake(self, name: SourceName) -> None:
        """Look at that source soon."""
        self._loop.wake(name)

    async def aclose(self) -> None:
        """Give back all drivers."""
        drivers, self._drivers = self._drivers, {}
        for driver in drivers.values():
            await driver.aclose()

    # -- sources.yaml

    async def read_file(self) -> None:
        """Read sources.yaml when it is not what was read last; a broken one changes nothing.

        It is read again, too, when the store has forgotten what it said: a damaged database was
        set aside and a new one begun.
        """
        async with self._reading:
            fingerprint = await asyncio.to_thread(self._fingerprint)
            self._read_at = self._clock.monotonic()
            if fingerprint == self._seen_fingerprint and not await self._store_forgot():
                return
            try:
                file = await asyncio.to_thread(self._read_file)
            except BrokerError as problem:
                log.warning("%s", problem)
                await asyncio.to_thread(self._show_broken_file, problem)
                if self._seen_fingerprint is None:
                    await self._start_from_last_good()
                self._seen_fingerprint = fingerprint
                return
            entries = {entry.name: entry for entry in file.entries}
            stale = [name for name, entry in self._entries.items() if entries.get(name) != entry]
            self._entries = entries
            for name in stale:
                await self._give_back(name)
            await asyncio.to_thread(self._write_configured, file, fingerprint)
            self._pauses.clear()
            self._seen_fingerprint = fingerprint
            self._loop.set_keys(self._entries)
            self._loop.wake_all()

    async def _store_forgot(self) -> bool:
        return self._configured and await asyncio.to_thread(self._store.file_fingerprint) == ""

    def _write_configured(self, file: SourcesFile, fingerprint: str) -> None:
        names = [entry.name for entry in file.entries]
        self._store.put_configured([(entry.name, entry.type) for entry in file.entries])
        if self._store.file_fingerprint() != fingerprint:
            self._health.begin_anew(names)  # what was wrong may have been mended there
        self._store.put_file_fingerprint(fingerprint)
        self._configured = True

    def _show_broken_file(self, problem: BrokerError) -> None:
        self._store.put_source_status(
            SourceStatus(
                name=FILE_ROW,
                type="file",
                health=Health.FAILED,
                problem=problem.what,
                fix=problem.fix,
            )
        )

    async def _start_from_last_good(self) -> None:
        """The file was broken from the start: what needs no options of it goes on."""
        from broker.config.sources_file import default_entries

        self._entries = {entry.name: entry for entry in default_entries()}
        for entry in self._entries.values():
            if await asyncio.to_thread(self._health.status, entry.name) is None:
                status = SourceStatus(name=entry.name, type=entry.type, health=Health.NEW)
                await asyncio.to_thread(self._store.put_source_status, status)

    # -- one source

    def _driver(self, name: SourceName) -> Driver:
        if (driver := self._drivers.get(name)) is not None:
            return driver
        driver = self._drivers[name] = self._make_driver(self._entry(name))
        return driver

    async def _refresh_quietly(self, name: SourceName) -> None:
        async with self._looking.setdefault(name, asyncio.Lock()):
            try:
                await self._list(name)
            except BrokerError as problem:
                log.info("%s: %s", name, problem)
            except Exception:  # a driver's bug must not stop the other sources
                log.exception("listing %s failed", name)

    async def _look(self, name: SourceName) -> float | None:
        async with self._looking.setdefault(name, asyncio.Lock()):
            if name not in self._entries:
                return None
            await self._list(name)
            if self._hearing.hears(name):
                return TOLD_EVERY
            return self._every.get(self._entries[name].type)

    async def _list(self, name: SourceName) -> None:
        """One complete listing into the store.

        Raises:
            BrokerError: The source failed; its status says so and its machines are marked stale.
        """
        entry = self._entry(name)
        if not await asyncio.to_thread(self._health.may_ask, name):
            return
        began = self._clock.monotonic()
        try:
            driver = self._driver(name)
            try:
                async with within(self._time_out):
                    machines = await driver.machines()
            except TimeoutError as exc:
                raise SourceUnreachable(
                    f"{name} did not list its machines within {self._time_out:g} seconds",
                    fix="Check the way to it, or raise sources.timeout",
                ) from exc
        except BrokerError as problem:
            await self._fail(entry, problem)
            raise
        except Exception as bug:
            broke = f"The {entry.type} driver broke: {type(bug).__name__}"
            await self._fail(entry, BrokerError(broke, fix="Please report it with the log"))
            raise
        took = self._clock.monotonic() - began
        await asyncio.to_thread(self._health.listed, entry, driver, machines, took)
        self._pauses.pop(name, None)

    async def _fail(self, entry: SourceEntry, problem: BrokerError) -> None:
        if self._entries.get(entry.name) != entry:
            return  # sources.yaml changed while it was asked
        pause = self._pauses[entry.name] = self._health.pause(entry.name, problem)
        await asyncio.to_thread(self._health.failed, entry, problem, pause)
