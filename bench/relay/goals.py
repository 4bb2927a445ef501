"""What we hold ourselves to, and how far we are: the project's table of goals, row by row."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.relay import kerbside
from bench.relay.cases import Samples

HAPROXY, KERBSIDE = "HAProxy", kerbside.NAME


@dataclass(frozen=True, slots=True)
class Goal:
    """One row.

    Attributes:
        factor: Times what the goal refers to.
        to: The contender whose figure of this run that is, or nothing for a plain number.
        atleast: More is better.
        who: The contender that has to reach it.
        then: For a plain number of microseconds: what kerbside-proxy had on the machine and the
            day it was set for. Where it is slower now, so is everybody.
    """

    figure: str
    factor: float
    to: str = ""
    atleast: bool = False
    who: str = "ours"
    then: float | None = None


GOALS = (
    Goal("CPU s/GB, 1 x 256 B", 1, HAPROXY),
    Goal("CPU s/GB, 1 x 4 KiB", 0.5, HAPROXY),
    Goal("CPU s/GB, 1 x 64 KiB", 0.75, KERBSIDE),
    Goal("CPU s/GB, 1 x 1 MiB", 0.85, KERBSIDE),
    Goal("MB/s, 1 x 64 KiB", 1, KERBSIDE, atleast=True),
    Goal("RTT p50 added, 1 channel", 1.1, KERBSIDE),
    Goal("RTT p99 added, 1 channel", 1.1, KERBSIDE),
    Goal("RTT p50, 4 channels", 1.25, KERBSIDE),
    Goal("RTT p50, in a storm", 60, who="ours, 2 workers", then=34),
    Goal("RTT p99 added, beside 100 MB/s", 1, KERBSIDE),
    Goal("links/s, channels, 8 at a time", 1, HAPROXY, atleast=True),
    Goal("MB RSS, 1,000 idle channels", 25),
    Goal("kB per channel not read, 64 KiB", 300),
    Goal("kB per channel not read, 64 KiB, 2 s later", 300),
    Goal("kB per channel not read, 1 MiB", 300),
    Goal("kB per channel not read, 1 MiB, 2 s later", 300),
    Goal("passes, 256 MiB", 1, atleast=True),
)


def with_added(samples: Samples) -> None:
    """Give each round trip's figure a twin without what the direct way takes."""
    for figure, by_contender in list(samples.found.items()):
        base = by_contender.get("direct")
        if not figure.startswith("RTT ") or not base:
            continue
        name, _, where = figure.partition(", ")
        least = statistics.median(base)
        for contender, values in by_contender.items():
            if contender != "direct":
                added = [value - least for value in values]
                samples.found.setdefault(f"{name} added, {where}", {})[contender] = added


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal, judged.

    Attributes:
        limit: In the figure's own unit, as the goal says.
        here: The same, scaled by what kerbside-proxy had then and has now; mostly equals `limit`.
    """

    goal: Goal
    value: float
    limit: float
    here: float

    @property
    def word(self) -> str:
        """`met`, `met here` (only when scaled), or `not met`."""
        over: Callable[[float, float], bool] = operator.ge if self.goal.atleast else operator.le
        if over(self.value, self.limit):
            return "met"
        return "met here" if over(self.value, self.here) else "not met"


def judge(samples: Samples, ours: str = "ours") -> list[Verdict]:
    """Every goal whose figure was measured, and what it refers to.

    Args:
        ours: The contender to hold to the goals that name `ours`.
    """
    verdicts = []
    for goal in GOALS:
        mine = samples.of(goal.figure, goal.who.replace("ours", ours))
        other = samples.of(goal.figure, goal.to) if goal.to else [1.0]
        if not mine or not other:
            continue
        limit = here = goal.factor * statistics.median(other)
        if goal.then and (rust := samples.of(goal.figure, KERBSIDE)):
            here = limit * statistics.median(rust) / goal.then
        verdicts.append(Verdict(goal, statistics.median(mine), limit, here))
    return verdicts
