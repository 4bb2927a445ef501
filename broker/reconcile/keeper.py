"""Looking after the machines of this host while a broker stays: what ended, what was left undone.

It acts between the wishes of people: it starts again what ended by itself, as each machine's
restart policy says, starts what is to start with the host, ends what somebody wanted off and could
not wait for, and writes down what it sees at once. A machine that some broker is acting on is left
to that one. Only one broker at a time may run this (`runtime.keeping` holds the lock).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from broker.driver import Keeping, Provisioner
from broker.errors import BrokerError, NotFound
from broker.events import Event, Kind
from broker.model import (
    Health,
    Machine,
    MachineKey,
    MachineSpec,
    Power,
    SourceName,
    SourceStatus,
    State,
)
from broker.reconcile.loop import PAUSES, Loop
from broker.reconcile.plan import IS_ON, NEEDS_A_START, Upkeep, plan_upkeep
from broker.within import within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.clock import Clock
    from broker.driver import Driver

log = logging.getLogger(__name__)

NEW_EVERY: Final = 2.0
"""Seconds between looks for machines that were defined, and sources that were configured."""
EVERY: Final = 30.0
"""Seconds between looks at a machine of which nothing is heard."""
SETTLE: Final = 1.0
"""Seconds until a second look after a change: another process may have stored an older one."""
HESITATION: Final = 3.0
"""Seconds that a machine must have been wanted off, with nobody acting, before we do."""
STABLE: Final = 600.0
"""Seconds after which a machine that was started again has proven itself."""


class Drivers(Protocol):
    """Where drivers come from, and how what they show is stored."""

    async def driver(self, name: SourceName, *, paused: bool = False) -> Driver: ...

    async def refresh_machine(self, key: MachineKey) -> None: ...


class Stored(Protocol):
    """A row of the store."""

    @property
    def machine(self) -> Machine: ...


class Store(Protocol):
    """What is needed of the store."""

    def sources(self) -> Sequence[SourceStatus]: ...

    def machines(self) -> Sequence[Stored]: ...

    def machine(self, key: MachineKey) -> Machine: ...

    def wanted(self) -> Mapping[MachineKey, Power]: ...

    def put_wanted(self, key: MachineKey, power: Power) -> None: ...

    def add_event(self, event: Event) -> object: ...


class Reconciler(Protocol):
    """Makes one machine what is wanted of it."""

    async def reconcile(self, key: MachineKey, *, gently: bool = True, grace: float) -> Machine: ...


@dataclass(slots=True)
class _Memory:
    """What is remembered of a machine between two looks; times are of the monotonic clock.

    Attributes:
        tries: Starts since it last proved itself.
        started_at: When it was last started again.
        due_at: When it is to be started again; None when it is not.
        unwanted_since: Since when it has been wanted off with nobody acting.
    """

    state: State | None = None
    tries: int = 0
    started_at: float | None = None
    due_at: float | None = None
    unwanted_since: float | None = None


class Keeper:
    """Looks after every machine whose driver can be watched.

    Args:
        grace: Seconds a guest has to power off by itself.
        pauses: Seconds before the first, second, … start in a row; the last one repeats.
    """

    def __init__(
        self,
        store: Store,
        drivers: Drivers,
        reconciler: Reconciler,
        clock: Clock,
        *,
        grace: float,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._reconciler = reconciler
        self._clock = clock
        self._grace = grace
        self._pauses = pauses
        self._unknown = asyncio.Event()
        """A machine was heard of that is not looked after yet."""
        self._memory: dict[MachineKey, _Memory] = {}
        self._loop: Loop[MachineKey] = Loop(self.look, every=EVERY)

    async def run(self) -> None:
        """Look after them until cancelled."""
        watching: dict[SourceName, tuple[Driver, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="keeper")
            while True:
                drivers = await self._kept_drivers()
                for name, (driver, task) in list(watching.items()):
                    if drivers.get(name) is not driver or task.done():
                        task.cancel()
                        del watching[name]
                for name, driver in drivers.items():
                    if name not in watching and isinstance(driver, Keeping):
                        task = group.create_task(self._watch(name, driver), name=f"watch {name}")
                        watching[name] = driver, task
                await self._follow(drivers)
                with contextlib.suppress(TimeoutError):
                    async with within(NEW_EVERY):
                        await self._unknown.wait()
                self._unknown.clear()

    async def _kept_drivers(self) -> dict[SourceName, Driver]:
        found: dict[SourceName, Driver] = {}
        try:
            for status in await asyncio.to_thread(self._store.sources):
                if status.health is Health.PAUSED:
                    continue
                driver = await self._driver(status.name)
                if isinstance(driver, Keeping):
                    found[status.name] = driver
        except BrokerError as problem:
            log.warning("machines are not looked after for now: %s", problem)
        return found

    async def _driver(self, name: SourceName) -> Driver | None:
        try:
            return await self._drivers.driver(name, paused=True)  # it is not: that was just seen
        except BrokerError:  # its status says why
            return None

    async def _follow(self, sources: Mapping[SourceName, Driver]) -> None:
        """Look after exactly the machines that are there now."""
        try:
            stored = [row.machine for row in await asyncio.to_thread(self._store.machines)]
        except BrokerError as problem:
            log.warning("machines are not looked after for now: %s", problem)
            return
        keys = {each.key for each in stored if each.defined and each.key.source in sources}
        for gone in set(self._memory) - keys:
            del self._memory[gone]
        self._loop.set_keys(keys)

    async def _watch(self, name: SourceName, driver: Keeping) -> None:
        try:
            await driver.watch(lambda uuid: self._wake(MachineKey(name, uuid)))
        except Exception:  # a driver's bug must not end the rest; it is watched anew soon
            log.exception("watching %s failed", name)

    def _wake(self, key: MachineKey) -> None:
        if key in self._loop.keys:
            self._loop.wake(key)
        else:
            self._unknown.set()

    # -- one machine

    async def look(self, key: MachineKey) -> float | None:
        """Look at one machine and do what is due; seconds until the next look, or None."""
        driver = await self._drivers.driver(key.source)
        assert isinstance(driver, Keeping)
        if driver.is_being_switched(key.uuid):
            self._of(key).unwanted_since = None
            return SETTLE
        await self._drivers.refresh_machine(key)
        try:
            seen = await asyncio.to_thread(self._store.machine, key)
        except NotFound:
            return None
        wanted = (await asyncio.to_thread(self._store.wanted)).get(key)
        memory = self._of(key)
        before, memory.state = memory.state, seen.state
        await self._tell_of_the_end(seen, before, wanted)
        spec = await _spec(driver, key)
        if spec is None:
            return None
        is_due = before is None and spec.autostart and driver.begin_autostart(key.uuid)
        if is_due and seen.state in NEEDS_A_START:
            log.info("%s is started with this host", seen.full_name)
            await asyncio.to_thread(self._store.put_wanted, key, Power.ON)
            await self._start(key, memory)
            return SETTLE
        pause = await self._keep_up(key, seen, wanted, spec, is_new=before is None)
        return SETTLE if pause is None and before is not seen.state else pause

    async def _keep_up(
        self,
        key: MachineKey,
        seen: Machine,
        wanted: Power | None,
        spec: MachineSpec,
        *,
        is_new: bool,
    ) -> float | None:
        memory, now = self._of(key), self._clock.monotonic()
        todo = plan_upkeep(wanted, seen.state, spec.restart)
        if todo is not Upkeep.START_AGAIN:
            memory.due_at = None
        if todo is not Upkeep.FINISH_STOPPING:
            memory.unwanted_since = None
        if todo is Upkeep.START_AGAIN:
            if memory.due_at is None:
                memory.due_at = now + self._pause_before(memory, now)
                if is_new:  # it ended before anybody looked
                    await self._tell_of_the_end(seen, State.RUNNING, wanted)
            if now < memory.due_at:
                return memory.due_at - now
            log.info("%s is %s and is started again", seen.full_name, seen.state)
            await self._start(key, memory)
            return SETTLE
        if todo is Upkeep.FINISH_STOPPING:
            if memory.unwanted_since is None:
                memory.unwanted_since = now
            if (waited := now - memory.unwanted_since) < HESITATION:
                return HESITATION - waited
            log.info("%s is still %s and wanted off", seen.full_name, seen.state)
            await self._reconciler.reconcile(key, grace=self._grace)
            return SETTLE
        return None

    def _pause_before(self, memory: _Memory, now: float) -> float:
        """Seconds to wait before the next start; they begin anew once it had run for long."""
        if memory.started_at is not None and now - memory.started_at >= STABLE:
            memory.tries = 0
        return self._pauses[min(memory.tries, len(self._pauses) - 1)]

    async def _start(self, key: MachineKey, memory: _Memory) -> None:
        memory.tries += 1
        memory.due_at = None
        memory.started_at = self._clock.monotonic()
        try:
            machine = await self._reconciler.reconcile(key, grace=self._grace)
        except BrokerError as problem:  # in the events already; tried again as its policy says
            log.warning("%s", problem)
        else:
            memory.state = machine.state

    async def _tell_of_the_end(
        self, seen: Machine, before: State | None, wanted: Power | None
    ) -> None:
        """Write down that it ended by itself; who ends one on purpose writes that down."""
        # One that crashed in its first second may never have been seen running.
        crashed_unseen = before is State.STOPPED and seen.state is State.CRASHED
        if (before not in IS_ON and not crashed_unseen) or wanted is not Power.ON:
            return
        if seen.state is State.CRASHED:
            kind, text = Kind.MACHINE_CRASHED, f"{seen.full_name} crashed: {seen.reason}"
        elif seen.state in (State.STOPPED, State.SHUTDOWN) and before is not State.SHUTDOWN:
            kind, text = Kind.MACHINE_STOPPED, f"{seen.full_name} powered itself off"
        else:
            return
        event = Event(
            at=self._clock.now(),
            kind=kind,
            text=text,
            source=seen.key.source,
            key=seen.key,
            console=seen.name,
        )
        await asyncio.to_thread(self._store.add_event, event)

    def _of(self, key: MachineKey) -> _Memory:
        return self._memory.setdefault(key, _Memory())


async def _spec(driver: Keeping, key: MachineKey) -> MachineSpec | None:
    """What it was defined as; None when that cannot be read, which its state says."""
    assert isinstance(driver, Provisioner)
    try:
        return await driver.spec(key.uuid)
    except BrokerError:
        return None
