"""Who of the workers on one port takes a new viewer: the one whose channels carry the least now.

A handshake keeps a loop busy for about a millisecond, which everybody feels whose keys go through
that loop. So a worker that carries something leaves a new viewer to the others for a moment; they
have it by then, unless they have more to do. What only stays open counts for nothing, nor does
what began just now: in a storm of viewers the worker that takes them would soon wait as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from broker.model import SessionId

COURTESY_SECONDS: Final = 0.001
"""How long a worker that carries something waits; epoll knows nothing shorter."""
CHANNELS_PER_STEP: Final = 20
"""So many busy channels more make it wait that long once more."""
STEPS_MOST: Final = 5
LOOK_SECONDS: Final = 0.1
"""Between two looks at what the channels carry; there are none while nobody comes."""
BUSY_SECONDS: Final = 1.0
"""After a look that found it carrying something a channel counts for so long."""
NEIGHBOURS_SECONDS: Final = 1.0
"""Between two looks who else is on this port: each reads a directory."""


Name = tuple[SessionId, str]
"""A channel's session, and what it is called there."""


class Carries(Protocol):
    """What a channel's relay says of itself."""

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes so far, towards the client and towards the server."""
        ...


class Courtesy:
    """Called for each new viewer, it says for how many seconds others may have it first.

    Args:
        relays: The channels that this worker relays.
        has_neighbours: Whether there are other workers.
        clock: Seconds that only go on.
    """

    def __init__(
        self,
        relays: Mapping[Name, Carries],
        has_neighbours: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relays = relays
        self._has_neighbours = has_neighbours
        self._clock = clock
        self._neighbours = False
        self._look_round_at = self._look_at = 0.0
        self._seen: dict[Name, tuple[tuple[int, int], float]] = {}
        """What each had carried at the last look, and until when it is busy."""
        self._busy = 0

    def __call__(self) -> float:
        """Seconds; 0 for taking it at once."""
        if not self._relays:
            return 0.0
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look(now)
        if not self._busy:
            return 0.0
        if now >= self._look_round_at:
            self._look_round_at = now + NEIGHBOURS_SECONDS
            self._neighbours = self._has_neighbours()
        if not self._neighbours:
            return 0.0
        return COURTESY_SECONDS * min(1 + self._busy // CHANNELS_PER_STEP, STEPS_MOST)

    def _look(self, now: float) -> None:
        """Count the channels that carry something; one that is seen for the first time waits."""
        before, self._seen = self._seen, {}
        self._busy = 0
        for name, relay in self._relays.items():
            carried = relay.carried
            earlier, until = before.get(name, (carried, now))
            if earlier != carried:
                until = now + BUSY_SECONDS
            self._seen[name] = carried, until
            self._busy += until > now
