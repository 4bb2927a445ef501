"""Rectangles arrive where they belong, whoever copies them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.blit import MANY_ROWS, PIXEL_BYTES, Canvas

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
