"""A VM's screen while it changes, by its monitor: QEMU draws it into a file each time it is asked.

It takes nobody's place at the screen. QEMU is asked less and less often while nothing changes, and
at once when something was typed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker.errors import Refused
from broker.guest import PACE_SECONDS
from broker.view import CALM_SECONDS, Frame, Pointer
from broker.vm import keyboard, screen
from broker.vm.asking import Asker
from broker.vm.monitor import Command
from broker.within import within

SHORTEST_REST: Final = 0.05
REST_GROWS: Final = 1.5
_AXIS: Final = 0x7FFF
"""The far end of an axis. Source: QEMU's qapi/ui.json, InputMoveEvent."""
_BUTTONS: Final = {1: "left", 2: "middle", 4: "right"}
_WHEEL: Final = {-1: "wheel-up", 1: "wheel-down"}


class MonitorView:
    """See `broker.view.View`. Making one touches nothing, and nothing stays open."""

    via: Final = "monitor"
    whole: Final = True

    def __init__(self, asker: Asker, scratch: Path, *, calm: float = CALM_SECONDS) -> None:
        self._asker = asker
        self._calm = calm
        self._file = scratch / f"view-{secrets.token_hex(6)}"
        self._last = b""
        self._size = (1, 1)
        self._rest = SHORTEST_REST
        self._stirred = asyncio.Event()
        self._pointer = Pointer(0, 0)
        self._places: bool | None = None

    async def frame(self) -> Frame:
        """The next picture that is another one."""
        while True:
            self._stirred.clear()
            content = await screen.pixels(self._asker, self._file)
            if content != self._last:
                self._last, self._rest = content, SHORTEST_REST
                width, height, rgb = screen.rows(content)
                self._size = (width, height)
                return Frame(width, height, "RGB", bytes(rgb))
            with contextlib.suppress(TimeoutError):
                async with within(self._rest):
                    await self._stirred.wait()
                    continue
            self._rest = min(self._calm, self._rest * REST_GROWS)

    async def press(self, chords: Sequence[str]) -> None:
        """Press combinations of keys."""
        pressed = [keyboard.chord(text) for text in chords]
        await keyboard.press(self._asker, pressed, pace=PACE_SECONDS)
        self._stir()

    async def key(self, name: str, *, down: bool) -> None:
        """Press a key, or let it go."""
        pressed = keyboard.chord(name)
        if down:
            await self._asker.check_it_hears()
        events = [_event("key", down=down, key={"type": "qcode", "data": key}) for key in pressed]
        await self._asker.ask(Command("input-send-event", {"events": events}))
        self._stir()

    async def type(self, text: str, *, layout: str = "us") -> None:
        """Type a text."""
        pressed = keyboard.chords(text, layout)
        await keyboard.press(self._asker, pressed, pace=PACE_SECONDS)
        self._stir()

    async def point(self, pointer: Pointer) -> None:
        """Move the pointer."""
        await self._see_that_places_are_heard()
        width, height = self._size
        events: list[dict[str, object]] = [
            _event("abs", axis="x", value=_on_axis(pointer.x, width)),
            _event("abs", axis="y", value=_on_axis(pointer.y, height)),
        ]
        for mask, name in _BUTTONS.items():
            if (pointer.buttons ^ self._pointer.buttons) & mask:
                events.append(_event("btn", button=name, down=bool(pointer.buttons & mask)))
        if pointer.wheel in _WHEEL:
            wheel = _WHEEL[pointer.wheel]
            events += [_event("btn", button=wheel, down=down) for down in (True, False)]
        await self._asker.ask(Command("input-send-event", {"events": events}))
        self._pointer = pointer
        self._stir()

    async def _see_that_places_are_heard(self) -> None:
        if self._places is None:
            mice = await self._asker.one("query-mice")
            self._places = isinstance(mice, list) and any(mouse.get("absolute") for mouse in mice)
        if not self._places:
            raise Refused(
                f"{self._asker.name} has a mouse that only knows movements",
                reason="no-tablet",
                fix="Give it a tablet (-device usb-tablet), or open it in a viewer",
            )

    def _stir(self) -> None:
        self._rest = SHORTEST_REST
        self._stirred.set()


def _event(kind: str, **data: object) -> dict[str, object]:
    return {"type": kind, "data": data}


def _on_axis(place: int, size: int) -> int:
    return max(0, min(_AXIS, place * _AXIS // max(1, size - 1)))
