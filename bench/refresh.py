"""A full refresh of many sources into the store: time, memory, and what the event loop notices.

Twenty sources of a made-up driver that needs no time of its own; what is measured is the house:
comparing, storing, and keeping the loop free. Each case runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from bench.measure import clean_env, summarise
from bench.report import Part, Row

COUNTS = (5_000, 50_000)
SOURCES = 20
ROUNDS_MAX = 5
PAINTED = 10_000
"""Machines in the case with the interface."""
TICK = 0.005
FRAME = 1 / 60
REST = 1.0
"""Seconds between two refreshes with the interface: it paints what has changed meanwhile."""
PATIENCE = 120.0


class MadeUp:
    """A source with so many machines; every look after the first shows one of a hundred changed."""

    type: ClassVar[str] = "made-up"
    warnings: tuple[str, ...] = ()

    def __init__(self, name: Any, count: int) -> None:
        self._name, self._count, self._look = name, count, 0

    @classmethod
    def from_options(cls, name: Any, options: Mapping[str, object], context: Any) -> Self:
        return cls(name, int(str(options["count"])))

    async def machines(self) -> Sequence[Any]:
        """Made in a thread, as drivers make them of what an API says."""
        return await asyncio.to_thread(self._machines)

    def _machines(self) -> list[Any]:
        from broker.model import Machine, MachineId, MachineKey, State, TcpTarget

        self._look += 1
        changed = range(self._look, self._count, 100) if self._look > 1 else ()
        paused = frozenset(changed)
        return [
            Machine(
                MachineKey(self._name, MachineId(f"00000000-0000-4000-8000-{number:012d}")),
                f"vm-{number}",
                State.PAUSED if number in paused else State.RUNNING,
                hypervisor=f"node-{number % 32}",
                target=TcpTarget("192.0.2.1", port=5900),
            )
            for number in range(self._count)
        ]

    async def console(self, machine_id: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing."""


async def one(home: Path, total: int, rounds: int) -> dict[str, Any]:
    """In the process of the case: seconds of each refresh, delays of the loop, peak of memory."""
    from broker.clock import SystemClock
    from broker.config.locations import Locations
    from broker.config.sources_file import SourceEntry, SourcesFile
    from broker.model import SourceName
    from broker.reconcile.inventory import Inventory
    from broker.store.store import Store

    locations = Locations.from_env({"BROKER_HOME": str(home)})
    locations.prepare()
    store = Store.open(locations, clock=SystemClock())
    entries = tuple(
        SourceEntry(SourceName(f"s{n:02d}"), "made-up", {"count": str(total // SOURCES)})
        for n in range(SOURCES)
    )
    inventory = Inventory(
        store,
        SystemClock(),
        read_file=lambda: SourcesFile(entries),
        fingerprint=lambda: "1",
        make_driver=lambda entry: MadeUp(entry.name, int(str(entry.options["count"]))),
        time_out=600,
        every={"": 3600},
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    delays: list[float] = []
    times = []
    ticking = asyncio.ensure_future(_tick(delays))
    for _ in range(rounds + 1):
        began = time.perf_counter()
        await inventory.refresh()
        times.append(time.perf_counter() - began)
    ticking.cancel()
    assert sum(status.machines for status in store.sources()) == total
    store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"first": times[0], "again": times[1:], "delays": delays, "kib": peak - before}


async def _tick(delays: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK)
        delays.append(time.perf_counter() - began - TICK)


async def painted(home: Path, total: int, rounds: int) -> dict[str, Any]:
    """As `one`, with the interface in the process as it is for a person, on a screen of its own."""
    from broker.clock import SystemClock
    from broker.config.locations import Locations
    from broker.runtime import wiring
    from tui.__main__ import GIVE_WAY_SECONDS
    from tui.app import BrokerApp

    locations = Locations.from_env({"BROKER_HOME": str(home)})
    locations.prepare()
    entry = "- source: s{:02d}\n  type: made-up\n  count: '{}'\n"
    text = "".join(entry.format(number, total // SOURCES) for number in range(SOURCES))
    locations.sources_yaml.write_text(text)
    locations.sources_yaml.chmod(0o600)
    (locations.config_dir / "broker.yaml").write_text("sources:\n  refresh: 86400\n")
    names = vars(wiring)
    ours = names["driver_class"]
    names["driver_class"] = lambda kind: MadeUp if kind == MadeUp.type else ours(kind)
    sys.setswitchinterval(GIVE_WAY_SECONDS)
    gc.disable()
    app = BrokerApp(wiring.open_service, now=SystemClock().now)
    delays: list[float] = []
    times = []
    async with app.run_test(size=(140, 45)), wiring.open_service() as service:
        await service.refresh()
        async with asyncio.timeout(PATIENCE):
            while len(app.catalog.order) < total:  # noqa: ASYNC110 - it is painted when it is
                await asyncio.sleep(REST)
        gc.freeze()
        await asyncio.sleep(REST)
        ticking = asyncio.ensure_future(_tick(delays))
        for _ in range(rounds):
            began = time.perf_counter()
            await service.refresh()
            times.append(time.perf_counter() - began)
            await asyncio.sleep(REST)  # what has changed is read and painted
        ticking.cancel()
    return {"again": times, "delays": delays}


def _alone(home: Path, what: str, total: int, rounds: int) -> dict[str, Any]:
    """One case, in a process of its own."""
    home.mkdir()
    told = subprocess.run(
        [sys.executable, "-m", "bench.refresh", str(home), what, str(total), str(rounds)],
        env=clean_env(PYTHONPATH=str(Path(__file__).parent.parent), BROKER_HOME=str(home)),
        check=True,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return dict(json.loads(told.stdout.splitlines()[-1]))


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The table, and what it was made of, in seconds."""
    rows, notes, samples = [], [], {}
    rounds = min(rounds, ROUNDS_MAX)
    for total in COUNTS:
        found = _alone(work / f"refresh-{total}", "one", total, rounds)
        again = [float(each) for each in found["again"]]
        late = [float(each) for each in found["delays"]]
        samples[f"refresh {total} again"] = again
        samples[f"refresh {total} loop"] = late
        rows += [
            Row(f"{total:,} machines, 1 of 100 changed", summarise(again)),
            Row(f"{total:,} machines: the event loop is late by", summarise(late)),
        ]
        notes.append(
            f"{total:,} machines: the first listing, into an empty store, took "
            f"{found['first']:.1f} s; memory grew by {found['kib'] / 1024:.0f} MB at its peak."
        )
    found = _alone(work / "painted", "painted", PAINTED, rounds)
    late = [float(each) for each in found["delays"]]
    samples["refresh painted loop"] = late
    rows += [
        Row(f"{PAINTED:,} machines in the interface", summarise(list(map(float, found["again"])))),
        Row(f"{PAINTED:,} machines in the interface: its loop is late by", summarise(late)),
    ]
    missed = sum(each > FRAME for each in late)
    notes.append(
        f"In the interface, with {PAINTED:,} machines listed, its loop was late by more than a "
        f"frame (1/60 s) {missed} times in {len(late):,}, and by {max(late) * 1000:.0f} ms at most."
    )
    how = f"{SOURCES} sources refreshed at once, in one process, each in a thread of the store's."
    return [Part("A full refresh of all sources", how, rows, notes)], samples


if __name__ == "__main__":
    case = {"one": one, "painted": painted}[sys.argv[2]]
    print(json.dumps(asyncio.run(case(Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])))))
