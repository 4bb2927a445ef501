"""A full refresh of many sources into the store: time, memory, and what the event loop notices.

Twenty sources of a made-up driver that needs no time of its own; what is measured is the house:
comparing, storing, and keeping the loop free. Each case runs in a process of its own.
"""

from __future__ import annotations

import asyncio
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
TICK = 0.005


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
        from broker.model import Machine, MachineId, MachineKey, State, TcpTarget

        self._look += 1
        changed = range(self._look, self._count, 100) if self._look > 1 else ()
        paused = frozenset(changed)
        found = []
        for number in range(self._count):
            found.append(
                Machine(
                    MachineKey(self._name, MachineId(f"00000000-0000-4000-8000-{number:012d}")),
                    f"vm-{number}",
                    State.PAUSED if number in paused else State.RUNNING,
                    hypervisor=f"node-{number % 32}",
                    target=TcpTarget("192.0.2.1", port=5900),
                )
            )
            if number % 200 == 199:
                await asyncio.sleep(0)  # as pages of an API would
        return found

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

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            delays.append(time.perf_counter() - began - TICK)

    times = []
    ticking = asyncio.ensure_future(tick())
    for _ in range(rounds + 1):
        began = time.perf_counter()
        await inventory.refresh()
        times.append(time.perf_counter() - began)
    ticking.cancel()
    assert sum(status.machines for status in store.sources()) == total
    store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"first": times[0], "again": times[1:], "delays": delays, "kib": peak - before}


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The table, and what it was made of, in seconds."""
    rows, notes, samples = [], [], {}
    for total in COUNTS:
        home = work / f"refresh-{total}"
        home.mkdir()
        least = str(min(rounds, ROUNDS_MAX))
        told = subprocess.run(
            [sys.executable, "-m", "bench.refresh", str(home), str(total), least],
            env=clean_env(PYTHONPATH=str(Path(__file__).parent.parent)),
            check=True,
            capture_output=True,
            text=True,
            timeout=900,
        )
        found = json.loads(told.stdout)
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
    how = f"{SOURCES} sources refreshed at once, in one process, each in a thread of the store's."
    return [Part("A full refresh of all sources", how, rows, notes)], samples


if __name__ == "__main__":
    print(json.dumps(asyncio.run(one(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
