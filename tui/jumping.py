"""Where one can go on a screen: rows, tabs, options, fields and buttons, and what to call them.

A widget that is more than one place says which in a method `places`; any other that can have the
focus is one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from textual.geometry import Offset
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import OptionList

LETTERS: Final = "asdfghjklqwertyuiopzxcvbnm"
"""Those under the fingers first."""


class Place(NamedTuple):
    """One place to go.

    Attributes:
        at: Its cell on the terminal.
        go: Goes there; it acts on nothing.
    """

    at: Offset
    go: Callable[[], object]


@runtime_checkable
class Places(Protocol):
    """A widget with places in it."""

    def places(self) -> Iterator[Place]:
        """Those that can be seen."""
        ...


def places_of(screen: Screen[Any]) -> list[Place]:
    """Every place on it that can be seen, from the top."""
    found: list[Place] = []
    for widget in screen.walk_children(Widget):
        if not widget.is_on_screen:
            continue
        if isinstance(widget, Places):
            found += widget.places()
        elif isinstance(widget, OptionList):
            found += _options(widget)
        elif widget.focusable:
            found.append(Place(widget.region.offset, partial(screen.set_focus, widget)))
    seen = screen.region
    return sorted((place for place in found if seen.contains_point(place.at)), key=_from_the_top)


def go_to(place: Place | None) -> None:
    """Go there, if anywhere."""
    if place is not None:
        place.go()


def _from_the_top(place: Place) -> tuple[int, int]:
    return (place.at.y, place.at.x)


def _options(options: OptionList) -> Iterator[Place]:
    def go(index: int) -> None:
        options.screen.set_focus(options)
        options.highlighted = index

    top = round(options.scroll_offset.y)
    x, y, _, height = options.content_region
    for index in range(options.option_count):
        line = index - top  # ours have a line each
        if 0 <= line < height and not options.get_option_at_index(index).disabled:
            yield Place(Offset(x, y + line), partial(go, index))


def names_for(count: int) -> list[str]:
    """So many names, as short as can be; none begins another."""
    long = max(0, -(-(count - len(LETTERS)) // (len(LETTERS) - 1)))
    names = list(LETTERS[: len(LETTERS) - long])
    for first in LETTERS[len(LETTERS) - long :]:
        names += [first + second for second in LETTERS]
    return names[:count]
