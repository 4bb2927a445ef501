import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.client import (
    ChannelClient,
    ChannelsListed,
    Linked,
    MainReady,
    MessageReceived,
    Pinged,
    SurfaceCreated,
)
from broker.spice.client_link import LinkRefused
from broker.spice.constants import COMMON_CAPS, ChannelType
from broker.spice.errors import LocalProtocolError
from broker.spice.ticket import TicketKey
from broker.spice.wire import (
    LinkHeader,
    LinkReply,
    MainInit,
    SurfaceCreate,
    encode_channels,
    message,
)


def linked(key: TicketKey, kind: ChannelType, caps: int = COMMON_CAPS) -> ChannelClient:
    client = ChannelClient(kind, b"sesame", connection_id=7)
    client.data_to_send()
    client.receive_data(LinkReply(0, key.public_bytes, caps).encode())
    client.data_to_send()
    assert client.receive_data(bytes(4)) == [Linked()]
    return client


def test_seals_the_ticket_for_the_servers_key(key: TicketKey) -> None:
    client = ChannelClient(ChannelType.MAIN, b"sesame")
    assert client.data_to_send().startswith(LinkHeader(26).encode())
    client.receive_data(LinkReply(0, key.public_bytes, COMMON_CAPS).encode())
    assert key.open(client.data_to_send()[4:]) == b"sesame"


def test_main_asks_for_the_channels_by_itself(key: TicketKey) -> None:
    client = linked(key, ChannelType.MAIN)
    init = MainInit(0x1234)
    assert client.receive_data(message(103, init.encode())) == [MainReady(init)]
    assert client.data_to_send() == message(104)
    assert client.receive_data(message(104, encode_channels(((2, 0),)))) == [
        ChannelsListed(((2, 0),))
    ]


def test_display_sends_init_and_compression_in_one_go(key: TicketKey) -> None:
    client = linked(key, ChannelType.DISPLAY)
    init = b"\1" + bytes(8) + b"\1" + bytes(4)
    assert client.data_to_send() == message(101, init) + message(103, b"\1")


def test_display_tells_of_surfaces_and_drawing(key: TicketKey) -> None:
    client = linked(key, ChannelType.DISPLAY)
    surface = SurfaceCreate(0, 720, 400, 32, 1)
    assert client.receive_data(message(314, surface.encode()) + message(304, bytes(9000))) == [
        SurfaceCreated(surface),
        MessageReceived(304, 9000),
    ]


def test_answers_pings_with_twelve_bytes(key: TicketKey) -> None:
    client = linked(key, ChannelType.MAIN)
    assert client.receive_data(message(4, b"identity-and" + bytes(256_000))) == [Pinged()]
    assert client.data_to_send() == message(3, b"identity-and")


def test_acknowledges_once_per_window(key: TicketKey) -> None:
    client = linked(key, ChannelType.CURSOR)
    client.receive_data(message(3, struct.pack("<II", 9, 2)))
    assert client.data_to_send() == message(1, struct.pack("<I", 9))
    client.receive_data(message(101))
    assert client.data_to_send() == b""
    client.receive_data(message(102))
    assert client.data_to_send() == message(2)


def test_presses_keys_with_long_headers_too(key: TicketKey) -> None:
    client = linked(key, ChannelType.INPUTS, caps=0b0011)
    client.press(0x1E)
    assert client.data_to_send() == message(101, b"\x1e\0\0\0", mini=False, serial=1) + message(
        102, b"\x9e\0\0\0", mini=False, serial=2
    )


def test_messages_may_come_with_the_result(key: TicketKey) -> None:
    client = ChannelClient(ChannelType.INPUTS, b"sesame")
    client.receive_data(LinkReply(0, key.public_bytes, COMMON_CAPS).encode())
    assert client.receive_data(bytes(4) + message(101, b"\0\0")) == [
        Linked(),
        MessageReceived(101, 2),
    ]


def test_a_refusal_is_told() -> None:
    client = ChannelClient(ChannelType.MAIN, b"sesame")
    refused = LinkRefused(5, ticket_judged=False)
    assert client.receive_data(LinkReply(5).encode()) == [refused]
    assert client.refusal == refused
    assert client.receive_data(b"more") == []
    with pytest.raises(LocalProtocolError):
        client.press(1)


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad", LinkReply(0, bytes(162)).encode()],
    ids=["not-spice", "no-key"],
)
def test_a_broken_server_is_a_failure(answer: bytes) -> None:
    client = ChannelClient(ChannelType.MAIN, b"sesame")
    assert client.receive_data(answer) == []
    assert client.failure is not None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<HI", 304, 2**31),
        message(3, b"\1"),
        message(104, b"\xff\0\0\0"),
    ],
    ids=["2G", "set-ack", "list"],
)
def test_a_broken_message_is_a_failure(key: TicketKey, data: bytes) -> None:
    client = linked(key, ChannelType.MAIN)
    assert client.receive_data(data) == []
    assert client.failure is not None


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_can_make_it_raise(key: TicketKey, junk: bytes, after: bool) -> None:
    client = (
        linked(key, ChannelType.MAIN) if after else ChannelClient(ChannelType.DISPLAY, b"sesame")
    )
    client.receive_data(junk)
