"""What we hold ourselves to, and how far we are: the project's table of goals, row by row.

kerbside-proxy is a Rust program that is not measured here: its numbers, and HAProxy's beside
them, are constants of one earlier run on another day. Where a goal refers to them, it is also
given scaled by what HAProxy does here against what it did then, for a slower or busier machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.relay.cases import Samples

KERBSIDE = "kerbside-proxy 0.8 (given)"


@dataclass(frozen=True, slots=True)
class Given:
    """Medians of the earlier run."""

    haproxy: float
    kerbside: float


GIVEN = {
    "CPU s/GB, 1 x 256 B": Given(0.74, 11.0),
    "CPU s/GB, 1 x 4 KiB": Given(0.69, 1.36),
    "CPU s/GB, 1 x 64 KiB": Given(0.71, 0.42),
    "CPU s/GB, 1 x 1 MiB": Given(0.69, 0.33),
    "MB/s, 1 x 64 KiB": Given(1400, 2319),
    "RTT p50 added, 1 channel": Given(51, 48),
    "RTT p99 added, 1 channel": Given(69, 67),
    "RTT p50, 4 channels": Given(89, 71),
    "RTT p99 added, beside 100 MB/s": Given(161, 139),
    "links/s, channels, 8 at a time": Given(1160, 66),
    "MB RSS, 1,000 idle channels": Given(18, 54),
    "kB per channel not read, 64 KiB": Given(49, 303),
    "kB per channel not read, 1 MiB": Given(49, 1330),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One row.

    Attributes:
        factor: Times what the goal refers to.
        to: `haproxy` as measured here, `kerbside` as given, or `` for a plain number.
        atleast: More is better.
        who: The contender that has to reach it.
    """

    figure: str
    factor: float
    to: str = ""
    atleast: bool = False
    who: str = "ours"


GOALS = (
    Goal("CPU s/GB, 1 x 256 B", 1, "haproxy"),
    Goal("CPU s/GB, 1 x 4 KiB", 0.5, "haproxy"),
    Goal("CPU s/GB, 1 x 64 KiB", 0.75, "kerbside"),
    Goal("CPU s/GB, 1 x 1 MiB", 0.85, "kerbside"),
    Goal("MB/s, 1 x 64 KiB", 1, "kerbside", atleast=True),
    Goal("RTT p50 added, 1 channel", 1.1, "kerbside"),
    Goal("RTT p99 added, 1 channel", 1.1, "kerbside"),
    Goal("RTT p50, 4 channels", 1.25, "kerbside"),
    Goal("RTT p50, in a storm", 60, who="ours, 2 workers"),
    Goal("RTT p99 added, beside 100 MB/s", 1, "kerbside"),
    Goal("links/s, channels, 8 at a time", 1, "haproxy", atleast=True),
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
        limit: As the goal says.
        here: The same, scaled to this machine by HAProxy; equals `limit` where nothing is given.
    """

    goal: Goal
    value: float
    limit: float
    here: float

    @property
    def word(self) -> str:
        """`met`, `met here` (only when scaled), or `not met`."""
        over: Callable[[float], bool] = (
            (lambda limit: self.value >= limit)
            if self.goal.atleast
            else (lambda limit: self.value <= limit)
        )
        if over(self.limit):
            return "met"
        return "met here" if over(self.here) else "not met"


def judge(samples: Samples, ours: str = "ours") -> list[Verdict]:
    """Every goal whose figure was measured.

    Args:
        ours: The contender to hold to the goals that name `ours`.
    """
    verdicts = []
    for goal in GOALS:
        who = goal.who.replace("ours", ours)
        mine, haproxy = samples.of(goal.figure, who), samples.of(goal.figure, "HAProxy")
        if not mine or (goal.to == "haproxy" and not haproxy):
            continue
        limit = here = goal.factor
        if goal.to == "haproxy":
            limit = here = goal.factor * statistics.median(haproxy)
        elif goal.to == "kerbside":
            given = GIVEN[goal.figure]
            limit = here = goal.factor * given.kerbside
            if haproxy:
                here = limit * statistics.median(haproxy) / given.haproxy
        verdicts.append(Verdict(goal, statistics.median(mine), limit, here))
    return verdicts
