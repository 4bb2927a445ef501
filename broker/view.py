"""A screen to be looked at and typed on while it changes: one contract, whatever brings it.

Drivers and the headless client fulfil it, `broker.service.port` hands it to the faces. Nothing
here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Protocol, runtime_checkable

CALM_SECONDS: Final = 0.5
"""How often a picture that nobody tells about is looked at while it does not change."""


class Way(StrEnum):
    """How to come to a screen."""

    WATCH = "watch"
    """Look on, and take nobody's place."""
    USE = "use"
    """Have it, unless somebody is there."""
    TAKE_OVER = "take-over"
    """Have it; whoever is there is ended first."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the screen showed at one moment.

    Attributes:
        data: Rows from the top, without gaps. `RGB` has three bytes a pixel, `BGRX` four. A view of
            memory is lent: it goes on changing with the screen, and saves a copy for each picture.
        changed: Left, top, right and bottom of all that is other than in the frame before; the
            latter two do not belong to it. None when that is not known: then all may be.
    """

    width: int
    height: int
    form: Literal["RGB", "BGRX"]
    data: bytes | bytearray | memoryview = field(repr=False)
    changed: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a pointer is, in pixels, and what is held down.

    Attributes:
        buttons: 1 left, 2 middle, 4 right, added up.
        wheel: -1 one notch up, 1 one down.
    """

    x: int
    y: int
    buttons: int = 0
    wheel: int = 0


class View(Protocol):
    """An open view; every call raises Unreachable once the screen is gone."""

    @property
    def via(self) -> str:
        """What brings the picture: `spice` or `monitor`."""
        ...

    @property
    def whole(self) -> bool:
        """Whether nothing is missing from the picture: not so while a server sends video."""
        ...

    async def frame(self) -> Frame:
        """The first picture at once, then each time one that is other than the last one given.

        Whoever asks less often misses what was between, and nothing piles up.

        Raises:
            NoConsole: The machine has no screen.
        """
        ...

    async def press(self, chords: Sequence[str]) -> None:
        """Press combinations such as `ctrl-alt-delete`, one after the other.

        Raises:
            UsageError: There is no such key; none was pressed.
            Refused: Nobody would hear it.
        """
        ...

    async def key(self, name: str, *, down: bool) -> None:
        """Press one key and hold it, or let it go; pressed again it repeats.

        Whoever presses one lets it go, at the latest before the view is closed.

        Args:
            name: As in `press`.

        Raises:
            UsageError: There is no such key.
            Refused: Nobody would hear it.
        """
        ...

    async def type(self, text: str, *, layout: str = "us") -> None:
        """Type a text on a guest whose keyboard is set to `layout`.

        Raises:
            UsageError: A character has no place on that keyboard; nothing was typed.
            Refused: Nobody would hear it.
        """
        ...

    async def point(self, pointer: Pointer) -> None:
        """Move the pointer and its buttons.

        Raises:
            Refused: The machine knows no pointer that can be told its place.
        """
        ...


@runtime_checkable
class Spoken(Protocol):
    """What a view is besides, when whoever looks can be spoken to: a session through the proxy."""

    async def said(self) -> str:
        """The next message to the person, as it came: of any length, with whatever signs.

        Of many that nobody took only the newest few are kept.
        """
        ...
