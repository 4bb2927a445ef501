"""How much a terminal is sent: only after it has said that it took what came before.

After each frame the terminal is asked where its cursor is; its answer comes behind all that it had
to draw. So one frame at most is under way, and a key's effect waits behind no more than that.
"""

from __future__ import annotations

from typing import Final

FRAME_SECONDS: Final = 1 / 15
FILLS_SECONDS: Final = 0.06
"""A frame may keep the line busy for that long."""
FIRST_BYTES: Final = 4096
LEAST_BYTES: Final = 1024
MOST_BYTES: Final = 1024 * 1024
SILENT_SECONDS: Final = 1.0
"""A terminal that has not answered once by then does not answer at all."""
LOST_SECONDS: Final = 5.0
"""A terminal that did answer may be that late; then its answer is taken for lost."""
MULTIPLEXED_RATE: Final = 256 * 1024
"""Bytes a second where tmux or screen answers in the terminal's stead."""
BLIND_RATE: Final = 1024 * 1024
"""Bytes a second where nobody answers."""


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
        self._next = 0.0
        self.budget = FIRST_BYTES
        """Bytes that the next frame may have."""

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._sent_at is not None

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
        rate = self._ceiling if self._answers or not self._rate else self._rate
        self._next = now + max(FRAME_SECONDS, size / rate)

    def answered(self, now: float) -> bool:
        """The terminal has drawn it. False when nothing was asked."""
        if self._sent_at is None:
            return False
        took = max(now - self._sent_at, 0.0005)
        self._sent_at, self._answers = None, True
        if self._sent >= LEAST_BYTES:
            measured = self._sent / took
            self._rate = measured if not self._rate else 0.5 * self._rate + 0.5 * measured
            fits = min(self._rate, self._ceiling) * FILLS_SECONDS
            # Doubled at most: one quick answer may come out of a buffer.
            grown = min(fits, 2.0 * self.budget)
            self.budget = int(max(LEAST_BYTES, min(MOST_BYTES, grown)))
        return True

    def _lost(self) -> None:
        self._sent_at = None
        if not self._answers:
            self._rate = min(self._ceiling, BLIND_RATE)
            self.budget = int(self._rate * FRAME_SECONDS)
