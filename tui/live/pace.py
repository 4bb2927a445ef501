"""How much a terminal is sent: only after it has said that it took what came before.

After each frame the terminal is asked where its cursor is; its answer comes behind all that it had
to draw. So one frame at most is under way, and a key's effect waits behind no more than that. The
cursor is put where it says which frame that was: an answer that comes after it was given up must
not pass for the next one's, which would seem to have taken no time.
"""

from __future__ import annotations

import math
from typing import Final

FRAME_SECONDS: Final = 1 / 15
LATE_SECONDS: Final = 0.03
"""A frame may be that late, and the next one comes in its own time."""
FILLS_SECONDS: Final = 0.06
"""A frame may keep the line busy for that long."""
HURRY_SECONDS: Final = 0.03
"""The same for a moment after somebody has typed: they wait for what comes of it."""
HURRIES_SECONDS: Final = 1.0
"""How long that moment is."""
WHOLE_BYTES: Final = 256 * 1024
"""A picture on a usual terminal that changes everywhere has about as many."""
FIRST_BYTES: Final = 4096
LEAST_BYTES: Final = 2048
MOST_BYTES: Final = 1024 * 1024
SILENT_SECONDS: Final = 3.0
"""A terminal that has not answered once by then does not answer at all."""
LOST_SECONDS: Final = 5.0
"""A terminal that did answer may be that late; then its answer is taken for lost."""
MULTIPLEXED_RATE: Final = 256 * 1024
"""Bytes a second where tmux or screen answers in the terminal's stead."""
BLIND_RATE: Final = 128 * 1024
"""Bytes a second where nobody answers: it may as well be a slow line that answers late."""
GROWTH: Final = 2.0
"""By how much a frame may be larger than the one before, until the line has shown its limit."""
CAREFUL: Final = 1.25
"""The same from then on."""
_FORGETS: Final = 1.0001
"""By how much more the quickest answer is taken for one to more, with each that comes after it."""
NUMBERS: Final = range(2, 18)
"""What frames are called, in turns: columns that every terminal has."""


class Pace:
    """When the next frame may go, and how large it may be. Pure: the time is told.

    Args:
        multiplexed: Whoever answers is not the one at the far end of a slow line.
    """

    def __init__(self, *, multiplexed: bool = False) -> None:
        self._ceiling = float(MULTIPLEXED_RATE if multiplexed else 1 << 40)
        self._answers = False
        self._rate = 0.0
        self._sent_at: float | None = None
        self._sent = 0
        self._under_way = 0
        self._quickest = (0.0, math.inf)
        self._next = 0.0
        self._hurries = -math.inf
        self.number = NUMBERS[0]
        """What the next frame is called."""
        self.budget = FIRST_BYTES
        """Bytes that the next frame may have while nobody types."""

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._sent_at is not None

    def typed(self, now: float) -> None:
        """Somebody has pressed a key, and waits for what comes of it."""
        self._hurries = now + HURRIES_SECONDS

    def room(self, now: float) -> int:
        """Bytes that a frame may have that goes now."""
        if not self._hurried(now):
            return self.budget
        return max(LEAST_BYTES, min(self.budget, int(self._rate * HURRY_SECONDS)))

    def _hurried(self, now: float) -> bool:
        """A line that takes whole pictures is done with one before anybody notices."""
        return now < self._hurries and 0.0 < self._rate * FILLS_SECONDS < WHOLE_BYTES

    def left(self, now: float) -> float:
        """Seconds until a frame may go, by what is known of the line."""
        if self._sent_at is None:
            return max(0.0, self._next - now)
        size, took = self._quickest
        if took == math.inf:
            return max(0.0, self._next - now)
        if self._rate:
            took += (self._sent - size) / self._rate
        return max(0.0, self._next - now, self._sent_at + took - now)

    def due(self, now: float) -> float:
        """Seconds until a frame may go; with an answer outstanding, until it counts as lost."""
        if self._sent_at is None:
            return max(0.0, self._next - now)
        patience = LOST_SECONDS if self._answers else SILENT_SECONDS
        left = self._sent_at + patience - now
        if left <= 0:
            self._lost()
        return max(0.0, left, self._next - now)

    def sent(self, size: int, now: float) -> None:
        """A frame of that many bytes has gone, its question behind it."""
        self._sent, self._sent_at = size, now
        self._under_way = self.number
        self.number = NUMBERS[(NUMBERS.index(self.number) + 1) % len(NUMBERS)]
        rate = self._ceiling if self._answers or not self._rate else self._rate
        least = HURRY_SECONDS if self._hurried(now) else FRAME_SECONDS
        # Else a loop that is a little late each time would show fewer than it may.
        late = now - self._next
        begun = self._next if 0.0 < late < LATE_SECONDS else now
        self._next = begun + max(least, size / rate)

    def answered(self, now: float, number: int | None = None) -> bool:
        """The terminal has drawn it. False when nothing was asked.

        Args:
            number: What it was called; one that no frame is called is taken as the last one's.
        """
        if self._sent_at is None:
            return False
        if number in NUMBERS and number != self._under_way:
            self._answers = True  # late, but it does
            return False
        took = max(now - self._sent_at, 0.0005)
        self._sent_at, self._answers = None, True
        if self._sent >= LEAST_BYTES:
            grows = CAREFUL if self._rate else GROWTH
            # No further: one quick answer may come out of a buffer.
            grown = min(grows * self.budget, self._ceiling * FILLS_SECONDS)
            if (measured := self._measured(took)) is not None:
                self._rate = measured if not self._rate else 0.5 * self._rate + 0.5 * measured
                grown = min(grown, self._rate * FILLS_SECONDS)
            self.budget = int(max(LEAST_BYTES, min(MOST_BYTES, grown)))
        return True

    def _measured(self, took: float) -> float | None:
        """Bytes a second of the line, by how much longer more bytes took; None says it is quick.

        A line that is long but wide answers late whatever it is sent: what counts is what an
        answer took beyond the quickest one so far.
        """
        size, least = self._quickest
        if took <= least:
            self._quickest = (float(self._sent), took)
            return None
        self._quickest = (size * _FORGETS, least * _FORGETS)
        if self._sent > size:
            return (self._sent - size) / (took - least)
        return self._sent / took if took > least + FILLS_SECONDS else None

    def _lost(self) -> None:
        self._sent_at = None
        if not self._answers:
            self._rate = min(self._ceiling, BLIND_RATE)
            self.budget = int(self._rate * FRAME_SECONDS)
