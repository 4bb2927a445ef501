from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.stream import ByteStream, LentStream


def script(stream: ByteStream, seen: list[bytes]) -> Generator[None, None, None]:
    seen.append((yield from stream.exactly(3)))
    yield from stream.skip(5)
    seen.append((yield from stream.exactly(2)))


def test_says_how_much_is_missing() -> None:
    stream = ByteStream()
    steps = script(stream, [])
    next(steps)
    assert stream.missing == 3
    stream.feed(b"12")
    next(steps)
    assert stream.missing == 1


@given(st.lists(st.integers(0, 10)))
def test_where_the_bytes_are_cut_never_matters(cuts: list[int]) -> None:
    stream, seen, data = ByteStream(), list[bytes](), b"abc-----de"
    steps = script(stream, seen)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        stream.feed(data[start:end])
        next(steps, None)
    assert seen == [b"abc", b"de"]
    assert stream.missing == 0


def test_the_rest_is_what_nobody_asked_for() -> None:
    stream = ByteStream()
    stream.feed(b"abc-----demore")
    next(script(stream, []), None)
    assert (stream.rest(), stream.rest()) == (b"more", b"")


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
