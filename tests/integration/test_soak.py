"""Hours of people coming and going, some of them badly behaved: nothing may grow.

SOAK_SECONDS says for how long; `make soak` takes an hour for each of the two: the proxy by itself,
and all that `broker serve` is, supervisor, relay workers and store.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.model import LinkPolicy, WhenOccupied
from tests.adversary.draw import Attack
from tests.adversary.link import Way, assault
from tests.adversary.machines import Field, Guarded, field_of, sees_a_picture
from tests.adversary.trial import siege
from tests.integration.house import House, housed

pytestmark = pytest.mark.qemu

SECONDS = float(os.environ.get("SOAK_SECONDS", "180"))
SETTLING = 0.25
"""The part of that time after which everything has the size that it keeps."""
GROWTH_MAX = 4 * 1024 * 1024
"""Of memory in use; what the allocator keeps for later, 10 to 25 MB here, is given back first."""
KEPT_MAX = 16 * 1024 * 1024
"""Of a process that cannot be asked to give back what its allocator keeps."""
STORE_MAX = 2 * 5 + 1
"""SQLAlchemy's pool keeps five connections, and one more asks whether anybody wrote."""
THREADS_MAX = (os.cpu_count() or 1) + 4 + 2
"""What asyncio's pool may have, the main one, and one that a library brings."""


@dataclass(frozen=True)
class Held:
    """What this process, the proxy's, and the machines hold while nobody is connected."""

    descriptors: int
    tasks: int
    resident: int
    of_machines: int

    @classmethod
    def now(cls, places: list[Field]) -> Held:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        pids = [place.machine.qemu.process.pid for place in places]
        return cls(
            _descriptors("self"),
            len(asyncio.all_tasks()),
            _resident("self"),
            sum(_descriptors(pid) for pid in pids),
        )


def _descriptors(pid: int | str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _resident(pid: int | str) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _threads(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


async def _people(place: Field, end: float) -> int:
    """Come, look and leave until then; every fifth is an adversary. The count of sessions."""
    loop, seed, count = asyncio.get_running_loop(), secrets.token_hex(4), 0
    assert isinstance(place, Guarded)
    while loop.time() < end:
        await sees_a_picture(place.way())
        count += 1
        if count % 5 == 0:
            await siege(place, seed, 1, seconds=10, first=count)
        place.rig.gate.notices.clear()
        place.rig.gate.joined.clear()
    return count


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_nothing_grows_while_people_come_and_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    loop = asyncio.get_running_loop()
    async with field_of("hand-over", tmp_path / "a") as one, field_of("tls", tmp_path / "b") as two:
        places = [one, two]
        counts = []
        helds = []
        for part in (SETTLING, 1 - SETTLING):
            end = loop.time() + SECONDS * part
            counts += await asyncio.gather(*(_people(place, end) for place in places))
            await asyncio.sleep(1)  # sessions that were closed are over
            helds.append(Held.now(places))
    settled, last = helds
    with capsys.disabled():
        print(f"\n{sum(counts)} sessions in {SECONDS:g} s: {settled}, then {last}")  # noqa: T201
    assert last.descriptors <= settled.descriptors
    assert last.of_machines <= settled.of_machines
    assert last.tasks <= settled.tasks
    assert last.resident - settled.resident < GROWTH_MAX


# --- the processes that serve ---------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """What one of them holds while nobody is connected.

    The store's connections are kept in a pool, each two files: how many there are is how many
    verbs once ran at the same time. They are bounded, not flat, and so are SQLite's caches.
    """

    descriptors: int
    of_store: int
    threads: int
    resident: int

    @classmethod
    def of(cls, pid: int) -> Process:
        files = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
        of_store = sum("/broker.db" in name for name in files)
        return cls(len(files) - of_store, of_store, _threads(pid), _resident(pid))


@dataclass(frozen=True)
class Token:
    """One more adversary at a house, as `Way` has it."""

    house: House
    ticket: str
    rival: Token | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.house.connect()
        self.house.writers.remove(writer)
        return reader, writer

    def another(self) -> Way:
        return self.rival or self


async def _serve_people(house: House, end: float) -> int:
    """Come, type and leave until then, by everything that ends a session. The count of sessions."""
    loop, seed, count = asyncio.get_running_loop(), secrets.token_hex(4), 0
    taking_over = LinkPolicy(occupied=WhenOccupied.TAKE_OVER)
    while loop.time() < end:
        viewer = await house.viewer()
        await viewer.inputs.press(0x1E)
        await house.qemu.says(b"K")
        match count % 5:
            case 0:
                (session,) = await house.live()
                await house.service.disconnect(session.id)
            case 1:
                viewer = await house.viewer(taking_over)
                await viewer.main.close()
            case 2:
                for each in viewer.all:
                    each.reset()
            case 3:
                rival = Token(house, await house.token(taking_over))
                way = Token(house, await house.token(taking_over), rival)
                async with assault(way) as them:
                    await Attack(f"{seed}/{count}").play(them)
                assert await house.qemu.is_alive(), f"{seed}/{count}"
                await viewer.main.close()
            case _:
                await viewer.main.close()
        await house.ended()
        await house.leave()
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_nothing_grows_in_the_processes_that_serve(
    locations: Locations, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER_PROXY_BAD_TOKENS", "0")  # the adversary comes again and again
    loop = asyncio.get_running_loop()
    async with housed(locations, monkeypatch) as house:
        serving = (house.status.pid or 0, *house.status.workers)
        counts = []
        helds = []
        for part in (SETTLING, 1 - SETTLING):
            counts.append(await _serve_people(house, loop.time() + SECONDS * part))
            await asyncio.sleep(2)  # what was closed is over, and written down
            helds.append([Process.of(pid) for pid in serving])
        assert (house.status.pid or 0, *house.status.workers) == serving
    with capsys.disabled():
        print(f"\n{sum(counts)} sessions in {SECONDS:g} s: {helds[0]}, then {helds[1]}")  # noqa: T201
    for settled, last in zip(*helds, strict=True):
        assert last.descriptors <= settled.descriptors
        assert last.of_store <= STORE_MAX
        assert last.threads <= THREADS_MAX
        assert last.resident - settled.resident < KEPT_MAX
