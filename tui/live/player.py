"""From a view to cells, and from keys to a view: the part of a live screen that waits.

Nothing piles up on the way: a picture is asked for when the one before has begun to go to the
terminal, keys wait in a short queue, and pointers' movements overtake each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from broker.errors import BrokerError, Refused, UsageError
from broker.unwrap import unwrapped
from broker.view import Frame, Pointer, Spoken, View
from broker.within import within
from tui.live.cells import Row
from tui.live.frame_view import FrameView
from tui.live.keyboard import Move
from tui.live.letters import Page, Reader
from tui.live.moving import Moving
from tui.live.pace import FRAME_SECONDS, Pace
from tui.live.shades import Port, Shrinker, fit
from tui.live.typed import Typed
from tui.live.zoom import Zoom

LETTING_GO_SECONDS: Final = 2.0
"""How long leaving may take over keys that are still held down."""
Act = Typed | Move | Pointer
BETWEEN_MESSAGES: Final = 5.0
"""Seconds from one message to the next: whoever sends them must not hide the guest's screen."""
AHEAD_SECONDS: Final = 0.01
"""So much sooner than it must be a picture is asked for, beside twice what making cells took."""
LOOKED_AT: Final = 8
"""Of a video's pictures one of so many is looked at for text; and the one it rests at."""
MOST_WAITING: Final = 512
"""Keys and clicks that may wait; a guest that takes none for so long is told of."""


@dataclass(slots=True)
class Shown:
    """What is on the screen now.

    Attributes:
        page: The text, when it is text.
    """

    frame: Frame
    port: Port
    page: Page | None = None


class Player:
    """Plays one view on one widget.

    Args:
        told: Called with what a person must know of a key that was not taken.
        drawn: Called after each picture.
        said: Called with a message to the person, as it came, no more often than is calm.
    """

    def __init__(
        self,
        widget: FrameView,
        pace: Pace,
        *,
        told: Callable[[BrokerError], None],
        drawn: Callable[[Shown], None],
        said: Callable[[str], None],
    ) -> None:
        self.zoom = Zoom()
        self.layout = "us"
        self.shown: Shown | None = None
        self.frames = 0
        """Pictures, or parts of them, that went to the terminal."""
        self.bytes_sent = 0
        self._widget = widget
        self._pace = pace
        self._told = told
        self._drawn = drawn
        self._said = said
        self._reader = Reader()
        self._shrinker = Shrinker()
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._sent = asyncio.Event()
        self._answer = asyncio.Event()
        self._free = asyncio.Event()
        self._took = 0.0
        self._looked = 0
        self._moving = Moving()
        self._rough = asyncio.Event()
        self._queue: asyncio.Queue[Act] = asyncio.Queue()
        self._held: dict[str, None] = {}

    async def play(self, view: View) -> None:
        """Until the view is gone, which raises, or this is cancelled."""
        try:
            async with unwrapped(), asyncio.TaskGroup() as group:
                group.create_task(self._read(view), name="live picture")
                group.create_task(self._refine(), name="live rest")
                group.create_task(self._send(), name="live terminal")
                group.create_task(self._act(view), name="live keys")
                if isinstance(view, Spoken):
                    group.create_task(self._listen(view), name="live messages")
        finally:
            await self._let_go(view)

    # -- from the guest

    async def _read(self, view: View) -> None:
        now = asyncio.get_running_loop().time
        while True:
            frame = await view.frame()
            begun = now()
            await self._draw(frame)
            self._took = 0.5 * self._took + 0.5 * (now() - begun)
            self._sent.clear()
            await self._sent.wait()
            await self._until_it_is_of_use()

    async def _until_it_is_of_use(self) -> None:
        """Wait while a picture taken now would be old before it can go."""
        now = asyncio.get_running_loop().time
        while (left := self._pace.left(now()) - 2 * self._took - AHEAD_SECONDS) > 0:
            self._free.clear()
            with contextlib.suppress(TimeoutError):
                async with within(left):
                    await self._free.wait()

    async def again(self) -> None:
        """Draw what there is anew: the size, or what is wanted of it, has changed."""
        await self._draw(None)

    async def _refine(self) -> None:
        """Draw anew, of all its pixels, what was drawn of some, once it rests."""
        now = asyncio.get_running_loop().time
        while True:
            await self._rough.wait()
            if left := self._moving.rests_in(now()):
                await asyncio.sleep(left)
                continue
            self._rough.clear()
            if self._shrinker.rough:
                await self.again()

    async def _draw(self, frame: Frame | None) -> None:
        """Draw it, or what there is anew."""
        async with self._lock:
            size = (self._widget.size.width, self._widget.size.height)
            if frame is None and self.shown is not None:
                frame = replace(self.shown.frame, changed=None)
            if frame is None or not all(size):
                return
            rough = self._moving.saw(frame, asyncio.get_running_loop().time())
            shown, rows = await asyncio.to_thread(self._cells, frame, *size, rough=rough)
            if rough:
                self._rough.set()
            self.shown = shown
            self._widget.want(rows, left=shown.port.left, top=shown.port.top)
            self._changed.set()
            self._drawn(shown)

    def _cells(
        self, frame: Frame, columns: int, lines: int, *, rough: bool
    ) -> tuple[Shown, list[Row]]:
        """What to show; in a thread."""
        page = None if self.zoom.is_on or self._skips(rough) else self._reader.read(frame)
        if page is not None:
            self._shrinker = Shrinker()  # it has not seen this one, so it cannot patch the next
            port = text_port(page, columns, lines)
            first = (port.box[1] - page.origin[1]) // page.glyph[1]
            return Shown(frame, port, page), [
                row[: port.columns] for row in page.rows[first : first + port.lines]
            ]
        if self.zoom.is_on:
            port = self.zoom.port(frame.width, frame.height, columns, lines)
        else:
            port = fit(frame.width, frame.height, columns, lines)
        return Shown(frame, port), self._shrinker.rows(frame, port, rough=rough)

    def _skips(self, rough: bool) -> bool:
        """Whether it need not be looked for text: of a video only some pictures are."""
        self._looked += 1
        had_none = self.shown is not None and self.shown.page is None
        return rough and had_none and self._looked % LOOKED_AT != 0

    async def _listen(self, view: Spoken) -> None:
        while True:
            self._said(await view.said())
            await asyncio.sleep(BETWEEN_MESSAGES)

    # -- to the terminal

    def answered(self, number: int) -> None:
        """The terminal has taken what was sent under that number."""
        if self._pace.answered(asyncio.get_running_loop().time(), number):
            self._answer.set()
            self._free.set()

    async def _send(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await self._changed.wait()
            await self._our_turn()
            self._changed.clear()
            size = self._widget.send(self._pace.room(now()), self._pace.number)
            self._sent.set()
            self.frames += 1
            if size:
                self.bytes_sent += size
                self._pace.sent(size, now())
            else:
                await asyncio.sleep(FRAME_SECONDS)
            if not self._widget.converged:
                self._changed.set()

    async def _our_turn(self) -> None:
        now = asyncio.get_running_loop().time
        while (left := self._pace.due(now())) > 0 or self._pace.waits:
            if not self._pace.waits:
                await asyncio.sleep(left)
                continue
            self._answer.clear()
            try:
                async with within(left):
                    await self._answer.wait()
            except TimeoutError:
                pass

    # -- to the guest

    def give(self, what: Act) -> bool:
        """Pass it on as soon as may be; False when too much waits already.

        A key that goes up is always taken: it would stay down.
        """
        goes_up = isinstance(what, Move) and not what.down
        if self._queue.qsize() >= MOST_WAITING and not goes_up:
            return False
        self._queue.put_nowait(what)
        self._pace.typed(asyncio.get_running_loop().time())
        return True

    async def _act(self, view: View) -> None:
        waiting: Act | None = None
        while True:
            now = waiting or await self._queue.get()
            waiting = None
            while not self._queue.empty():
                after = self._queue.get_nowait()
                joined = _joined(now, after)
                if joined is None:
                    waiting = after
                    break
                now = joined
            try:
                await self._do(view, now)
            except (Refused, UsageError) as problem:
                if isinstance(now, Move):
                    self._held.pop(now.key, None)
                self._told(problem)

    async def _do(self, view: View, what: Act) -> None:
        if isinstance(what, Pointer):
            await view.point(what)
        elif isinstance(what, Move):
            if what.down:
                self._held[what.key] = None
            elif self._held.pop(what.key, False) is False:
                return  # going down, it was not taken
            await view.key(what.key, down=what.down)
        elif what.text:
            await view.type(what.text, layout=self.layout)
        else:
            await view.press([what.chord])

    async def _let_go(self, view: View) -> None:
        """Leave no key down, if there still is somebody to be told."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with within(LETTING_GO_SECONDS):
                while self._held:
                    await view.key(self._held.popitem()[0], down=False)


def _joined(first: Act, then: Act) -> Act | None:
    """Both as one, where that is the same to a guest."""
    if isinstance(first, Typed) and isinstance(then, Typed) and first.text and then.text:
        return Typed(text=first.text + then.text)
    if isinstance(first, Pointer) and isinstance(then, Pointer):
        still = first.buttons == then.buttons and not first.wheel
        return then if still else None
    return None


def text_port(page: Page, columns: int, lines: int) -> Port:
    """Where a page goes; when there are more lines than room, those around the cursor."""
    across, down = page.glyph
    wide, high = min(len(page.rows[0]), columns), min(len(page.rows), lines)
    used = len(page.text.rstrip().splitlines())
    last = max(used, page.cursor[1] + 1 if page.cursor else 0)
    first = max(0, min(len(page.rows), last) - high)
    left, top = page.origin
    return Port(
        (left, top + first * down, left + wide * across, top + (first + high) * down),
        wide,
        high,
        (columns - wide) // 2,
        (lines - high) // 2,
    )
