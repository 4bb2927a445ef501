"""The tables against what is known to kill or stall spice-server."""

import struct

import pytest

from broker.spice.constants import ChannelType
from broker.spice.inspector import HELD_MAX, Inspector
from broker.spice.policy import (
    FROM_CLIENT,
    FROM_SERVER,
    HIDDEN,
    INPUT_MESSAGES,
    is_safe_display_init,
    looking_on,
    main_from_server,
    opening_bytes,
)
from broker.spice.wire import DisplayInit, message


def passes(channel: ChannelType, data: bytes) -> bool:
    inspector = Inspector(FROM_CLIENT[channel], mini=True)
    return inspector.scan(memoryview(data)) == data and inspector.verdict is None


EVERY_CHANNEL = pytest.mark.parametrize("channel", FROM_CLIENT, ids=lambda channel: channel.name)


@EVERY_CHANNEL
@pytest.mark.parametrize("kind", [4, 5])
@pytest.mark.parametrize("size", [0, 4, 4096])
def test_migration_messages_of_clients_pass_nowhere(
    channel: ChannelType, kind: int, size: int
) -> None:
    assert not passes(channel, message(kind, bytes(size)))


@EVERY_CHANNEL
def test_the_base_messages_pass_in_their_one_size(channel: ChannelType) -> None:
    data = message(1, bytes(4)) + message(2) + message(3, bytes(12)) + message(6, bytes(12))
    assert passes(channel, data)


@EVERY_CHANNEL
@pytest.mark.parametrize(("kind", "size"), [(1, 3), (1, 5), (2, 1), (3, 11), (3, 13), (6, 0)])
def test_the_base_messages_pass_in_no_other_size(
    channel: ChannelType, kind: int, size: int
) -> None:
    assert not passes(channel, message(kind, bytes(size)))


@EVERY_CHANNEL
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 16 * 1024 * 1024 + 1])
def test_a_size_that_overruns_the_server_passes_nowhere(channel: ChannelType, size: int) -> None:
    for kind in range(256):
        assert not passes(channel, struct.pack("<HI", kind, size))


@EVERY_CHANNEL
def test_what_may_pass_one_way_is_known_the_other_way_too(channel: ChannelType) -> None:
    assert channel in FROM_SERVER
    assert channel not in HIDDEN


def test_display_init_never_passes_the_relay() -> None:
    assert not passes(ChannelType.DISPLAY, message(101, DisplayInit().encode()))


@pytest.mark.parametrize(
    ("init", "safe"),
    [
        (DisplayInit(), True),
        (DisplayInit(20971520, 6290432), True),
        (DisplayInit(20971520, 32 * 1024 * 1024), True),
        (DisplayInit(0, 32 * 1024 * 1024 + 1), False),
        (DisplayInit(0, 2**31 - 1), False),
        (DisplayInit(0, -1), False),
        (DisplayInit(-1, 0), False),
    ],
)
def test_only_a_sane_display_init_is_safe(init: DisplayInit, safe: bool) -> None:
    assert is_safe_display_init(init.encode()) is safe


def test_a_display_init_of_another_size_is_not_safe() -> None:
    assert not is_safe_display_init(bytes(13))


@pytest.mark.parametrize(("value", "good"), [(0, False), (1, True), (7, True), (8, False)])
def test_preferred_compression_has_seven_values(value: int, good: bool) -> None:
    assert passes(ChannelType.DISPLAY, message(103, bytes([value]))) is good


@pytest.mark.parametrize(
    ("start", "good"),
    [
        (struct.pack("<BI", 1, 4096), True),
        (struct.pack("<BI", 0, 4096), False),
        (struct.pack("<BI", 1, 0xFFFFFFFF), False),
        (b"\1\0", False),
    ],
    ids=["lz4", "type-0", "4G", "short"],
)
@pytest.mark.parametrize("channel", [ChannelType.PORT, ChannelType.WEBDAV])
def test_compressed_data_says_how_large_it_becomes(
    channel: ChannelType, start: bytes, good: bool
) -> None:
    assert passes(channel, message(102, start)) is good


def test_agent_tokens_never_reach_a_server() -> None:
    """It aborts for a token that comes while no agent is started."""
    inspector = Inspector(FROM_CLIENT[ChannelType.MAIN], mini=True)
    start, token = message(106, struct.pack("<I", 10)), message(108, struct.pack("<I", 1))
    passed = inspector.scan(memoryview(start + token))
    assert passed == message(106, struct.pack("<I", 0xFFFFFFFF))
    assert inspector.verdict is None


def test_half_an_agent_message_waits_for_the_other_half() -> None:
    """A server aborts when it has half of one and its client changes."""
    inspector = Inspector(FROM_CLIENT[ChannelType.MAIN], mini=True)
    whole = message(107, bytes(2048))
    for cut in (6, 7, 2000, len(whole) - 1):
        assert inspector.scan(memoryview(whole[:cut])) == b""
        assert inspector.held == whole[:cut]
        assert len(inspector.held) <= HELD_MAX
    assert inspector.scan(memoryview(whole)) == whole


def test_agent_data_is_never_empty() -> None:
    assert not passes(ChannelType.MAIN, message(107))


@pytest.mark.parametrize(
    ("early", "count"),
    [
        (b"", 0),
        (message(103, b"\1"), 7),
        (message(103, b"\1") + message(105, b"\xff"), 7),
        (message(105, b"\xff") + message(103, b"\1"), 0),
        (message(102, bytes(32)), 0),
        (message(2), 0),
    ],
)
def test_only_the_compression_travels_with_the_init(early: bytes, count: int) -> None:
    assert opening_bytes(early, mini=True) == count


def test_agent_data_is_at_most_2048_bytes() -> None:
    assert passes(ChannelType.MAIN, message(107, bytes(2048)))
    assert not passes(ChannelType.MAIN, message(107, bytes(2049)))


@pytest.mark.parametrize("kind", [101, 102, 103, 109, 110, 111, 112])
def test_main_messages_that_end_or_migrate_a_session_do_not_pass(kind: int) -> None:
    assert not passes(ChannelType.MAIN, message(kind))


@pytest.mark.parametrize("kind", sorted(INPUT_MESSAGES))
def test_a_link_that_looks_on_cannot_type(kind: int) -> None:
    size = FROM_CLIENT[ChannelType.INPUTS].largest[kind]
    inspector = Inspector(looking_on(FROM_CLIENT[ChannelType.INPUTS]), mini=True)
    assert inspector.scan(memoryview(message(kind, bytes(size)))) == b""
    assert inspector.verdict is None


def test_what_is_rewritten_fits_what_a_caller_holds() -> None:
    rules = main_from_server(1, (), lambda _: None)
    assert all(rules.largest[kind] + 18 <= HELD_MAX for kind in rules.rewrites)


@pytest.mark.parametrize("kind", [320, 321, 1, 2])
def test_descriptors_and_migration_never_reach_a_display(kind: int) -> None:
    assert kind not in FROM_SERVER[ChannelType.DISPLAY].largest
