"""The widget that shows a guest's cells, and sends a terminal only those that have changed.

While nothing lies over it, it writes to the terminal itself: Textual repaints a row from the
widget's left edge on, whatever of it has changed. What it wrote is what it gives Textual too, so
that a repaint at any time shows the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from textual import events
from textual.geometry import Offset, Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.driver import ConsoleDriver
from tui.live.cells import BLANK, CellStrip, Palette, Row, difference
from tui.live.pace import NUMBERS
from tui.live.spread import Spread
from tui.live.stencil import all_at_once

BEGIN: Final = b"\x1b[?2026h\x1b7"
END: Final = b"\x1b[0m\x1b[?2026l"
ASK: Final = b"\x1b[2;%dH\x1b[6n\x1b8"
"""Asks the terminal to say when it has come so far: its answer has that column in it.

Of the second line, since in the first it would look like F3 with modifiers.
"""
_BUTTONS: Final = {1: 1, 2: 2, 3: 4}
MOST_COVERED: Final = 4
"""How many frames' bytes a repaint may have that Textual does."""
ROOMY_BYTES: Final = 128 * 1024
"""A line that takes so much at once is one on which a tenth more bytes do not matter."""
_CELL_BYTES: Final = 26
"""What a cell costs in a picture that changes everywhere."""


class FrameView(Widget):
    """Rows of cells; see `cells`.

    Args:
        direct: It may write to the terminal itself.
    """

    DEFAULT_CSS = "FrameView { width: 1fr; height: 1fr; background: black; }"

    ALLOW_SELECT = False

    class Pointed(Message):
        """A mouse did something at a cell; `buttons` are held down: 1 left, 2 middle, 4 right."""

        def __init__(
            self, column: int, line: int, buttons: int, wheel: int, *, ctrl: bool = False
        ) -> None:
            super().__init__()
            self.ctrl = ctrl
            self.column = column
            self.line = line
            self.buttons = buttons
            self.wheel = wheel

    def __init__(self, palette: Palette, *, direct: bool = False) -> None:
        super().__init__()
        self._held = 0
        self._palette = palette
        self._direct = direct
        self._wanted: list[Row] = []
        self._shown: list[Row] = []
        self._strips: dict[int, tuple[Row, Strip]] = {}
        self._short = False
        self._offset = Offset()
        self._spread = Spread()
        self._cell_bytes = float(_CELL_BYTES)

    @property
    def converged(self) -> bool:
        """Whether all that is wanted has been sent."""
        return all(map(_same, self._wanted, self._shown))

    @property
    def rows(self) -> list[Row]:
        """What is wanted."""
        return self._wanted

    def want(self, rows: list[Row], *, left: int = 0, top: int = 0) -> None:
        """Show these rows from the next send on, so many blank cells before and above them."""
        width, height = self.size
        blank: Row = [BLANK] * width
        wanted: list[Row] = [blank] * min(top, height)
        for row in rows[: height - len(wanted)]:
            is_all = not left and len(row) == width
            wanted.append(row if is_all else [*blank[:left], *row, *blank][:width])
        before, self._wanted = self._wanted, wanted + [blank] * (height - len(wanted))
        if self._short:
            self._spread.saw(before, self._wanted)
        if [len(row) for row in self._shown] != [width] * height:
            self._shown = [blank] * height
            self.refresh()

    def veil(self) -> None:
        """Something is about to lie over it: on a slow line show nothing meanwhile.

        Textual repaints all of what is behind, which would keep such a line busy for seconds.
        """
        if self._short:
            blank: Row = [BLANK] * self.size.width
            self._shown = [blank] * self.size.height

    def send(self, budget: int, number: int = NUMBERS[0]) -> int:
        """Send what differs, at most about `budget` bytes of it, each time going on where it was.

        Args:
            number: The column that the terminal says when it has drawn that.

        Returns:
            How many bytes; 0 when there was nothing to send, or Textual will.
        """
        if not self._wanted or len(self._wanted) != len(self._shown):
            return 0
        if not self._may_write():
            if not self._too_much(budget):
                self._repaint()
            return 0
        wanted = self._uncovered(budget)
        roomy = budget >= ROOMY_BYTES and self._palette.depth == 24
        self._offset = self.region.offset  # Textual looks it up among all that is on the screen
        if not (parts := self._at_once(budget, wanted) if roomy else []):
            parts = self._some(budget, wanted) if self._short else self._in_order(budget, wanted)
        if not parts:
            return 0
        data = b"".join([BEGIN, *parts, END, ASK % number])
        driver = self.app._driver  # Textual has no other way to the terminal
        assert driver is not None
        if isinstance(driver, ConsoleDriver):
            driver.write_bytes(data)
        else:
            driver.write(data.decode())
        driver.flush()
        return len(data)

    def _at_once(self, budget: int, wanted: Sequence[Row]) -> list[bytes]:
        """All that differs, in the way that is quickest to make; nothing where that is no good."""
        offset = self._offset
        changed = [
            (offset.y + line + 1, old, new)
            for line, (old, new) in enumerate(zip(self._shown, wanted, strict=True))
            if not _same(old, new)
        ]
        said = all_at_once(changed, offset.x + 1, budget)
        if said is None:
            return []
        self._shown, self._short = list(wanted), False
        return [said]

    def _in_order(self, budget: int, wanted: Sequence[Row]) -> list[bytes]:
        """All that differs, from the top; what a line cannot take is chosen from then on."""
        parts: list[bytes] = []
        left = budget
        for line, (old, new) in enumerate(zip(self._shown, wanted, strict=True)):
            if _same(old, new):
                continue
            if left <= 0:
                self._short = True
                break
            text, upto = self._part(line, 0, len(new), most=max(1, left // _CELL_BYTES))
            parts.append(text)
            left -= len(text)
            self._short = self._short or upto < len(new)
        return parts

    def _some(self, budget: int, wanted: Sequence[Row]) -> list[bytes]:
        """What matters most of what differs."""
        spans = self._spread.choose(self._shown, wanted, int(budget / self._cell_bytes))
        parts = [self._part(*span, most=span[2] - span[1])[0] for span in spans]
        if cells := sum(end - begin for _, begin, end in spans):
            cost = max(1.0, sum(map(len, parts)) / cells)
            self._cell_bytes = 0.5 * self._cell_bytes + 0.5 * cost
        self._short = not self.converged
        return parts

    def _part(self, line: int, begin: int, end: int, *, most: int) -> tuple[bytes, int]:
        """What turns that part of a row into what is wanted, and up to which cell it does."""
        offset = self._offset
        old, new = self._shown[line], self._wanted[line]
        text, upto = difference(
            old[begin:end],
            new[begin:end],
            line=offset.y + line + 1,
            column=offset.x + begin + 1,
            palette=self._palette,
            most=most,
        )
        upto += begin
        whole = begin == 0 and upto == len(new)
        self._shown[line] = new if whole else [*old[:begin], *new[begin:upto], *old[upto:]]
        return text, upto

    # -- the mouse; with shift it is the terminal's own

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A button goes down."""
        self._held |= _BUTTONS.get(event.button, 0)
        self._point(event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """A button comes up."""
        self._held &= ~_BUTTONS.get(event.button, 0)
        self._point(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """It moves."""
        self._point(event)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel turns."""
        self._point(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel turns."""
        self._point(event, 1)

    def _point(self, event: events.MouseEvent, wheel: int = 0) -> None:
        event.stop()
        if not event.shift:
            at = (int(event.x), int(event.y))
            self.post_message(self.Pointed(*at, self._held, wheel, ctrl=event.ctrl))

    def _too_much(self, budget: int) -> bool:
        """Whether a line that is slow would be kept busy by whole rows, which Textual sends.

        What lies over the picture, such as the menu, is what a person waits for then.
        """
        driver = self.app._driver
        if not self._direct or driver is None or driver.is_headless:
            return False
        rows = sum(not _same(old, new) for old, new in zip(self._shown, self._wanted, strict=True))
        return rows * self.size.width * _CELL_BYTES > MOST_COVERED * budget

    def _repaint(self, lines: Collection[int] | None = None) -> None:
        """Have Textual show it, or some of its lines."""
        changed = [
            line
            for line, (old, new) in enumerate(zip(self._shown, self._wanted, strict=True))
            if (lines is None or line in lines) and not _same(old, new)
        ]
        for line in changed:
            self._shown[line] = self._wanted[line]
        if changed:
            self.refresh(*(Region(0, line, self.size.width, 1) for line in changed))

    def _uncovered(self, budget: int) -> Sequence[Row]:
        """What is wanted where no message lies over it; elsewhere what is shown.

        Those lines are Textual's to write. It sends whole rows, so where the line to the terminal
        is slow they stay as they are until the message has gone.
        """
        top = self.region.y
        regions = [toast.region for toast in self.screen.query("Toast")]
        covered = {line - top for each in regions for line in range(each.y, each.bottom)}
        if not covered:
            return self._wanted
        if not self._short and len(covered) * self.size.width * _CELL_BYTES <= budget:
            self._repaint(covered)
        return [
            shown if line in covered else wanted
            for line, (shown, wanted) in enumerate(zip(self._shown, self._wanted, strict=True))
        ]

    def _may_write(self) -> bool:
        """Whether nothing but messages lies over it, and there is a terminal."""
        app = self.app
        driver = app._driver  # see `send`
        return (
            self._direct
            and driver is not None
            and not driver.is_headless
            and app.screen is self.screen
            and not app._batch_count  # painting is held back, so is ours
            and self.region.size == self.size
        )

    def render_lines(self, crop: Region) -> list[Strip]:
        """What the terminal has been sent, for the part that Textual repaints."""
        return [self._strip(y).crop(crop.x, crop.right) for y in crop.line_range]

    def _strip(self, y: int) -> Strip:
        if y >= len(self._shown):
            return CellStrip([BLANK] * self.size.width, self._palette)
        row = self._shown[y]
        kept = self._strips.get(y)
        if kept is None or kept[0] is not row:
            kept = self._strips[y] = (row, CellStrip(row, self._palette))
        return kept[1]


def _same(one: Row, other: Row) -> bool:
    return one is other or one == other
