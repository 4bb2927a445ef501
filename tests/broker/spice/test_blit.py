"""Rectangles arrive where they belong, whoever copies them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.blit import LARGE_PAGE_BYTES, MANY_ROWS, PIXEL_BYTES, Canvas, memory

PATTERN = bytes(range(251)) * 400


@given(data=st.data(), by_slices=st.booleans())
def test_a_rectangle_arrives_where_it_belongs_and_nothing_else_changes(
    data: st.DataObject, by_slices: bool
) -> None:
    width, height = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3 * MANY_ROWS))
    wide, high = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    left, top = data.draw(st.integers(0, width - wide)), data.draw(st.integers(0, height - high))
    beside = data.draw(st.integers(0, 3))
    stride = (wide + beside) * PIXEL_BYTES
    # Of the last row maybe only what belongs to the rectangle.
    source = PATTERN[: stride * high - beside * PIXEL_BYTES * data.draw(st.booleans())]
    canvas = Canvas(width, height)
    canvas._asked = by_slices  # asked, and Pillow would not
    wanted = bytearray(len(canvas.data))
    for row in range(high):
        begin = ((top + row) * width + left) * PIXEL_BYTES
        line = source[row * stride : row * stride + wide * PIXEL_BYTES]
        wanted[begin : begin + len(line)] = line

    canvas.put(left, top, (wide, high), memoryview(source), stride)

    assert canvas.data == wanted


@pytest.mark.parametrize("rows", [MANY_ROWS - 1, MANY_ROWS])
def test_pillow_writes_into_our_own_memory_where_it_is_worth_it(rows: int) -> None:
    canvas = Canvas(2, 2 * MANY_ROWS)

    canvas.put(1, 0, (1, rows), memoryview(bytes(PIXEL_BYTES * rows)), PIXEL_BYTES)

    assert (canvas._image is not None) is (rows >= MANY_ROWS)


@pytest.mark.parametrize("size", [LARGE_PAGE_BYTES - 4, LARGE_PAGE_BYTES + 4])
def test_memory_of_any_size_is_black_and_may_be_written_to(size: int) -> None:
    found = memory(size)
    assert found == bytes(size)
    found[-4:] = b"last"
    assert bytes(found[-8:]) == bytes(4) + b"last"


def test_pillow_writes_into_large_pages_too() -> None:
    canvas = Canvas(1280, 800)
    column = PATTERN[: 32 * 800 * PIXEL_BYTES].ljust(32 * 800 * PIXEL_BYTES, b"x")

    canvas.put(1248, 0, (32, 800), memoryview(column), 32 * PIXEL_BYTES)

    assert canvas._image is not None
    stride = 1280 * PIXEL_BYTES
    rows = [bytes(canvas.data[at : at + stride]) for at in range(0, len(canvas.data), stride)]
    assert b"".join(row[1248 * PIXEL_BYTES :] for row in rows) == column
    assert not any(any(row[: 1248 * PIXEL_BYTES]) for row in rows)
