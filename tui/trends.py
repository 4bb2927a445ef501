"""The last half minute of each machine's sessions, as small graphs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from broker.model import MachineKey, Session

KEPT: Final = 30
LEAST_SECONDS: Final = 0.9
"""Counters come once a second; what is read more often says nothing new."""
BARS: Final = "▁▂▃▄▅▆▇█"
ASCII_BARS: Final = "_.-:=+*#"


class Point(NamedTuple):
    """One moment of all sessions of a machine.

    Attributes:
        down, up: Bytes a second to viewers, and from them.
        latency: Seconds to the slowest of them and back, network and machine; None when unknown.
    """

    down: float
    up: float
    latency: float | None


class Trends:
    """Points by machine; those without sessions are forgotten."""

    def __init__(self) -> None:
        self._points: dict[MachineKey, deque[Point]] = {}
        self._at: datetime | None = None

    def take(self, sessions: Iterable[Session], at: datetime) -> None:
        """Add a point for each machine that has sessions, if it is time for one."""
        if self._at is not None and abs((at - self._at).total_seconds()) < LEAST_SECONDS:
            return
        self._at = at
        by_key: dict[MachineKey, list[Session]] = {}
        for session in sessions:
            by_key.setdefault(session.key, []).append(session)
        self._points = {key: self._points.get(key, deque(maxlen=KEPT)) for key in by_key}
        for key, there in by_key.items():
            self._points[key].append(_point(there))

    def of(self, key: MachineKey) -> Sequence[Point]:
        """Its points, oldest first."""
        return tuple(self._points.get(key, ()))


def _point(sessions: Sequence[Session]) -> Point:
    times = [found for session in sessions if (found := latency_of(session)) is not None]
    return Point(
        sum(session.rate_to_client for session in sessions),
        sum(session.rate_to_server for session in sessions),
        max(times, default=None),
    )


def latency_of(session: Session) -> float | None:
    """Seconds over both connections of a session and back; None before they are measured."""
    legs = [
        leg.network for leg in (session.timing.client, session.timing.server) if leg is not None
    ]
    return sum(legs) if legs else None


def spark(values: Sequence[float], bars: str = BARS) -> str:
    """A bar for each value, the largest as high as there is."""
    most = max(values, default=0.0)
    if most <= 0:
        return bars[0] * len(values)
    return "".join(bars[round(max(0.0, value) / most * (len(bars) - 1))] for value in values)


def lines(points: Sequence[Point], *, ascii_only: bool) -> Mapping[str, tuple[str, float]]:
    """What there is to draw: name to bars and newest value."""
    bars = ASCII_BARS if ascii_only else BARS
    found = (
        {
            "down": (spark([point.down for point in points], bars), points[-1].down),
            "up": (spark([point.up for point in points], bars), points[-1].up),
        }
        if points
        else {}
    )
    times = [point.latency for point in points if point.latency is not None]
    if times:
        found["rtt"] = (spark(times, bars), times[-1])
    return found
