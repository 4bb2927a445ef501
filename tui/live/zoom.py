"""How close one looks at a guest's screen, and at which part of it. Pure.

From all of it, by steps of twice as close, to one pixel of the guest's for each of ours.
"""

from __future__ import annotations

from typing import Final

from tui.live.shades import Port, window

EDGE_CELLS: Final = 2
"""A pointer that comes so near to the edge of what is shown takes it along."""
STEP: Final = 0.25
"""Of what is shown, moved on at once."""


def scales(width: int, height: int, columns: int, lines: int) -> list[float]:
    """Our pixels for each of the guest's, from all of its screen to one for one."""
    scale = min(columns / width, 2 * lines / height, 1.0)
    found = [scale]
    while (scale := scale * 2) < 1.0:
        found.append(scale)
    return [*found, 1.0]


class Zoom:
    """What is looked at."""

    def __init__(self) -> None:
        self._steps = 0
        self._centre: tuple[int, int] | None = None
        self._pointer: tuple[int, int] | None = None

    @property
    def is_on(self) -> bool:
        """Whether not all of the screen is shown."""
        return self._steps > 0

    def port(self, width: int, height: int, columns: int, lines: int) -> Port:
        """The part of a screen to show in so many cells."""
        known = scales(width, height, columns, lines)
        self._steps = min(self._steps, len(known) - 1)
        centre = self._centre or (width // 2, height // 2)
        return window(width, height, columns, lines, centre, known[self._steps])

    def toggle(self) -> None:
        """All of it, or one for one around the pointer."""
        self._steps = 0 if self._steps else 1 << 30  # as far as there are steps
        self._centre = self._pointer

    def step(self, by: int, at: tuple[int, int] | None = None) -> None:
        """Come closer by a step, or (negative) go back one.

        Args:
            at: The guest's pixel that is meant; None leaves what is shown in its middle.
        """
        self._steps = max(0, self._steps + by)
        self._centre = at or self._centre or self._pointer

    def pan(self, port: Port, across: int, down: int) -> bool:
        """Look at what is beside, -1 to 1 steps each way; False when there is no more."""
        if not self.is_on:
            return False
        x0, y0, x1, y1 = port.box
        self._centre = (
            (x0 + x1) // 2 + round(across * STEP * (x1 - x0)),
            (y0 + y1) // 2 + round(down * STEP * (y1 - y0)),
        )
        return True

    def pointed(self, port: Port, column: int, line: int) -> bool:
        """The pointer is at that cell; whether what is shown moves along with it."""
        self._pointer = port.at(column, line)
        near = (
            _edge(column - port.left, port.columns),
            _edge(line - port.top, port.lines),
        )
        return near != (0, 0) and self.pan(port, *near)


def _edge(place: int, size: int) -> int:
    if place < EDGE_CELLS:
        return -1
    return 1 if place >= size - EDGE_CELLS else 0
