"""Whatever the records are, wherever they are cut and however little is read at once.

`make test` draws a few of each; `make fuzz FUZZ_SECONDS=600` draws until the time is up.
"""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from broker.proxy.tls import TlsEnded, TlsFailed
from broker.proxy.tls_keys import SUITES
from tests.broker.proxy.tls_hand import ALERT, DATA, HANDSHAKE, Peer

NAMES = st.sampled_from(sorted(SUITES))
CUTS = st.lists(st.integers(0, 2000), max_size=8)
ROOMS = st.lists(st.integers(1, 300), min_size=1, max_size=8)
SAID = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.binary(min_size=1, max_size=200), st.integers(0, 20)),
        st.tuples(st.just("nothing"), st.just(b""), st.integers(0, 20)),
        st.tuples(st.just("key"), st.just(b""), st.integers(0, 1)),
    ),
    max_size=12,
)
Step = tuple[str, bytes, int]


def records(peer: Peer, said: list[Step]) -> list[bytes]:
    """A conversation as it should be."""
    return [
        peer.update(asks=bool(number)) if what == "key" else peer.record(data, padding=number)
        for what, data, number in said
    ]


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def heard(peer: Peer, pieces: list[bytes], rooms: list[int]) -> bytes:
    """What the engine gives, asked as a leg asks: only while it says that there may be more."""
    room, got = itertools.cycle(rooms), b""
    try:
        for piece in pieces:
            peer.engine.receive(piece)
            while peer.engine.has_more:
                view = memoryview(bytearray(next(room)))
                count = peer.engine.read_into(view)
                got += view[:count]
                assert count or not peer.engine.has_more, "it would be asked for ever"
    except (TlsEnded, TlsFailed) as exc:
        peer.end = exc
        assert peer.engine.has_more
    return got


def plain(said: list[Step]) -> bytes:
    return b"".join(data for _, data, _ in said)


@given(NAMES, SAID, CUTS, ROOMS)
def test_what_a_peer_says_is_heard_at_once_and_whole(
    name: str, said: list[Step], cuts: list[int], rooms: list[int]
) -> None:
    peer = Peer(name)
    goodbye = [*records(peer, said), peer.record(b"\1\0", ALERT)]
    assert heard(peer, in_pieces(b"".join(goodbye[:-1]), cuts), rooms) == plain(said)
    assert peer.end is None
    assert peer.engine.rest == b""
    assert heard(peer, in_pieces(goodbye[-1], cuts), rooms) == b""
    assert isinstance(peer.end, TlsEnded)


@given(
    NAMES,
    SAID,
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=3),
    CUTS,
    ROOMS,
)
def test_what_is_not_authentic_never_yields_a_byte(
    name: str, said: list[Step], flaws: list[tuple[int, int]], cuts: list[int], rooms: list[int]
) -> None:
    """All before the first record that was touched is heard, and nothing of it or behind it."""
    peer = Peer(name)
    good = records(peer, [*said, ("data", b"the end", 0)])
    sent = bytearray(b"".join(good))
    for at, change in flaws:
        sent[at % len(sent)] ^= change
    untouched, end = 0, 0
    for record in good:
        if sent[end : end + len(record)] != record:
            break
        untouched, end = untouched + 1, end + len(record)
    got = heard(peer, in_pieces(bytes(sent), cuts), rooms)
    assert got == plain([*said, ("data", b"the end", 0)][:untouched])
    if peer.end is None:  # a length that grew has it wait for more, or flaws undid each other
        assert untouched == len(good) or len(peer.engine.rest) <= 16_406
    else:
        assert isinstance(peer.end, TlsFailed)


def meant(data: bytes, kind: int) -> tuple[int, bytes]:
    """Type and content as who hears them has to take them: a type of 0 is padding (RFC 8446, 5.4),
    and what stands before it is the type."""
    inner = (data + bytes((kind,))).rstrip(b"\0")
    return (inner[-1], inner[:-1]) if inner else (0, b"")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 20, ALERT, HANDSHAKE, DATA, 24, 255]),
            st.one_of(st.binary(max_size=6), st.just(b"\x18\0\0\1\0"), st.just(b"\x18\0\0\1\1")),
            st.integers(0, 3),
        ),
        max_size=50,
    ),
    CUTS,
    ROOMS,
)
@example([(HANDSHAKE, b"\x18\0\0\1\1", 0)] * 40, [], [300])
@example([(0, b"\0\x17", 0)], [], [1])
def test_whatever_is_in_records_there_is_no_other_error(
    said: list[tuple[int, bytes, int]], cuts: list[int], rooms: list[int]
) -> None:
    """Who shakes hands may say anything under the right key."""
    peer = Peer()
    sent = data_said = b""
    for kind, data, padding in said:
        sent += peer.record(data, kind, padding)
        true_kind, content = meant(data, kind)
        if true_kind == HANDSHAKE and content[:4] == b"\x18\0\0\1":
            peer.says.update()
        elif true_kind == DATA:
            data_said += content
    got = heard(peer, in_pieces(sent, cuts), rooms)
    assert data_said.startswith(got)
    assert len(peer.engine.waiting) <= 2 * 64
    peer.engine.close()
    for _, words in peer.told(peer.engine.take()):
        assert words[:1] in (b"\x18", b"\1", b"\2")


@given(st.lists(st.binary(max_size=400), max_size=6), ROOMS)
def test_junk_is_no_conversation(junk: list[bytes], rooms: list[int]) -> None:
    peer = Peer()
    assert heard(peer, junk, rooms) == b""
    assert not isinstance(peer.end, TlsEnded)


@given(
    NAMES,
    st.lists(
        st.tuples(
            st.sampled_from(["little", "bytes", "bulk", "latest", "hold", "asked", "take"]),
            st.integers(1, 40_000),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_what_we_say_arrives_in_order_whichever_way_it_was_sealed(
    name: str, steps: list[tuple[str, int]], most: int
) -> None:
    peer, said, told = Peer(name), b"", []
    pattern = bytes(range(256)) * 200
    for way, wanted in steps:
        if way == "asked":
            assert peer.heard(peer.update(asks=True)) == b""
            continue
        if way == "take":
            told += peer.told(peer.engine.take())
            continue
        size = min(wanted, 16_384) if way == "little" else wanted
        data = pattern[len(said) % 256 :][:size]
        peer.engine.outward.most = most
        buffer = memoryview(bytearray(data + b"?"))
        if way == "little":
            told += peer.told(peer.engine.seal_little(buffer, size))
        elif way == "hold":
            peer.engine.write(data)
        elif way == "bytes":
            told += peer.told(peer.engine.seal(data))
        else:
            latest = size // 2 if way == "latest" else 0
            told += peer.told(peer.engine.seal(buffer[:size], latest))
            assert buffer[:size] == data
        said += data
    told += peer.told(peer.engine.take())
    assert b"".join(words for kind, words in told if kind == DATA) == said
    assert {words for kind, words in told if kind != DATA} <= {b"\x18\0\0\1\0"}
