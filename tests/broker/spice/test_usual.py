"""What is known at one look is drawn as if it had been read field by field."""

from __future__ import annotations

import struct
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import Display
from broker.spice.errors import RemoteProtocolError
from broker.spice.screen import Painted, Rect, Screen
from broker.spice.usual import usual_copy
from broker.spice.wire import SurfaceCreate
from tests.broker.spice.test_pixels import BLUE, GREEN, RED, image
from tests.broker.spice.test_screen import copy, screen, shown

WIDTH, HEIGHT = 3, 2
PICTURE = image(8, WIDTH, [RED + GREEN + BLUE, BLUE + RED + RED])
USUAL = copy((1, 0, 1 + HEIGHT, WIDTH), PICTURE, (0, 0, HEIGHT, WIDTH))
PIXELS = RED + GREEN + BLUE + BLUE + RED + RED
FIXED_BYTES = USUAL.index(PIXELS)
PLACES = st.integers(0, FIXED_BYTES - 1)
VALUES = st.one_of(st.integers(0, 10), st.integers(0, 255))


class ByFields(Screen):
    """Looks at nothing at once."""

    def _put(self, body: memoryview) -> Painted | None:
        return None


def drawn(on: Screen, body: bytes) -> tuple[Painted | str | None, bytes, Counter[str]]:
    """What comes of a message, its error included."""
    on.receive(Display.SURFACE_CREATE, SurfaceCreate(0, 4, 4, 32, 1).encode())
    try:
        found: Painted | str | None = on.receive(Display.DRAW_COPY, body)
    except RemoteProtocolError as exc:
        found = str(exc)
    return found, shown(on), on.undrawn


def test_the_usual_one_is_known() -> None:
    found = usual_copy(memoryview(USUAL))
    assert found is not None
    assert found[:5] == (0, 1, 0, 1 + HEIGHT, WIDTH)
    assert bytes(found.pixels).startswith(PIXELS)


def test_it_is_drawn_where_it_belongs() -> None:
    it = screen(4, 4)
    assert it.receive(304, USUAL) == Painted(0, (Rect(1, 0, 1 + HEIGHT, WIDTH),))
    row = slice(4 * 4, 4 * 4 + 4 * WIDTH)
    assert shown(it)[row] == RED + GREEN + BLUE


@given(changes=st.lists(st.tuples(PLACES, VALUES), max_size=3), cut=st.integers(0, 60))
def test_whatever_its_fields_say_it_is_drawn_the_same(
    changes: list[tuple[int, int]], cut: int
) -> None:
    body = bytearray(USUAL)
    for place, value in changes:
        body[place] = value
    message = bytes(body[: len(body) - max(0, cut - 30)])
    assert drawn(Screen(), message) == drawn(ByFields(), message)


def test_one_that_breaks_off_is_not_known() -> None:
    for size in (0, FIXED_BYTES - 1, FIXED_BYTES, FIXED_BYTES + len(PIXELS) - 1):
        assert usual_copy(memoryview(USUAL)[:size]) is None


def test_a_surface_as_high_as_a_screen_is_drawn_the_same() -> None:
    """From some rows on another way of copying is taken."""
    rows = [struct.pack("<I", 1000 * row) * 2 for row in range(64)]
    body = copy((0, 1, 64, 3), image(8, 2, rows), (0, 0, 64, 2))
    ours, theirs = Screen(), ByFields()
    for each in (ours, theirs):
        each.receive(Display.SURFACE_CREATE, SurfaceCreate(0, 4, 64, 32, 1).encode())
        each.receive(Display.DRAW_COPY, body)
    assert shown(ours) == shown(theirs)
