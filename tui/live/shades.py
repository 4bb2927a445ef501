"""A guest's picture made as small as the terminal: half blocks, two pixels in each cell.

Needs Pillow, which is imported with the first picture. Made for a thread: Pillow lets go of the
interpreter's lock while it works.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broker.view import Frame
from tui.live.cells import Row

if TYPE_CHECKING:
    from PIL.Image import Image

REDUCING_GAP: Final = 1.5
"""Pillow first throws whole pixels away down to that many times the size, then averages."""
EVERY: Final = 3
"""Of a video's pixels one of so many is looked at, across and down, and averaged with others."""
_FIVE_BITS: Final = [value & 0xF8 | value >> 5 for value in range(256)]
"""Colours cut to five bits: hard to see, and a quarter of a video's bytes less."""
_NOTHING: Final = [0] * 256


@dataclass(frozen=True, slots=True)
class Port:
    """What of a guest's screen is shown, and where in the cells it lies.

    Attributes:
        box: Left, top, right and bottom on the guest's screen, in pixels.
        columns, lines: Cells it fills.
        left, top: Cells left free before it.
    """

    box: tuple[int, int, int, int]
    columns: int
    lines: int
    left: int = 0
    top: int = 0

    def at(self, column: int, line: int) -> tuple[int, int]:
        """The guest's pixel in the middle of a cell."""
        x0, y0, x1, y1 = self.box
        x = x0 + (2 * (column - self.left) + 1) * (x1 - x0) // (2 * self.columns)
        y = y0 + (2 * (line - self.top) + 1) * (y1 - y0) // (2 * self.lines)
        return max(x0, min(x1 - 1, x)), max(y0, min(y1 - 1, y))


def fit(width: int, height: int, columns: int, lines: int) -> Port:
    """All of a guest's screen, as large as it fits with square pixels, in the middle."""
    scale = min(columns / width, 2 * lines / height, 1.0)
    wide = max(1, min(columns, round(width * scale)))
    high = max(1, min(lines, round(height * scale / 2)))
    return Port((0, 0, width, height), wide, high, (columns - wide) // 2, (lines - high) // 2)


def window(
    width: int, height: int, columns: int, lines: int, centre: tuple[int, int], scale: float
) -> Port:
    """A part of a guest's screen around a place, `scale` of our pixels for each of its."""
    wide = min(width, max(1, round(columns / scale)))
    high = min(height, max(1, round(2 * lines / scale)))
    x = max(0, min(width - wide, centre[0] - wide // 2))
    y = max(0, min(height - high, centre[1] - high // 2))
    across = max(1, min(columns, round(wide * scale)))
    down = max(1, min(lines, (round(high * scale) + 1) // 2))
    return Port(
        (x, y, x + wide, y + high), across, down, (columns - across) // 2, (lines - down) // 2
    )


class Shrinker:
    """Keeps the small picture, and makes anew only what has changed.

    Attributes:
        rough: Some of it was made of some of its pixels only.
    """

    def __init__(self) -> None:
        self.rough = False
        self._port: Port | None = None
        self._of: tuple[int, int] = (0, 0)
        self._small: Image | None = None
        self._bytes: list[bytes] = []
        self._rows: list[Row] = []

    def rows(self, frame: Frame, port: Port, *, rough: bool = False) -> list[Row]:
        """The cells of a frame, `port.columns` wide and `port.lines` high.

        Args:
            rough: It will not stay: some of its pixels will do.
        """
        data = _pixels(self._shrunk(frame, port, rough=rough), frame.form)
        size = port.columns * 8
        if len(self._bytes) != port.lines:
            self._bytes, self._rows = [b""] * port.lines, [()] * port.lines
        for line in range(port.lines):
            both = data[line * size : (line + 1) * size]
            if both != self._bytes[line]:
                self._bytes[line] = both
                self._rows[line] = _cells(both)
        return list(self._rows)

    def _shrunk(self, frame: Frame, port: Port, *, rough: bool) -> Image:
        from PIL import Image

        mode, raw = ("RGBX", "RGBX") if frame.form == "BGRX" else ("RGB", "RGB")
        pixels: Any = frame.data  # Pillow takes any buffer, and its types do not say so
        whole = Image.frombuffer(mode, (frame.width, frame.height), pixels, "raw", raw, 0, 1)
        size = (port.columns, port.lines * 2)
        of = (frame.width, frame.height)
        before = self._small
        is_part = frame.changed is not None and self._port == port and self._of == of
        if before is None or not is_part or before.mode != mode:
            self._port, self._of = port, of
            self._small, self.rough = _resized(whole, size, port.box, rough=rough), rough
            return self._small
        assert frame.changed is not None
        self.rough = self.rough or rough
        self._patch(before, whole, port, frame.changed, rough=rough)
        return before

    def _patch(
        self,
        small: Image,
        whole: Image,
        port: Port,
        changed: tuple[int, int, int, int],
        *,
        rough: bool,
    ) -> None:
        """Make anew the small pixels that a changed area reaches into."""
        x0, y0, x1, y1 = port.box
        across, down = (x1 - x0) / small.width, (y1 - y0) / small.height
        left = max(0, int((changed[0] - x0) / across))
        top = max(0, int((changed[1] - y0) / down))
        right = min(small.width, int((changed[2] - x0) / across) + 1)
        bottom = min(small.height, int((changed[3] - y0) / down) + 1)
        if left >= right or top >= bottom:
            return
        box = (
            x0 + left * across,
            y0 + top * down,
            min(x1, x0 + right * across),
            min(y1, y0 + bottom * down),
        )
        size = (right - left, bottom - top)
        small.paste(_resized(whole, size, box, rough=rough), (left, top))


def _resized(
    whole: Image, size: tuple[int, int], box: tuple[float, float, float, float], *, rough: bool
) -> Image:
    """A part of a picture, so small."""
    from PIL import Image

    across, down = (box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]
    times = math.ceil(min(across, down) / EVERY)
    if rough and times > 1:
        some = (size[0] * times, size[1] * times)
        return whole.resize(some, Image.Resampling.NEAREST, box).reduce(times)
    return whole.resize(size, Image.Resampling.BOX, box, REDUCING_GAP)


def _pixels(small: Image, form: str) -> bytes:
    """Its pixels, four bytes each: blue, green, red, zero."""
    from PIL import Image

    if form == "RGB":
        red, green, blue = small.point(_FIVE_BITS * 3).split()
        small = Image.merge("RGBX", (blue, green, red, Image.new("L", small.size)))
    else:
        small = small.point(_FIVE_BITS * 3 + _NOTHING)
    return small.tobytes()


def _cells(both: bytes) -> Row:
    """A row of cells from the pixels of its upper half and those of its lower one."""
    half = len(both) // 2
    cells = bytearray(2 * half)  # eight bytes each, from the lowest: paper's three, ink's three
    for byte in range(3):
        cells[byte::8] = both[half + byte :: 4]
        cells[byte + 3 :: 8] = both[byte:half:4]
    return list(struct.unpack(f"<{half // 4}Q", cells))
