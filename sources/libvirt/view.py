"""A domain's screen while it changes, by one screenshot after the other: nobody's place is taken.

Libvirt is asked less and less often while nothing changes.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from broker.errors import NoConsole, Refused
from broker.guest import Screenshot
from broker.view import CALM_SECONDS, Frame, Pointer

SHORTEST_REST: Final = 0.2
"""Seconds between two pictures at least: each is a file that QEMU writes and libvirt sends."""
REST_GROWS: Final = 1.5


class ScreenshotView:
    """See `broker.view.View`. It only looks on.

    Args:
        name: The machine's, for errors.
        shoot: Takes a picture.
    """

    via: Final = "screenshots"
    whole: Final = True

    def __init__(
        self, name: str, shoot: Callable[[], Awaitable[Screenshot]], *, calm: float = CALM_SECONDS
    ) -> None:
        self._name = name
        self._shoot = shoot
        self._calm = calm
        self._last = b""
        self._rest = SHORTEST_REST

    async def frame(self) -> Frame:
        """The next picture that is another one."""
        if self._last:
            await asyncio.sleep(self._rest)
        while (png := (await self._shoot()).png) == self._last:
            self._rest = max(SHORTEST_REST, min(self._calm, self._rest * REST_GROWS))
            await asyncio.sleep(self._rest)
        self._last, self._rest = png, SHORTEST_REST
        return await asyncio.to_thread(_frame, png)

    async def press(self, chords: Sequence[str]) -> None:
        """See `_deaf`."""
        self._deaf()

    async def key(self, name: str, *, down: bool) -> None:
        """See `_deaf`."""
        self._deaf()

    async def type(self, text: str, *, layout: str = "us") -> None:
        """See `_deaf`."""
        self._deaf()

    async def point(self, pointer: Pointer) -> None:
        """See `_deaf`."""
        self._deaf()

    def _deaf(self) -> NoReturn:
        raise Refused(
            f"{self._name} is only looked at",
            reason="watching",
            fix="Be at its screen: l in the interface, or broker open",
        )


def _frame(png: bytes) -> Frame:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            rgb = image.convert("RGB")
            return Frame(rgb.width, rgb.height, "RGB", rgb.tobytes())
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as exc:
        raise NoConsole("libvirt sent a picture that cannot be read") from exc
