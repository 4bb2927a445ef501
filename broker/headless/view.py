"""A SPICE session as a view: its picture while it changes, its keys and its pointer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from broker import vv
from broker.errors import Refused, Unreachable
from broker.headless.channel import AGAIN
from broker.headless.pointer import Button
from broker.headless.pointer import Pointer as Mouse
from broker.headless.session import MOUSE_CLIENT, Heard, Session, opened
from broker.headless.typist import chord_for, keys_for
from broker.headless.wire import by_door, dialer, target_of
from broker.spice.client import Notified, SurfaceCreated
from broker.spice.screen import Painted, Rect
from broker.view import Frame, Pointer

_BUTTONS: Final = {1: Button.LEFT, 2: Button.MIDDLE, 4: Button.RIGHT}
_WHEEL: Final = {-1: Button.UP, 1: Button.DOWN}
MOST_SAID: Final = 4
"""Messages to the person that wait to be taken; a server may send any number."""


class SessionView:
    """See `broker.view.View` and `broker.view.Spoken`. Made by `viewed`."""

    via: Final = "spice"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._mouse = Mouse(session)
        self._dirty: Rect | None = None
        self._all = True
        self._size = (0, 0)
        self._news = asyncio.Event()
        self._news.set()
        self._buttons = 0
        self._said: deque[str] = deque(maxlen=MOST_SAID)
        self._speech = asyncio.Event()
        session.ended.add_done_callback(lambda _: self._news.set())

    @property
    def whole(self) -> bool:
        """Whether all that was sent could be drawn."""
        return not self._session.screen.undrawn

    def heard(self, heard: Heard) -> None:
        """Take note of what was drawn where, and of what was said."""
        event = heard.event
        if isinstance(event, Notified) and event.notify.for_people:
            self._said.append(event.notify.text)
            self._speech.set()
        if isinstance(event, SurfaceCreated):
            self._all = True
        elif isinstance(event, Painted) and event.surface == self._session.screen.primary:
            for area in event.areas:
                self._dirty = area if self._dirty is None else _both(self._dirty, area)
        else:
            return
        self._news.set()

    async def frame(self) -> Frame:
        """The next picture that is another one."""
        session = self._session
        while True:
            await self._news.wait()
            self._news.clear()
            if session.ended.done():
                raise Unreachable(session.ended.result(), fix=AGAIN)
            picture = session.screen.lent()
            if picture is None:
                continue
            dirty, everything = self._dirty, self._all or self._size != session.screen.size
            if not everything and not dirty:
                continue
            self._dirty, self._all, self._size = None, False, session.screen.size
            box = None
            if dirty and not everything:
                box = (dirty.left, dirty.top, dirty.right, dirty.bottom)
            return Frame(picture.width, picture.height, "BGRX", picture.data, box)

    async def said(self) -> str:
        """The next message to the person."""
        while not self._said:
            self._speech.clear()
            await self._speech.wait()
        return self._said.popleft()

    async def press(self, chords: Sequence[str]) -> None:
        """Press combinations of keys."""
        await self._press([chord_for(text) for text in chords])

    async def key(self, name: str, *, down: bool) -> None:
        """Press a key, or let it go; spice-server lets go of all when we are gone."""
        for code in chord_for(name):
            await self._session.key(code, down=down)

    async def type(self, text: str, *, layout: str = "us") -> None:
        """Type a text."""
        await self._press(keys_for(text, layout))

    async def _press(self, chords: Sequence[Sequence[int]]) -> None:
        for chord in chords:
            for code in chord:
                await self._session.key(code, down=True)
            for code in reversed(chord):
                await self._session.key(code, down=False)

    async def point(self, pointer: Pointer) -> None:
        """Move the pointer; with an agent or a tablet in the guest it is heard."""
        if self._session.mouse_mode != MOUSE_CLIENT:
            raise Refused(
                "The machine has a mouse that only knows movements",
                reason="no-tablet",
                fix="Give it a tablet or an agent, or open it in a viewer",
            )
        await self._mouse.point(pointer.x, pointer.y)
        for bit, button in _BUTTONS.items():
            if (pointer.buttons ^ self._buttons) & bit:
                await self._mouse.button(button, down=bool(pointer.buttons & bit))
        self._buttons = pointer.buttons
        if pointer.wheel in _WHEEL:
            await self._mouse.click(_WHEEL[pointer.wheel])


def _both(one: Rect, other: Rect) -> Rect:
    return Rect(
        min(one.top, other.top),
        min(one.left, other.left),
        max(one.bottom, other.bottom),
        max(one.right, other.right),
    )


@contextlib.asynccontextmanager
async def viewed(file: str, door: Path) -> AsyncIterator[SessionView]:
    """The view that a .vv file of our own proxy leads to, open until the block ends.

    Args:
        door: The proxy's private socket; see `broker.headless.wire.by_door`.

    Raises:
        Refused: Its token was not taken.
        Unreachable: Nobody answers, it is not who it should be, or it breaks the protocol.
    """
    parsed = vv.parse(file)
    dial = by_door(door, dialer(target_of(parsed)))
    async with opened(dial, parsed.password) as session:
        view = SessionView(session)
        with session.listening(view.heard):
            yield view
