import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice import wire
from broker.spice.errors import RemoteProtocolError
from broker.spice.wire import (
    DisplayInit,
    Header,
    LinkHeader,
    LinkMess,
    LinkReply,
    MainInit,
    SurfaceCreate,
)

U32 = st.integers(0, 2**32 - 1)
CAPS = st.integers(0, 2**96 - 1)


@given(U32, st.integers(0, 255), st.integers(0, 255), CAPS, CAPS)
def test_a_link_message_comes_back_as_it_went(
    connection: int, kind: int, number: int, common: int, channel: int
) -> None:
    mess = LinkMess(connection, kind, number, common, channel)
    data = mess.encode()
    assert data[:16] == LinkHeader(len(data) - 16).encode()
    assert LinkMess.decode(data[16:]) == mess


@given(st.binary(min_size=162, max_size=162), CAPS, CAPS)
def test_a_reply_comes_back_as_it_went(key: bytes, common: int, channel: int) -> None:
    reply = LinkReply(0, key, common, channel)
    assert LinkReply.decode(reply.encode()[16:]) == reply


def test_an_error_reply_is_194_bytes_with_nothing_but_the_error() -> None:
    data = LinkReply(7).encode()
    assert (len(data), LinkReply.decode(data[16:])) == (194, LinkReply(7))
    assert data[20:] == bytes(174)


def test_capability_32_lives_in_a_second_word() -> None:
    assert wire.encode_caps(1 << 32) == bytes(4) + b"\1\0\0\0"


@pytest.mark.parametrize(
    ("offset", "common", "channel"),
    [(17, 0, 0), (18, 1, 0), (18, 0, 1), (2**32 - 1, 0, 0), (18, 33, 0), (18, 0, 2**32 - 1)],
    ids=["inside-struct", "common-past-end", "channel-past-end", "offset", "common", "channel"],
)
def test_capabilities_outside_of_the_body_are_refused(
    offset: int, common: int, channel: int
) -> None:
    with pytest.raises(RemoteProtocolError, match="capabilities"):
        wire.decode_caps(bytes(18), 18, offset, common, channel)


@pytest.mark.parametrize("mini", [True, False])
def test_headers_have_two_lengths(mini: bool) -> None:
    header = Header(101, 4, 0 if mini else 7)
    data = header.encode(mini=mini)
    assert len(data) == Header.length(mini=mini) == (6 if mini else 18)
    assert Header.decode(data, mini=mini) == header
    assert wire.message(3, b"xy", mini=mini)[-2:] == b"xy"


def test_main_init_comes_back_as_it_went() -> None:
    init = MainInit(7, 1, 3, 2, 1, 10, 99, 1000)
    assert MainInit.decode(init.encode()) == init


def test_display_init_has_14_bytes_in_the_order_of_the_protocol() -> None:
    init = DisplayInit(cache_pixels=20971520, glz_window_pixels=6290432)
    assert init.encode() == b"\1" + (20971520).to_bytes(8, "little") + b"\1\0\xfc\x5f\0"
    assert DisplayInit.decode(init.encode()) == init


def test_a_surface_comes_back_as_it_went() -> None:
    surface = SurfaceCreate(0, 720, 400, 32, 1)
    assert SurfaceCreate.decode(surface.encode()) == surface


def test_a_list_of_channels_comes_back_as_it_went() -> None:
    channels = ((9, 1), (2, 0))
    assert wire.decode_channels(wire.encode_channels(channels)) == channels


@pytest.mark.parametrize(
    "body", [b"", b"\1\0\0", b"\2\0\0\0\2\0", b"\xff\xff\xff\xff"], ids=["none", "cut", "few", "2G"]
)
def test_a_list_longer_than_its_body_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="list of"):
        wire.decode_channels(body)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (wire.scancode(0x1E), 0x9E),
        (wire.scancode(0x4D, extended=True), 0xCDE0),
        (0, 0),
    ],
    ids=["a", "right", "nothing"],
)
def test_a_key_goes_up_with_bit_7_of_its_last_byte(down: int, up: int) -> None:
    assert wire.release_of(down) == up
