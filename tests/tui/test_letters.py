"""Which text lies where on a guest's screen, and what is a picture after all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from broker.view import Frame
from tui.live import letters
from tui.live.cells import LETTER
from tui.live.letters import FRAMEBUFFER, UEFI, VGA, Face, Grid, Reader, grids
from tui.live.player import text_port

INK, PAPER = b"\xaa\xbb\xcc", b"\x00\x00\x10"
LINES = ("UEFI Interactive Shell v2.2", "", "Shell> dir_")


def drawn(face: Face, char: str) -> bytes:
    """Ink of a made-up glyph, a byte for each pixel; no row is empty."""
    if char == " ":
        return bytes(face.width * face.height)
    seed = hashlib.shake_256(f"{face}{char}".encode()).digest(face.height)
    return bytes(
        bit for row in seed for bit in (1, *(row >> at & 1 for at in range(face.width - 1)))
    )


@pytest.fixture(autouse=True)
def fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each face has one."""

    def glyphs(face: Face) -> tuple[dict[bytes, str], dict[bytes, str]]:
        return {letters.digest(drawn(face, chr(code))): chr(code) for code in range(32, 127)}, {}

    monkeypatch.setattr(letters, "glyphs", glyphs)


def screen(
    width: int, height: int, grid: Grid, lines: Sequence[str] = LINES, *, spots: int = 0
) -> Frame:
    """A screen with those lines in that grid, and so many spots below each other at its left."""
    face = grid.face
    data = bytearray(PAPER * (width * height))
    for line, text in enumerate(lines):
        for column, char in enumerate(text):
            ink = drawn(face, char)
            for y in range(face.height):
                at = (grid.top + line * face.height + y) * width + grid.left + column * face.width
                row = ink[y * face.width : (y + 1) * face.width]
                data[at * 3 : (at + face.width) * 3] = b"".join(
                    INK if each else PAPER for each in row
                )
    for spot in range(spots):
        at = (height - 1 - 20 * spot) * width * 3
        data[at : at + 9] = b"\1\2\3\4\5\6\7\x08\x09"
    return Frame(width, height, "RGB", bytes(data))


def grid_of(width: int, height: int, face: Face, columns: int) -> Grid:
    return next(
        each for each in grids(width, height) if (each.face, each.columns) == (face, columns)
    )


@pytest.mark.parametrize(
    ("size", "face", "columns", "origin"),
    [
        ((720, 400), VGA, 80, (0, 0)),
        ((1280, 800), FRAMEBUFFER, 160, (0, 0)),
        ((1366, 768), FRAMEBUFFER, 170, (0, 0)),
        ((1920, 1080), FRAMEBUFFER, 240, (0, 0)),
        ((1280, 800), UEFI, 160, (0, 1)),
        ((1280, 800), UEFI, 100, (240, 105)),
        ((640, 480), UEFI, 80, (0, 2)),
        ((1024, 768), UEFI, 80, (192, 146)),
    ],
)
def test_text_is_found_where_it_lies(
    size: tuple[int, int], face: Face, columns: int, origin: tuple[int, int]
) -> None:
    grid = grid_of(*size, face, columns)
    page = Reader().read(screen(*size, grid))
    assert page is not None
    assert page.text.splitlines()[:3] == list(LINES)
    assert (page.glyph, page.origin) == ((face.width, face.height), origin)
    assert {cell & 0xFFFFFFFFFFFF for cell in page.rows[0][:4]} == {0xAABBCC000010}


def test_text_in_memory_that_goes_on_changing_is_read_as_it_is_now() -> None:
    one, other = (screen(1280, 800, grid_of(1280, 800, UEFI, at)) for at in (100, 160))
    memory = bytearray(one.data)
    lent = replace(one, data=memoryview(memory).toreadonly())
    reader = Reader()
    assert reader.read(lent) == Reader().read(one)
    memory[:] = other.data
    assert reader.read(lent) == Reader().read(other)


def test_a_cell_of_text_in_the_middle_of_a_screen_means_the_pixel_that_is_there() -> None:
    page = Reader().read(screen(1280, 800, grid_of(1280, 800, UEFI, 100)))
    assert page is not None
    port = text_port(page, 120, 40)
    assert (port.columns, port.lines, port.left, port.top) == (100, 31, 10, 4)
    assert port.at(10, 4) == (240 + 4, 105 + 9)
    assert port.at(10 + 99, 4 + 2) == (240 + 99 * 8 + 4, 105 + 2 * 19 + 9)


def test_something_drawn_beside_a_text_makes_it_a_picture() -> None:
    assert Reader().read(screen(1280, 800, grid_of(1280, 800, UEFI, 100), spots=5)) is None


def test_a_few_spots_on_a_bare_screen_are_a_picture() -> None:
    grid = grid_of(1280, 800, FRAMEBUFFER, 160)
    assert Reader().read(screen(1280, 800, grid, (), spots=1)) is None
    bare = Reader().read(screen(1280, 800, grid, ()))
    assert bare is not None
    assert bare.text.strip() == ""


def test_one_sign_that_is_not_known_leaves_a_text_a_text() -> None:
    grid = grid_of(720, 400, VGA, 80)
    page = Reader().read(screen(720, 400, grid, ("login: \N{BULLET}",)))
    assert page is not None
    assert page.text.splitlines()[0] == "login:"
    assert page.rows[0][7] >> LETTER == ord(" ")


def test_a_guest_that_goes_on_from_its_firmware_is_read_on() -> None:
    reader = Reader()
    for size, face, columns in (
        ((1280, 800), UEFI, 100),
        ((640, 480), UEFI, 80),
        ((1280, 800), FRAMEBUFFER, 160),
        ((720, 400), VGA, 80),
        ((1280, 800), UEFI, 160),
    ):
        grid = grid_of(*size, face, columns)
        for text in ("first", "then another"):
            page = reader.read(screen(*size, grid, (text,)))
            assert page is not None
            assert page.text.splitlines()[0] == text
