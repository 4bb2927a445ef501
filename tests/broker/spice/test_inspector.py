import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import ChannelType, Main
from broker.spice.inspector import HELD_MAX, RUN_BYTES, Inspector, Verdict
from broker.spice.policy import FROM_SERVER, Check, Rules, looking_on, main_from_server
from broker.spice.wire import MainInit, encode_channels, message

RULES = Rules({1: 4, 2: 0, 3: 300}, {1: 4})
CHECKED = Rules({1: 4, 3: 300}, checks={3: Check(2, lambda start: start[:1] != b"!")})
SWALLOWING = Rules({1: 4, 3: 300}, swallow=frozenset({3}))
MAIN = main_from_server(0xABCD, {9, 11}, lambda _: None)


class Passed:
    """What came through, chunk by chunk, as a relay would forward it."""

    def __init__(self, rules: Rules, *, mini: bool = True) -> None:
        self.inspector = Inspector(rules, mini=mini)
        self.data = b""
        self.longest_held = 0

    def feed(self, data: bytes, *cuts: int) -> "Passed":
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
            if self.inspector.verdict is not None:
                break
            chunk = self.inspector.held + data[start:end]
            self.data += self.inspector.scan(memoryview(chunk))
            self.longest_held = max(self.longest_held, len(self.inspector.held))
        return self


def test_a_whole_chunk_passes_without_a_copy() -> None:
    chunk = memoryview(message(1, b"1234") + message(2))
    passed = Inspector(RULES, mini=True).scan(chunk)
    assert isinstance(passed, memoryview)
    assert passed.obj is chunk.obj


def test_the_inside_of_a_body_passes_without_a_look() -> None:
    data = message(3, bytes(300))
    passed = Passed(RULES).feed(data, 6, 100, 200)
    assert (passed.data, passed.longest_held, passed.inspector.messages) == (data, 0, 1)


def test_a_part_of_a_header_waits_in_the_callers_hands() -> None:
    inspector = Inspector(RULES, mini=True)
    assert inspector.scan(memoryview(message(2) + b"\3\0\1")) == message(2)
    assert inspector.held == b"\3\0\1"


def test_counts_bytes_and_messages() -> None:
    passed = Passed(RULES).feed(message(1, b"1234") + message(2) + message(3, b"x"))
    assert (passed.inspector.messages, passed.inspector.forwarded) == (3, 23)


@pytest.mark.parametrize(
    ("bad", "verdict"),
    [
        (message(4), Verdict(4, 0, "type")),
        (message(2, b"x"), Verdict(2, 1, "size")),
        (message(1, b"123"), Verdict(1, 3, "size")),
        (struct.pack("<HI", 3, 0xFFFFFFFF), Verdict(3, 0xFFFFFFFF, "size")),
    ],
    ids=["unknown-type", "too-large", "too-small", "4G"],
)
@pytest.mark.parametrize("mini", [True, False])
def test_no_byte_of_a_refused_message_passes(bad: bytes, verdict: Verdict, mini: bool) -> None:
    good = message(1, b"1234", mini=mini)
    kind, size = struct.unpack_from("<HI", bad)
    bad = bad if mini else struct.pack("<QHII", 2, kind, size, 0) + bad[6:]
    passed = Passed(RULES, mini=mini).feed(good + bad + b"more")
    assert (passed.data, passed.inspector.verdict) == (good, verdict)
    assert passed.inspector.held == b""


def test_a_list_inside_a_message_is_refused() -> None:
    passed = Passed(RULES, mini=False).feed(struct.pack("<QHII", 1, 3, 4, 2) + b"1234")
    assert passed.inspector.verdict == Verdict(3, 4, "sub-list")


def test_a_check_sees_the_start_of_a_body_before_anything_passes() -> None:
    passed = Passed(CHECKED).feed(message(3, b"!x" + bytes(98)), 3, 6, 7)
    assert (passed.data, passed.inspector.verdict) == (b"", Verdict(3, 100, "content"))


def test_a_check_that_is_content_lets_the_rest_stream() -> None:
    data = message(3, b"ok" + bytes(298)) + message(1, b"1234")
    passed = Passed(CHECKED).feed(data, 7, 8, 250)
    assert (passed.data, passed.longest_held) == (data, 7)


def test_a_body_shorter_than_a_check_is_looked_at_whole() -> None:
    assert Passed(CHECKED).feed(message(3, b"!")).inspector.verdict is not None


def test_swallowed_messages_leave_no_trace() -> None:
    data = message(1, b"1234") + message(3, bytes(300)) + message(1, b"5678")
    passed = Passed(SWALLOWING).feed(data, 20, 200)
    assert passed.data == message(1, b"1234") + message(1, b"5678")
    assert (passed.inspector.messages, passed.inspector.swallowed) == (2, 1)


def test_looking_on_lets_nothing_through_but_the_base() -> None:
    rules = looking_on(Rules({1: 4, 101: 4}, {1: 4}))
    passed = Passed(rules).feed(message(101, b"1234") + message(1, b"1234"))
    assert (passed.data, passed.inspector.verdict) == (message(1, b"1234"), None)


@pytest.mark.parametrize("mini", [True, False])
def test_main_init_gets_our_session_id_and_tells_the_servers(mini: bool) -> None:
    told = list[int]()
    rules = main_from_server(0xABCD, set(), told.append)
    data = message(Main.INIT, MainInit(7, ram_hint=5).encode(), mini=mini, serial=9)
    passed = Passed(rules, mini=mini).feed(data, 5, 20)
    assert told == [7]
    assert passed.data == message(
        Main.INIT, MainInit(0xABCD, ram_hint=5).encode(), mini=mini, serial=9
    )


def test_hidden_channels_are_taken_out_of_the_list() -> None:
    data = message(Main.CHANNELS_LIST, encode_channels(((9, 1), (9, 0), (2, 0), (11, 0), (3, 0))))
    passed = Passed(MAIN).feed(data + message(Main.UUID, bytes(16)))
    assert passed.data == message(Main.CHANNELS_LIST, encode_channels(((2, 0), (3, 0)))) + message(
        Main.UUID, bytes(16)
    )


def test_a_list_that_lies_about_its_length_ends_main() -> None:
    passed = Passed(MAIN).feed(message(Main.CHANNELS_LIST, b"\xff\0\0\0"))
    assert passed.inspector.verdict == Verdict(Main.CHANNELS_LIST, 4, "content")


@pytest.mark.parametrize("kind", [101, 111, 116, 1, 2])
def test_migration_never_reaches_a_viewer(kind: int) -> None:
    passed = Passed(MAIN).feed(message(kind, bytes(24)))
    assert passed.inspector.verdict == Verdict(kind, 24, "type")


def test_a_raw_8k_picture_passes() -> None:
    inspector = Inspector(FROM_SERVER[ChannelType.DISPLAY], mini=True)
    inspector.scan(memoryview(struct.pack("<HI", 304, 7680 * 4320 * 4)))
    assert inspector.verdict is None


STREAM = message(1, b"abcd") + message(3, b"ok" * 150) + message(3, b"") + message(1, b"efgh")
CUTS = st.lists(st.integers(0, len(STREAM)), max_size=12)


@given(CUTS)
def test_where_chunks_are_cut_never_matters(cuts: list[int]) -> None:
    passed = Passed(RULES).feed(STREAM, *cuts)
    assert (passed.data, passed.inspector.verdict) == (STREAM, None)


@given(CUTS)
def test_where_chunks_are_cut_never_matters_to_checks(cuts: list[int]) -> None:
    passed = Passed(CHECKED).feed(STREAM, *cuts)
    assert (passed.data, passed.inspector.verdict) == (STREAM, None)


@given(CUTS)
def test_where_chunks_are_cut_never_matters_to_swallowing(cuts: list[int]) -> None:
    passed = Passed(SWALLOWING).feed(STREAM, *cuts)
    assert passed.data == message(1, b"abcd") + message(1, b"efgh")


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=5), st.booleans())
def test_junk_never_raises_and_little_is_ever_held(
    junk: bytes, cuts: list[int], mini: bool
) -> None:
    for rules in (RULES, CHECKED, SWALLOWING, MAIN):
        passed = Passed(rules, mini=mini).feed(junk, *(min(cut, len(junk)) for cut in cuts))
        assert passed.longest_held <= HELD_MAX


BEGINNINGS = message(1, b"1234") + message(2) + message(3, bytes(300)) + message(2) + message(2)
STARTS = [0, 10, 16, 322, 328]


@pytest.mark.parametrize("rules", [RULES, CHECKED], ids=["fast", "slow"])
@given(cuts=st.lists(st.integers(0, len(BEGINNINGS)), max_size=6))
def test_says_where_the_last_message_begins_that_begins_in_what_passed(
    rules: Rules, cuts: list[int]
) -> None:
    inspector = Inspector(Rules(RULES.largest, RULES.smallest, checks=rules.checks), mini=True)
    passed = 0
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(BEGINNINGS)], strict=True):
        chunk = inspector.held + BEGINNINGS[start:end]
        count = len(inspector.scan(memoryview(chunk)))
        inside = [at - passed for at in STARTS if passed <= at < passed + count]
        assert inspector.latest == (inside[-1] if inside else 0)
        passed += count
    assert passed == len(BEGINNINGS)


def test_a_rewritten_message_begins_where_it_is_put() -> None:
    inspector = Inspector(MAIN, mini=True)
    init = message(Main.INIT, MainInit(1, 1, 3, 1, 0, 10, 0, 0).encode())
    shown = message(Main.CHANNELS_LIST, encode_channels(((2, 0), (9, 0))))
    passed = bytes(inspector.scan(memoryview(init + shown)))
    assert inspector.latest == len(init)
    assert passed[inspector.latest :] == message(Main.CHANNELS_LIST, encode_channels(((2, 0),)))


# --- runs of messages that are alike --------------------------------------------------------------


KINDS = [(1, 4), (2, 0), (3, 0), (3, 1), (3, 130), (3, 300), (4, 9)]
ODD = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5), st.integers(0, 255)), max_size=2)


def bulk(kind: int, size: int, fill: int, odd: list[tuple[int, int, int]]) -> bytes:
    """Many of one kind and size, so that a run is looked for; a byte of a header may be another.

    Args:
        odd: Where, in percent of the messages, which byte of that header, and what it is.
    """
    one = message(kind, bytes([fill]) * size)
    count = RUN_BYTES * 2 // len(one) + 3
    said = bytearray(one * count)
    for percent, at, value in odd:
        said[count * percent // 100 * len(one) + at] = value
    return bytes(said)


@given(
    of=st.sampled_from(KINDS),
    fill=st.integers(0, 255),
    odd=ODD,
    before=st.sampled_from([b"", message(2), message(3, b"12")]),
    cut=st.integers(0, 2 * RUN_BYTES),
    watched=st.sampled_from([{}, {2: 0}, {3: 2}]),
)
def test_a_run_means_the_same_as_its_messages_one_by_one(
    of: tuple[int, int],
    fill: int,
    odd: list[tuple[int, int, int]],
    before: bytes,
    cut: int,
    watched: dict[int, int],
) -> None:
    said = before + bulk(*of, fill, odd)
    told: list[list[object]] = [[], []]
    whole, small = Passed(RULES), Passed(RULES)
    whole.inspector.watch(watched, lambda *what: told[0].append(what))
    small.inspector.watch(watched, lambda *what: told[1].append(what))
    whole.feed(said, min(cut, len(said)))
    small.feed(said, *range(0, len(said), RUN_BYTES // 8))
    for name in ("verdict", "messages", "held", "forwarded"):
        assert getattr(whole.inspector, name) == getattr(small.inspector, name)
    assert whole.data == small.data
    assert told[0] == told[1]


@pytest.mark.parametrize("size", [4, 9])
@pytest.mark.parametrize("odd", range(6))
def test_one_header_that_is_another_is_seen_in_a_run(odd: int, size: int) -> None:
    one = message(1, bytes(size))
    said = bytearray(one * 4000)
    said[len(one) * 3999 + odd] ^= 0x80
    passed = Passed(Rules({1: size})).feed(bytes(said))
    assert passed.inspector.verdict is not None
    assert len(passed.data) == len(one) * 3999


def test_the_latest_of_a_run_is_its_last_message() -> None:
    inspector = Inspector(RULES, mini=True)
    inspector.scan(memoryview(message(3, bytes(50)) * 1000 + b"\3\0"))
    assert (inspector.latest, inspector.held, inspector.messages) == (56 * 999, b"\3\0", 1000)
