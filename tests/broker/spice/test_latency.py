import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import ChannelType, ClientInputs
from broker.spice.inspector import HELD_MAX, Inspector
from broker.spice.latency import (
    DRAWINGS,
    PINGS,
    PINGS_WAITING_MAX,
    PONGS,
    PRESSES,
    AnswerTimer,
    PingTimer,
    is_press,
)
from broker.spice.policy import FROM_CLIENT, FROM_SERVER, Check, Rules, looking_on
from broker.spice.wire import message

PING = struct.pack("<IQ", 7, 123_456)
DRAW = message(304, bytes(40))
RULES = Rules({1: 4, 3: 300, 9: 50})
SLOW = Rules({1: 4, 3: 300, 9: 50}, checks={1: Check(1, lambda _: True)})
Told = list[tuple[int, bytes, int]]


def told_by(inspector: Inspector, data: bytes, *cuts: int) -> tuple[bytes, Told]:
    """What passes and what is told when a stream comes cut in pieces."""
    told: Told = []
    inspector.watch({3: 4, 9: 0}, lambda *message: told.append(message))
    passed = b""
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        passed += inspector.scan(memoryview(inspector.held + data[start:end]))
        assert len(inspector.held) < HELD_MAX
    return passed, told


STREAM = message(1, b"1234") + message(3, b"abcdefgh") + message(9, b"") + message(3, b"xy")
TOLD = [(3, b"abcd", 8), (9, b"", 0), (3, b"xy", 2)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=4))
@pytest.mark.parametrize("rules", [RULES, SLOW], ids=["quick", "with-checks"])
def test_a_watched_message_is_told_of_once_wherever_the_bytes_are_cut(
    rules: Rules, cuts: list[int]
) -> None:
    assert told_by(Inspector(rules, mini=True), STREAM, *cuts) == (STREAM, TOLD)


def test_messages_with_long_headers_are_watched_too() -> None:
    data = message(3, b"abcdefgh", mini=False, serial=1) + message(9, b"", mini=False, serial=2)
    assert told_by(Inspector(RULES, mini=False), data, 20) == (data, TOLD[:2])


def test_only_the_start_of_a_long_body_is_waited_for() -> None:
    inspector = Inspector(RULES, mini=True)
    data = message(3, bytes(300))
    assert told_by(inspector, data[:10]) == (data[:10], [(3, bytes(4), 300)])


@pytest.mark.parametrize("rules", [RULES, SLOW], ids=["quick", "with-checks"])
def test_a_message_that_is_refused_is_not_told_of(rules: Rules) -> None:
    inspector = Inspector(rules, mini=True)
    assert told_by(inspector, message(3, bytes(301))) == (b"", [])
    assert inspector.verdict is not None
    assert inspector.verdict.reason == "size"


def test_what_is_swallowed_is_not_told_of() -> None:
    told: Told = []
    inspector = Inspector(looking_on(FROM_CLIENT[ChannelType.INPUTS]), mini=True)
    inspector.watch(PRESSES, lambda *message: told.append(message))
    assert inspector.scan(memoryview(message(ClientInputs.KEY_DOWN, bytes(4)))) == b""
    assert told == []


def test_one_that_is_told_may_watch_for_something_else_from_then_on() -> None:
    told: list[int] = []
    inspector = Inspector(RULES, mini=True)

    def once(kind: int, _start: bytes, _size: int) -> None:
        told.append(kind)
        inspector.watch({}, once)

    inspector.watch({9: 0}, once)
    data = message(9) + message(9) + message(3, b"x")
    assert inspector.scan(memoryview(data)) == data
    assert (told, inspector.messages) == ([9], 3)


def test_every_drawing_and_no_other_message_is_one() -> None:
    allowed = FROM_SERVER[ChannelType.DISPLAY].largest
    assert set(DRAWINGS) <= set(allowed)
    assert set(DRAWINGS) == {104, 122, 123, *range(302, 314), 316, 318}
    assert set(PINGS) <= set(allowed)
    assert set(PONGS) | set(PRESSES) <= set(FROM_CLIENT[ChannelType.INPUTS].largest)


# -- what belongs to what


def test_a_pong_answers_the_ping_with_its_number_and_time() -> None:
    timer = PingTimer()
    timer.pinged(PING, 12, 1.0)
    timer.pinged(struct.pack("<IQ", 8, 1), 12, 1.5)
    assert timer.ponged(PING, 1.25) == 0.25
    assert timer.ponged(PING, 1.5) is None
    assert timer.ponged(struct.pack("<IQ", 9, 1), 2.0) is None


def test_the_ping_that_measures_bandwidth_does_not_count() -> None:
    timer = PingTimer()
    timer.pinged(PING, 256_012, 1.0)
    assert timer.ponged(PING, 3.0) is None


def test_pings_that_nobody_answers_are_given_up() -> None:
    timer = PingTimer()
    pings = [struct.pack("<IQ", number, 0) for number in range(PINGS_WAITING_MAX + 1)]
    for ping in pings:
        timer.pinged(ping, 12, 1.0)
    assert timer.ponged(pings[0], 2.0) is None
    assert timer.ponged(pings[1], 2.0) == 1.0


def test_the_first_drawing_after_the_first_press_is_the_answer() -> None:
    timer = AnswerTimer()
    assert timer.pressed(1.0)
    assert not timer.pressed(1.0625)
    assert timer.drawn(1.125) == 0.125
    assert timer.drawn(1.5) is None


def test_a_drawing_long_after_is_no_answer() -> None:
    timer = AnswerTimer()
    timer.pressed(1.0)
    assert timer.drawn(3.5) is None


def test_a_press_that_nothing_answered_gives_way_to_the_next() -> None:
    timer = AnswerTimer()
    timer.pressed(1.0)
    assert timer.pressed(4.0)
    assert timer.drawn(4.25) == 0.25


@pytest.mark.parametrize(
    ("kind", "start", "down"),
    [
        (ClientInputs.KEY_DOWN, b"", True),
        (ClientInputs.MOUSE_PRESS, b"", True),
        (ClientInputs.KEY_SCANCODE, b"\x1e\x9e", True),
        (ClientInputs.KEY_SCANCODE, b"\x9e", False),
        (ClientInputs.KEY_SCANCODE, b"\xe0\x4d", True),
        (ClientInputs.KEY_SCANCODE, b"\xe0\xcd", False),
        (ClientInputs.KEY_SCANCODE, b"\xe0", False),
        (ClientInputs.KEY_SCANCODE, b"", False),
    ],
)
def test_only_what_goes_down_is_a_press(kind: int, start: bytes, down: bool) -> None:
    assert is_press(kind, start) is down
