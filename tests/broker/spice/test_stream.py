from collections.abc import Generator

from hypothesis import given
from hypothesis import strategies as st

from broker.spice.stream import ByteStream


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
