import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.errors import RemoteProtocolError
from broker.spice.pixels import Pixels, Unread, read_image

RED, GREEN, BLUE = b"\0\0\xff\0", b"\0\xff\0\0", b"\xff\0\0\0"


def image(
    form: int,
    width: int,
    rows: list[bytes],
    *,
    flags: int = 4,
    palette: tuple[int, ...] = (),
    height: int | None = None,
) -> memoryview:
    """A drawing body that holds one bitmap at 0 and its palette behind it."""
    stride = len(rows[0])
    height = len(rows) if height is None else height
    data = b"".join(rows)
    at = 18 + 14 + 4 + len(data)
    head = struct.pack("<QBBII", 1, 0, 0, width, height)
    head += struct.pack("<BBIII", form, flags, width, height, stride)
    head += struct.pack("<I", at if palette else 0)
    return memoryview(head + data + struct.pack(f"<QH{len(palette)}I", 7, len(palette), *palette))


def none_of(number: int) -> Pixels:
    raise RemoteProtocolError(f"no surface {number}")


def read(body: memoryview) -> Pixels:
    found = read_image(body, 0, {}, none_of)
    return Pixels(found.width, found.height, bytes(found.data))


@pytest.mark.parametrize(
    ("form", "row"),
    [
        (8, RED + GREEN + BLUE),
        (9, RED + GREEN + BLUE),
        (8, RED + GREEN + BLUE + bytes(4)),
        (7, b"\0\0\xff\0\xff\0\xff\0\0" + bytes(3)),
        (6, struct.pack("<3H", 31 << 10, 31 << 5, 31) + bytes(2)),
        (5, b"\0\1\2\2"),
        (4, b"\x01\x20"),
        (3, b"\x10\x02"),
    ],
    ids=["32", "rgba", "32 with padding", "24", "555", "8", "4 big", "4 little"],
)
def test_every_depth_gives_the_same_pixels(form: int, row: bytes) -> None:
    body = image(form, 3, [row], palette=(0xFF0000, 0xFF00, 0xFF) if form < 6 else ())
    assert read(body) == Pixels(3, 1, RED + GREEN + BLUE)


@pytest.mark.parametrize(("form", "byte"), [(1, 0b10), (2, 0b0100_0000)], ids=["little", "big"])
def test_one_bit_a_pixel(form: int, byte: int) -> None:
    body = image(form, 3, [bytes([byte])], palette=(0xFF0000, 0xFF))
    assert read(body) == Pixels(3, 1, RED + BLUE + RED)


def test_a_mask_of_eight_bits_is_grey() -> None:
    assert read(image(10, 2, [b"\x10\xff"])).data == b"\x10\x10\x10\0\xff\xff\xff\0"


def test_rows_come_from_the_bottom_unless_it_is_said() -> None:
    assert read(image(8, 1, [RED, GREEN], flags=0)).data == GREEN + RED
    assert read(image(8, 1, [RED, GREEN], flags=4)).data == RED + GREEN


def test_a_palette_is_kept_when_the_server_says_so() -> None:
    kept: dict[int, tuple[int, ...]] = {}
    read_image(image(5, 1, [b"\0"], flags=4 | 1, palette=(0xFF0000,)), 0, kept, none_of)
    body = bytearray(image(5, 1, [b"\0"], flags=4 | 2))
    body[32:36] = struct.pack("<Q", 7)
    found = read_image(memoryview(body), 0, kept, none_of)
    assert bytes(found.data) == RED


def test_a_colour_that_the_palette_lacks_is_the_servers_fault() -> None:
    with pytest.raises(RemoteProtocolError):
        read(image(5, 1, [b"\1"], palette=(0xFF0000,)))


@pytest.mark.parametrize(
    "body",
    [
        image(8, 3, [RED + GREEN], flags=4),
        image(8, 1, [RED], height=9),
        image(8, 100_000, [bytes(400_000)], height=100_000),
    ],
    ids=["rows too short", "rows missing", "too large"],
)
def test_what_cannot_be_is_the_servers_fault(body: memoryview) -> None:
    with pytest.raises(RemoteProtocolError):
        read(body)


@pytest.mark.parametrize("kind", [1, 101, 102, 103, 105, 109])
def test_what_is_compressed_or_cached_is_not_read(kind: int) -> None:
    body = bytearray(image(8, 1, [RED]))
    body[8] = kind
    with pytest.raises(Unread, match=str(kind)):
        read(memoryview(body))


@given(st.binary(max_size=120), st.integers(0, 200))
def test_no_bytes_make_it_raise_anything_else(junk: bytes, at: int) -> None:
    body = bytearray(junk)
    if len(body) > 9:
        body[8] = 0  # a bitmap, so that there is something to read
    with contextlib.suppress(RemoteProtocolError, Unread):
        read_image(memoryview(body), at % (len(body) + 1), {}, none_of)
