"""Whether a loop should look for what comes next, in place of sleeping until it is there.

To be woken on another CPU takes some 20 µs or more, as long as a small message takes altogether.
Where messages follow each other that quickly it is worth staying awake for a moment; for a person
who types, or whose viewer is a network away, it is not, and nothing is done. Nor is it where
whoever has to answer needs our CPU for it. So looking goes on only where three looks in four find
something: a look in vain costs what three finds earned, for one that comes late because somebody
else had the CPU shall not end it. Who has earned nothing stops, and each time many more short
sleeps have to come before the next try.
"""

from __future__ import annotations

from typing import Final

LOOK_SECONDS: Final = 200e-6
"""How long is looked at most. Who slept for less might as well have stayed awake."""
WORK_SECONDS: Final = 50e-6
"""Longer work on what came at once is on bulk: that is not what is hurried for."""
SLEEPS_FIRST: Final = 4
"""Short ones in a row, before it is worth a try."""
SLEEPS_MOST: Final = 512
VAIN_COSTS: Final = 3
"""Finds for each look in vain."""
SAVED_MOST: Final = 8 * VAIN_COSTS
"""Finds that are remembered: so many looks in vain, some 2 ms, when it is suddenly quiet."""
FORGET_SECONDS: Final = 0.25
"""After a sleep as long as this the world may be another."""


class Eagerness:
    """Learns from how long sleeps and looks took. The clock is the caller's."""

    __slots__ = ("_saved", "_short", "_wanted", "eager")

    def __init__(self) -> None:
        self.eager = False
        """Look before you sleep."""
        self._short = 0
        self._wanted = SLEEPS_FIRST
        self._saved = 0

    def slept(self, seconds: float, worked: float, events: int) -> None:
        """Something came after so many seconds; before that, there was work for so many.

        Args:
            events: How much came at once to make that work: four keys are not bulk.
        """
        if seconds >= LOOK_SECONDS:
            self._short = 0
            if seconds >= FORGET_SECONDS:
                self._wanted = SLEEPS_FIRST
                self._saved = 0
        elif worked < WORK_SECONDS * events:
            self._short += 1
            if self._short >= self._wanted:
                self._short = 0
                self.eager = True
        elif self._short:
            self._short -= 1

    def found(self) -> None:
        """Something came while we looked."""
        self._wanted = max(self._wanted // 2, SLEEPS_FIRST)
        if self._saved < SAVED_MOST:
            self._saved += 1

    def in_vain(self) -> None:
        """Nothing came while we looked."""
        self._saved -= VAIN_COSTS
        if self._saved < 0:
            self._saved = 0
            self.eager = False
            self._wanted = min(self._wanted * 8, SLEEPS_MOST)
