"""Hours of people coming and going, some of them badly behaved: nothing may grow.

SOAK_SECONDS says for how long; `make soak` takes an hour.
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

from tests.adversary.machines import Field, Guarded, field_of, sees_a_picture
from tests.adversary.trial import siege

pytestmark = pytest.mark.qemu

SECONDS = float(os.environ.get("SOAK_SECONDS", "180"))
SETTLING = 0.25
"""The part of that time after which everything has the size that it keeps."""
GROWTH_MAX = 4 * 1024 * 1024
"""Of memory in use; what the allocator keeps for later, 10 to 25 MB here, is given back first."""


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
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        pids = [place.machine.qemu.process.pid for place in places]
        return cls(
            _descriptors("self"),
            len(asyncio.all_tasks()),
            pages * os.sysconf("SC_PAGE_SIZE"),
            sum(_descriptors(pid) for pid in pids),
        )


def _descriptors(pid: int | str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


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
