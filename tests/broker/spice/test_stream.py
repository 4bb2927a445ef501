from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.stream import LentStream


def lent_script(
    stream: LentStream, sizes: list[int], seen: list[bytes]
) -> Generator[None, None, None]:
    for size in sizes:
        seen.append(bytes((yield from stream.exactly(size))))
        yield from stream.skip(size // 2)


@given(sizes=st.lists(st.integers(0, 60)), cuts=st.lists(st.integers(1, 50)))
def test_what_is_lent_is_what_was_fed_wherever_it_was_cut(
    sizes: list[int], cuts: list[int]
) -> None:
    data = bytes(range(256)) * 24
    stream, seen = LentStream(), list[bytes]()
    steps = lent_script(stream, sizes, seen)
    at, feeds = 0, iter(cuts)
    while at < len(data):
        size = next(feeds, 97)
        piece = bytearray(data[at : at + size])
        stream.feed(piece)
        next(steps, None)
        piece[:] = bytes(len(piece))  # it is the feeder's again
        at += size

    wanted, at = [], 0
    for size in sizes:
        wanted.append(data[at : at + size])
        at += size + size // 2
    assert seen == wanted


def test_what_lies_in_one_piece_is_not_copied() -> None:
    stream, fed = LentStream(), bytearray(b"abcdef")
    stream.feed(fed)
    with pytest.raises(StopIteration) as done:
        next(stream.exactly(3))
    fed[:3] = b"xyz"
    assert bytes(done.value.value) == b"xyz"
