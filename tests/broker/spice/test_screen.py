import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import Display
from broker.spice.errors import RemoteProtocolError
from broker.spice.pixels import Pixels
from broker.spice.screen import Painted, Rect, Screen
from broker.spice.wire import SurfaceCreate
from tests.broker.spice.test_pixels import BLUE, GREEN, RED, image

BLACK = bytes(4)
NO_MASK = bytes(13)
PUT = struct.pack("<H", 8)


def base(box: tuple[int, ...], clips: tuple[tuple[int, ...], ...] = (), surface: int = 0) -> bytes:
    """Boxes are top, left, bottom, right."""
    body = struct.pack("<I4iB", surface, *box, bool(clips))
    if clips:
        body += struct.pack("<I", len(clips)) + b"".join(struct.pack("<4i", *c) for c in clips)
    return body


def copy(
    box: tuple[int, ...],
    picture: memoryview,
    source: tuple[int, ...],
    *,
    rop: int = 8,
    mask: int = 0,
    clips: tuple[tuple[int, ...], ...] = (),
) -> bytes:
    start = base(box, clips)
    at = len(start) + 4 + 16 + 3 + 13
    rest = struct.pack("<4iHB", *source, rop, 0) + struct.pack("<BiiI", 0, 0, 0, mask)
    return start + struct.pack("<I", at) + rest + bytes(picture)


def fill(box: tuple[int, ...], colour: int) -> bytes:
    return base(box) + b"\1" + struct.pack("<I", colour) + PUT + NO_MASK


def screen(width: int = 2, height: int = 2) -> Screen:
    made = Screen()
    made.receive(Display.SURFACE_CREATE, SurfaceCreate(0, width, height, 32, 1).encode())
    return made


def shown(it: Screen) -> bytes:
    picture = it.picture()
    assert picture is not None
    return bytes(picture.data)


PICTURE = image(8, 2, [RED + GREEN, BLUE + RED])


def test_there_is_no_picture_before_a_surface() -> None:
    empty = Screen()
    assert (empty.size, empty.picture()) == ((0, 0), None)


def test_a_picture_is_put_where_it_belongs() -> None:
    it = screen()
    assert it.receive(304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2))) == Painted(
        0, (Rect(0, 0, 2, 2),)
    )
    assert it.picture() == Pixels(2, 2, RED + GREEN + BLUE + RED)


def test_a_picture_that_is_lent_goes_on_changing_and_cannot_be_written_to() -> None:
    it = screen()
    lent, copied = it.lent(), it.picture()
    assert lent is not None
    it.receive(304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2)))
    assert lent == Pixels(2, 2, RED + GREEN + BLUE + RED)
    assert copied == Pixels(2, 2, BLACK * 4)
    assert isinstance(lent.data, memoryview)
    assert lent.data.readonly


def test_of_a_surface_that_is_not_shown_all_only_that_part_is_lent() -> None:
    assert Screen().lent() is None
    it = screen()
    it.receive(304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2)))
    it.receive(Display.MONITORS_CONFIG, struct.pack("<HH7I", 1, 1, 0, 0, 1, 2, 1, 0, 0))
    assert it.lent() == it.picture() == Pixels(1, 2, GREEN + RED)


def test_a_part_of_a_picture() -> None:
    it = screen()
    it.receive(304, copy((1, 1, 2, 2), PICTURE, (0, 1, 1, 2)))
    assert shown(it) == BLACK * 3 + GREEN


def test_only_clipped_areas_change() -> None:
    it = screen()
    body = copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2), clips=((0, 0, 1, 1), (1, 1, 2, 2)))
    assert it.receive(304, body) == Painted(0, (Rect(0, 0, 1, 1), Rect(1, 1, 2, 2)))
    assert shown(it) == RED + BLACK * 2 + RED


def test_what_lies_outside_is_cut_off() -> None:
    it = screen()
    it.receive(304, copy((-1, -1, 1, 1), PICTURE, (0, 0, 2, 2)))
    assert shown(it) == RED + BLACK * 3


def test_a_picture_is_stretched_to_its_box() -> None:
    it = screen()
    it.receive(304, copy((0, 0, 2, 2), image(8, 1, [GREEN]), (0, 0, 1, 1)))
    assert shown(it) == GREEN * 4


def test_filling_and_inverting() -> None:
    it = screen()
    it.receive(302, fill((0, 0, 1, 2), 0xFF0000))
    it.receive(308, base((0, 0, 1, 1)) + NO_MASK)
    assert shown(it) == b"\xff\xff\0\xff" + RED + BLACK * 2
    it.receive(307, base((0, 0, 2, 2)) + NO_MASK)
    assert shown(it) == b"\xff\xff\xff\0" * 4
    it.receive(306, base((0, 0, 2, 2)) + NO_MASK)
    assert shown(it) == BLACK * 4


def test_copying_within_the_screen_takes_what_was_there_before() -> None:
    it = screen(3, 1)
    it.receive(304, copy((0, 0, 1, 3), image(8, 3, [RED + GREEN + BLUE]), (0, 0, 1, 3)))
    it.receive(104, base((0, 1, 1, 3)) + struct.pack("<ii", 0, 0))
    assert shown(it) == RED + RED + GREEN


def test_a_surface_off_the_screen_can_be_a_picture() -> None:
    it = screen()
    it.receive(314, SurfaceCreate(5, 2, 2, 32, 0).encode())
    body = base((0, 0, 2, 2), surface=5) + b"\1" + struct.pack("<I", 0xFF00) + PUT + NO_MASK
    assert it.receive(302, body) == Painted(5, (Rect(0, 0, 2, 2),))
    other = memoryview(struct.pack("<QBBIII", 1, 104, 0, 2, 2, 5))
    it.receive(304, copy((0, 0, 1, 1), other, (0, 0, 1, 1)))
    assert shown(it) == GREEN + BLACK * 3


def test_a_monitor_shows_a_part_of_the_surface() -> None:
    it = screen()
    it.receive(304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2)))
    it.receive(317, struct.pack("<HH7I", 1, 1, 0, 0, 1, 2, 1, 0, 0))
    assert it.size == (1, 2)
    assert shown(it) == GREEN + RED


def test_a_new_mode_is_a_new_picture() -> None:
    it = screen()
    it.receive(315, struct.pack("<I", 0))
    assert it.picture() is None
    it.receive(314, SurfaceCreate(0, 3, 1, 32, 1).encode())
    assert it.size == (3, 1)


@pytest.mark.parametrize(
    ("kind", "body", "name"),
    [
        (304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2), rop=64), "raster operation 0x40"),
        (304, copy((0, 0, 2, 2), PICTURE, (0, 0, 2, 2), mask=9), "mask"),
        (302, base((0, 0, 2, 2)) + b"\2" + struct.pack("<Iii", 0, 0, 0) + PUT + NO_MASK, "brush 2"),
        (311, base((0, 0, 2, 2)), "draw-text"),
    ],
)
def test_what_cannot_be_drawn_is_counted_and_where_it_would_be_is_told(
    kind: int, body: bytes, name: str
) -> None:
    it = screen()
    assert it.receive(kind, body) == Painted(0, (Rect(0, 0, 2, 2),), whole=False)
    assert it.undrawn == {name: 1}
    assert shown(it) == BLACK * 4


@pytest.mark.parametrize(
    ("kind", "name"),
    [(123, "video"), (321, "gl-draw"), (101, "mode"), (390, "message 390"), (9, "message 9")],
)
def test_what_is_not_known_is_counted_and_ends_nothing(kind: int, name: str) -> None:
    it = screen()
    assert it.receive(kind, bytes(20)) is None
    assert it.receive(kind, b"") is None
    assert it.undrawn == {name: 2}


@pytest.mark.parametrize("kind", [4, 7, 102, 106, 122, 125, 319])
def test_what_draws_nothing_is_not_counted(kind: int) -> None:
    it = screen()
    assert it.receive(kind, bytes(64)) is None
    assert not it.undrawn


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (304, base((0, 0, 2, 2), surface=9)),
        (304, base((0, 0, 2, 2))[:-1]),
        (304, copy((0, 0, 2, 2), PICTURE, (0, 0, 3, 3))),
        (304, copy((0, 0, 2, 2), PICTURE, (0, 0, 0, 0))),
        (314, SurfaceCreate(1, 100_000, 100_000, 32, 0).encode()),
        (314, SurfaceCreate(1, 0, 0, 32, 0).encode()),
    ],
    ids=["no such surface", "broken off", "outside of it", "nothing", "too large", "empty"],
)
def test_what_cannot_be_is_the_servers_fault(kind: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        screen().receive(kind, body)


@given(st.sampled_from(list(Display)) | st.integers(0, 65535), st.binary(max_size=120))
def test_no_bytes_make_it_raise_anything_else(kind: int, junk: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        screen().receive(kind, bytes(4) + junk)
