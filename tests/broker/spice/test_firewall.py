"""The tables as a firewall: complete, enforced, or only warning of what ends no machine."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import MAX_CLIENT_BODY, MAX_SERVER_BODY, ChannelType
from broker.spice.inspector import Inspector, Verdict
from broker.spice.policy import FROM_CLIENT, FROM_SERVER, VMC_BODY_MAX, looking_on
from broker.spice.wire import message

CLIENT = {
    ChannelType.MAIN: {104, 105, 106, 107, 108},
    ChannelType.DISPLAY: {102, 103, 105},
    ChannelType.INPUTS: {101, 102, 103, 104, 111, 112, 113, 114},
    ChannelType.CURSOR: set[int](),
    ChannelType.PLAYBACK: set[int](),
    ChannelType.RECORD: {101, 102, 103},
    ChannelType.USBREDIR: {101},
    ChannelType.PORT: {101, 102, 201},
    ChannelType.WEBDAV: {101, 102, 201},
}
SERVER = {
    ChannelType.MAIN: {*range(103, 111), 113, 114, 115} - {101, 102},
    ChannelType.DISPLAY: {*range(101, 109), *range(122, 127), *range(302, 320), 322},
    ChannelType.INPUTS: {101, 102, 111},
    ChannelType.CURSOR: {*range(101, 109)},
    ChannelType.PLAYBACK: {*range(101, 108)},
    ChannelType.RECORD: {*range(101, 105)},
    ChannelType.USBREDIR: {101},
    ChannelType.PORT: {101, 102, 201, 202},
    ChannelType.WEBDAV: {101, 102, 201, 202},
}
EVERY_MODE = pytest.mark.parametrize("warns", [False, True], ids=["enforce", "warn"])


def scan(inspector: Inspector, data: bytes) -> bytes:
    return bytes(inspector.scan(memoryview(data)))


def header(kind: int, size: int) -> bytes:
    return struct.pack("<HI", kind, size)


def test_the_tables_know_every_message_that_is_needed_and_no_other() -> None:
    assert {
        kind: set(rules.largest) - {1, 2, 3, 6} for kind, rules in FROM_CLIENT.items()
    } == CLIENT
    assert {
        kind: set(rules.largest) - {3, 4, 5, 6, 7} for kind, rules in FROM_SERVER.items()
    } == SERVER


@pytest.mark.parametrize("kind", list(FROM_CLIENT))
@pytest.mark.parametrize("table", [FROM_CLIENT, FROM_SERVER], ids=["client", "server"])
def test_a_type_that_nobody_knows_ends_the_channel(
    table: dict[ChannelType, object], kind: ChannelType
) -> None:
    inspector = Inspector(
        FROM_CLIENT[kind] if table is FROM_CLIENT else FROM_SERVER[kind], mini=True
    )
    assert scan(inspector, message(999, b"1234")) == b""
    assert inspector.verdict == Verdict(999, 4, "type")
    assert inspector.take_judged() == {("refused", 999): 1}


@pytest.mark.parametrize("kind", sorted(set(FROM_CLIENT) - {ChannelType.MAIN}))
def test_one_that_only_warns_lets_it_by_and_counts(kind: ChannelType) -> None:
    for rules in (FROM_CLIENT[kind], FROM_SERVER[kind]):
        inspector = Inspector(rules, mini=True, warns=True)
        data = message(999, b"1234") + message(998) + message(999)
        assert scan(inspector, data) == data
        assert inspector.take_judged() == {("warned", 999): 2, ("warned", 998): 1}
        assert inspector.take_judged() == {}


def test_a_wrong_size_is_warned_of_too_with_either_header() -> None:
    for mini in (True, False):
        inspector = Inspector(FROM_CLIENT[ChannelType.INPUTS], mini=mini, warns=True)
        data = message(101, b"12345", mini=mini) + message(101, b"12", mini=mini)
        assert scan(inspector, data) == data
        assert inspector.take_judged() == {("warned", 101): 2}


@EVERY_MODE
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        *((kind, message(4)) for kind in FROM_CLIENT),
        *((kind, message(5, bytes(8))) for kind in FROM_CLIENT),
        (ChannelType.DISPLAY, message(101, bytes(14))),
        (ChannelType.DISPLAY, message(104)),
        (ChannelType.DISPLAY, message(103, b"\0")),
        (ChannelType.DISPLAY, message(103)),
        (ChannelType.MAIN, message(999)),
        (ChannelType.MAIN, message(104, b"1")),
        (ChannelType.MAIN, message(107, bytes(2049))),
        *((ChannelType.MAIN, message(each, bytes(4))) for each in (101, 102, 103, 109, 110, 111)),
        (ChannelType.USBREDIR, header(101, 0xFFFFFFFF)),
        (ChannelType.USBREDIR, header(101, 0x80000000)),
        (ChannelType.USBREDIR, header(101, VMC_BODY_MAX + 1)),
        (ChannelType.USBREDIR, header(999, 0x80000000)),
        (ChannelType.USBREDIR, message(102, struct.pack("<BI", 1, 10) + bytes(9))),
        (ChannelType.PORT, message(102, struct.pack("<BI", 1, 0x80000000))),
        (ChannelType.PORT, message(102, struct.pack("<BI", 0, 10))),
        (ChannelType.PORT, header(101, 0x80000000)),
        (ChannelType.WEBDAV, header(101, 0x80000000)),
        (ChannelType.INPUTS, header(101, MAX_CLIENT_BODY + 1)),
    ],
)
def test_what_harms_a_machine_never_gets_there(kind: ChannelType, data: bytes, warns: bool) -> None:
    inspector = Inspector(FROM_CLIENT[kind], mini=True, warns=warns)
    assert scan(inspector, data) == b""
    assert inspector.verdict is not None


@EVERY_MODE
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        *((ChannelType.MAIN, message(each, bytes(24))) for each in (101, 102, 111, 112, 116, 117)),
        *((kind, message(each, bytes(8))) for kind in FROM_SERVER for each in (1, 2, 8)),
        (ChannelType.DISPLAY, message(320, bytes(8))),
        (ChannelType.DISPLAY, message(321, bytes(8))),
        (ChannelType.DISPLAY, header(304, MAX_SERVER_BODY + 1)),
        (ChannelType.MAIN, message(103, bytes(33))),
    ],
)
def test_what_leads_a_viewer_astray_never_gets_there(
    kind: ChannelType, data: bytes, warns: bool
) -> None:
    rules = FROM_SERVER[kind]
    inspector = Inspector(rules, mini=True, warns=warns and kind is not ChannelType.MAIN)
    assert scan(inspector, data) == b""
    assert inspector.verdict is not None


def test_a_list_inside_a_message_is_refused_in_either_mode() -> None:
    inspector = Inspector(FROM_CLIENT[ChannelType.INPUTS], mini=False, warns=True)
    assert scan(inspector, struct.pack("<QHII", 1, 999, 4, 2) + b"1234") == b""
    assert inspector.verdict == Verdict(999, 4, "sub-list")


def test_what_a_policy_takes_away_is_counted_by_type() -> None:
    inspector = Inspector(looking_on(FROM_CLIENT[ChannelType.INPUTS]), mini=True)
    scan(inspector, message(101, bytes(4)) + message(111, bytes(10)) * 3)
    assert inspector.verdict is None
    assert inspector.take_judged() == {("dropped", 101): 1, ("dropped", 111): 3}


@given(
    sent=st.lists(st.sampled_from([101, 102, 111, 112, 3, 999]), max_size=20),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_who_only_looks_on_sends_nothing_but_the_base(sent: list[int], cuts: list[int]) -> None:
    sizes = {101: 4, 102: 4, 111: 10, 112: 11, 3: 12, 999: 7}
    data = b"".join(message(kind, bytes(sizes[kind])) for kind in sent)
    inspector = Inspector(looking_on(FROM_CLIENT[ChannelType.INPUTS]), mini=True, warns=True)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    passed = b""
    for start, end in zip([0, *ends], ends, strict=False):
        passed += bytes(inspector.scan(memoryview(inspector.held + data[start:end])))
    assert passed == b"".join(message(k, bytes(sizes[k])) for k in sent if k in (3, 999))
