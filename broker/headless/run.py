"""A latency run: samples at a steady pace, over one path or several in turns."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from broker.headless.probes import SETTLED_SECONDS, Probe
from broker.within import within

WATCH_SECONDS: Final = 0.5
"""Before the first question of a path: what answers now was not asked."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run goes; times in seconds.

    Attributes:
        cadence: From one question to the next, at least.
        samples: Of each path.
        limit: For the whole run.
        patience: How long an answer is waited for; until the next question is due when None.
        jitter: The most that is added to each pause, drawn anew: samples must not march in step
            with a server's looks.
        block: Samples over one path before it is the next one's turn; a machine serves one viewer
            at a time.
    """

    cadence: float = 2.0
    samples: int = 60
    limit: float = 600.0
    patience: float | None = None
    jitter: float = 0.05
    block: int = 10


@dataclass(slots=True)
class Path:
    """One way to the console, and what was measured over it.

    Attributes:
        opened: Opens it, and gives what takes the samples.
        samples: Seconds, in the order they were taken.
        unmatched: Questions that were not answered before the next.
        stray: Answers to no question.
        dropped: Answers that a viewer at a control socket told nobody of, for want of room.
        watched: Seconds in which strays were counted.
    """

    name: str
    opened: Callable[[], AbstractAsyncContextManager[Probe]]
    samples: list[float] = field(default_factory=list)
    unmatched: int = 0
    stray: int = 0
    dropped: int = 0
    watched: float = 0.0

    @property
    def asked(self) -> int:
        """Questions so far."""
        return len(self.samples) + self.unmatched

    @property
    def strays_per_second(self) -> float:
        """How often something answered that was not asked."""
        return self.stray / self.watched if self.watched else 0.0


Told = Callable[[Path, float | None], None]


async def measure(paths: Sequence[Path], pace: Pace, told: Told) -> None:
    """Take the samples; returns when all are taken, or the time is over.

    Python's collector leaves what is there alone meanwhile: a look at all of it takes as long as
    many samples.

    Args:
        told: Called with each sample, or with None for a question that was not answered.

    Raises:
        Unreachable: A path could not be opened, or broke. What was measured is kept.
    """
    gc.freeze()
    try:
        with contextlib.suppress(TimeoutError):
            async with within(pace.limit):
                while any(path.asked < pace.samples for path in paths):
                    for path in paths:
                        size = pace.block if len(paths) > 1 else pace.samples
                        await _block(path, min(size, pace.samples - path.asked), pace, told)
    finally:
        gc.unfreeze()


async def _block(path: Path, count: int, pace: Pace, told: Told) -> None:
    if count <= 0:
        return
    loop = asyncio.get_running_loop()
    async with path.opened() as probe:
        try:
            if not path.asked:
                await asyncio.sleep(WATCH_SECONDS)
                path.watched += WATCH_SECONDS
            for _ in range(count):
                asked = loop.time()
                due = asked + pace.cadence + secrets.randbelow(1000) / 1000 * pace.jitter
                taken = await probe.sample(pace.patience or pace.cadence)
                if taken is None:
                    path.unmatched += 1
                else:
                    path.samples.append(taken)
                told(path, taken)
                await asyncio.sleep(max(0.0, due - loop.time()))
                path.watched += max(0.0, loop.time() - asked - SETTLED_SECONDS)
        finally:
            path.stray += probe.stray
            path.dropped += probe.dropped


def percentile(samples: Sequence[float], share: float) -> float | None:
    """The sample that `share` (0 to 1) of all do not exceed; None of nothing."""
    ordered = sorted(samples)
    if not ordered:
        return None
    return ordered[min(len(ordered), max(1, math.ceil(len(ordered) * share))) - 1]
