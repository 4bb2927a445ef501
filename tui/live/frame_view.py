"""The widget that shows a guest's cells, and sends a terminal only those that have changed.

While nothing lies over it, it writes to the terminal itself: Textual repaints a row from the
widget's left edge on, whatever of it has changed. What it wrote is what it gives Textual too, so
that a repaint at any time shows the same.
"""

from __future__ import annotations

import itertools
from typing import Final

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.live.cells import BLANK, CellStrip, Palette, Row, difference

BEGIN: Final = "\x1b[?2026h\x1b7"
END: Final = "\x1b[0m\x1b8\x1b[?2026l"
ASK: Final = "\x1b[6n"
_BUTTONS: Final = {1: 1, 2: 2, 3: 4}
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
        self._next = 0

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
            shown = row if len(row) == width and not left else [*[BLANK] * left, *row][:width]
            wanted.append(shown if len(shown) == width else [*shown, *blank[len(shown) :]])
        self._wanted = wanted + [blank] * (height - len(wanted))
        if [len(row) for row in self._shown] != [width] * height:
            self._shown = [blank] * height
            self.refresh()

    def send(self, budget: int) -> int:
        """Send what differs, at most about `budget` bytes of it, each time going on where it was.

        Returns:
            How many bytes; 0 when there was nothing to send, or Textual will.
        """
        if not self._wanted or len(self._wanted) != len(self._shown):
            return 0
        if not self._may_write():
            self._repaint()
            return 0
        offset = self.region.offset
        parts: list[str] = []
        left = budget
        count = len(self._wanted)
        for line in itertools.chain(range(self._next, count), range(self._next)):
            old, new = self._shown[line], self._wanted[line]
            if _same(old, new):
                continue
            text, upto = difference(
                old,
                new,
                line=offset.y + line + 1,
                column=offset.x + 1,
                palette=self._palette,
                most=max(1, left // _CELL_BYTES),
            )
            parts.append(text)
            left -= len(text)
            self._shown[line] = new if upto == len(new) else [*new[:upto], *old[upto:]]
            self._next = line
            if left <= 0:
                break
        if not parts:
            return 0
        data = BEGIN + "".join(parts) + END + ASK
        driver = self.app._driver  # Textual has no other way to the terminal
        assert driver is not None
        driver.write(data)
        driver.flush()
        return len(data.encode())

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

    def _repaint(self) -> None:
        """Have Textual show it."""
        changed = [
            Region(0, line, self.size.width, 1)
            for line, (old, new) in enumerate(zip(self._shown, self._wanted, strict=True))
            if not _same(old, new)
        ]
        if changed:
            self._shown = list(self._wanted)
            self.refresh(*changed)

    def _may_write(self) -> bool:
        """Whether nothing lies over it, and there is a terminal."""
        app = self.app
        driver = app._driver  # see `send`
        return (
            self._direct
            and driver is not None
            and not driver.is_headless
            and app.screen is self.screen
            and not app._batch_count  # painting is held back, so is ours
            and not self.screen.query("Toast")
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
