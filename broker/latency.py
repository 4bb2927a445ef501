"""How long things take: counts in fixed buckets, and what the kernel says of a connection.

Buckets are spaced evenly on a logarithmic scale, eight to each doubling from 1 µs to 64 s, so a
histogram is bounded, two can be added, and a share of it is known within 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Counts = Mapping[int, int]
"""How many times fell into each bucket; empty buckets are left out."""

PER_DOUBLING: Final = 8
LOWEST: Final = 1e-6
"""Seconds up to which a time falls into bucket 0."""
LAST: Final = 26 * PER_DOUBLING
"""The bucket that also takes whatever is longer."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """The kernel's word on one TCP connection (Linux: TCP_INFO).

    Attributes:
        rtt: Seconds from sending to acknowledgement, smoothed; the other program plays no part,
            but its kernel may put an acknowledgement off when little is sent (40 ms).
        retransmits: Segments that were sent again, since the connection began.
        unacked: Segments under way now.
        rtt_min: The least of the last minutes, which no acknowledgement was put off for.
    """

    rtt: float
    retransmits: int
    unacked: int
    rtt_min: float | None = None

    @property
    def network(self) -> float:
        """Seconds that the network takes, there and back."""
        return self.rtt if self.rtt_min is None else self.rtt_min


@dataclass(frozen=True, slots=True)
class Timing:
    """What relaying showed of the times of a channel, or of all channels of a session.

    Attributes:
        ping: From a server's PING to the viewer's PONG, as it passes us.
        draw: From a key or button that goes down to the next drawing on a display, as they pass.
        proxy: From being woken for bytes to having written them; a sample a second.
        client: The connection to the viewer.
        server: The connection to the machine.
    """

    ping: Counts = field(default_factory=dict)
    draw: Counts = field(default_factory=dict)
    proxy: Counts = field(default_factory=dict)
    client: Tcp | None = None
    server: Tcp | None = None


def bucket_of(seconds: float) -> int:
    """The bucket that time falls into."""
    if seconds <= LOWEST:
        return 0
    return min(LAST, math.ceil(math.log2(seconds / LOWEST) * PER_DOUBLING))


def upper_bound(bucket: int) -> float:
    """The longest time in seconds that falls into that bucket."""
    return LOWEST * math.exp2(bucket / PER_DOUBLING)


def middle(bucket: int) -> float:
    """A time in seconds that stands for all in that bucket."""
    return LOWEST * math.exp2((bucket - 0.5) / PER_DOUBLING)


def merged(*several: Counts) -> dict[int, int]:
    """All of them as one."""
    total: dict[int, int] = {}
    for counts in several:
        for bucket, count in counts.items():
            total[bucket] = total.get(bucket, 0) + count
    return total


def quantile(counts: Counts, share: float) -> float | None:
    """The time in seconds that `share` (0 to 1) of all stayed under; None of nothing.

    Inside a bucket times are taken to be spread evenly.
    """
    wanted = share * sum(counts.values())
    below = 0
    for bucket in sorted(counts):
        count = counts[bucket]
        if count and below + count >= wanted:
            inside = (wanted - below) / count
            return LOWEST * math.exp2((bucket - 1 + inside) / PER_DOUBLING)
        below += count
    return None
