import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.constants import COMMON_CAPS, LinkError
from broker.spice.errors import LocalProtocolError
from broker.spice.server_link import LinkRequested, ServerLink, TicketReceived
from broker.spice.wire import LinkHeader, LinkMess, LinkReply

KEY = bytes(range(162))
MESS = LinkMess(0, 1, 0, COMMON_CAPS, 0x0F)
HELLO = MESS.encode()
SEALED = bytes(range(128))
TICKET = struct.pack("<I", 1) + SEALED


def error_in(data: bytes) -> int:
    assert len(data) == 194
    return LinkReply.decode(data[16:]).error


def offered(hello: bytes = HELLO) -> ServerLink:
    link = ServerLink()
    link.receive_data(hello)
    link.offer(KEY, COMMON_CAPS, 0x06)
    link.data_to_send()
    return link


def test_hands_over_the_ticket_after_offering_a_key() -> None:
    link = ServerLink()
    assert link.receive_data(HELLO) == [LinkRequested(MESS)]
    assert link.offer(KEY, COMMON_CAPS, 0x06) == []
    reply = link.data_to_send()
    assert LinkReply.decode(reply[16:]) == LinkReply(0, KEY, COMMON_CAPS, 0x06)
    assert link.receive_data(TICKET) == [TicketReceived(SEALED)]
    link.accept()
    assert (link.data_to_send(), link.done, link.failure) == (bytes(4), True, None)


def test_says_how_many_bytes_to_read_so_that_none_are_left_over() -> None:
    link, wanted = ServerLink(), list[int]()
    data = HELLO + TICKET + b"more"
    while link.bytes_wanted:
        wanted.append(link.bytes_wanted)
        if link.receive_data(data[: link.bytes_wanted]) and len(wanted) == 1:
            link.offer(KEY, COMMON_CAPS, 0)
        data = data[wanted[-1] :]
    assert (wanted, data, link.trailing()) == ([162, 12], b"more", b"")


def test_reads_a_request_and_a_ticket_at_once_each() -> None:
    link = ServerLink()
    assert link.bytes_wanted == 16 + 18 + 128  # what a client without capabilities sends in all
    assert link.receive_data(HELLO) == [LinkRequested(MESS)]
    link.offer(KEY, COMMON_CAPS, 0)
    assert link.bytes_wanted == 4 + 128
    assert link.receive_data(TICKET) == [TicketReceived(SEALED)]
    assert link.bytes_wanted == 0


def test_of_a_request_in_parts_no_more_is_wanted_than_it_has() -> None:
    link = ServerLink()
    link.receive_data(HELLO[:16])
    assert link.bytes_wanted == len(HELLO) - 16
    link.receive_data(HELLO[16:20])
    assert link.bytes_wanted == len(HELLO) - 20


def test_a_client_that_cannot_select_sends_its_ticket_at_once() -> None:
    link = offered(LinkMess(0, 1, 0, 0, 0).encode())
    assert link.receive_data(SEALED) == [TicketReceived(SEALED)]


def test_a_ticket_that_came_early_is_handed_over_by_the_offer() -> None:
    link = ServerLink()
    assert link.receive_data(HELLO + TICKET + b"more") == [LinkRequested(MESS)]
    assert link.offer(KEY, COMMON_CAPS, 0) == [TicketReceived(SEALED)]
    assert link.trailing() == b"more"


def test_refuses_by_a_reply_before_the_offer() -> None:
    link = ServerLink()
    link.receive_data(HELLO)
    link.refuse(LinkError.NEED_SECURED)
    assert error_in(link.data_to_send()) == LinkError.NEED_SECURED
    assert link.receive_data(TICKET) == []


def test_refuses_by_a_result_after_the_ticket() -> None:
    link = offered()
    link.receive_data(TICKET)
    link.refuse(LinkError.PERMISSION_DENIED)
    link.refuse(LinkError.ERROR)
    assert link.data_to_send() == struct.pack("<I", 7)


def test_says_nothing_between_offer_and_ticket() -> None:
    link = offered()
    link.refuse(LinkError.ERROR)
    assert (link.data_to_send(), link.done, link.bytes_wanted) == (b"", True, 0)


@pytest.mark.parametrize(
    ("hello", "error"),
    [
        (LinkHeader(18, b"GET ").encode(), LinkError.INVALID_MAGIC),
        (LinkHeader(18, major=1).encode(), LinkError.VERSION_MISMATCH),
        (LinkHeader(17).encode(), LinkError.INVALID_DATA),
        (LinkHeader(4097).encode(), LinkError.INVALID_DATA),
        (LinkHeader(2**32 - 1).encode(), LinkError.INVALID_DATA),
        (LinkMess(0, 0, 0, 0, 0).encode(), LinkError.CHANNEL_NOT_AVAILABLE),
        (LinkMess(0, 12, 0, 0, 0).encode(), LinkError.CHANNEL_NOT_AVAILABLE),
        (HELLO[:26] + b"\x21\0\0\0" + HELLO[30:], LinkError.INVALID_DATA),
    ],
    ids=["magic", "version", "short", "long", "huge", "type-0", "type-12", "caps"],
)
def test_a_bad_request_gets_the_reply_of_this_step(hello: bytes, error: LinkError) -> None:
    link = ServerLink()
    assert link.receive_data(hello) == []
    assert error_in(link.data_to_send()) == error
    assert link.failure is not None
    assert link.done


@pytest.mark.parametrize(
    "bad", [LinkHeader(18, b"GET ").encode(), LinkMess(0, 0, 0, 0, 0).encode()]
)
def test_nothing_is_read_after_a_failure(bad: bytes) -> None:
    link = ServerLink()
    link.receive_data(bad)
    link.data_to_send()
    assert (link.bytes_wanted, link.receive_data(HELLO + TICKET)) == (0, [])
    assert (link.data_to_send(), link.trailing(), link.trailing()) == (b"", HELLO + TICKET, b"")


def test_another_minor_version_is_welcome() -> None:
    link = ServerLink()
    assert link.receive_data(LinkHeader(len(HELLO) - 16, minor=9).encode() + HELLO[16:])


def test_sasl_is_refused() -> None:
    link = offered()
    assert link.receive_data(struct.pack("<I", 2)) == []
    assert error_in(link.data_to_send()) == LinkError.INVALID_DATA


def test_calls_out_of_order_are_bugs_of_ours() -> None:
    link = ServerLink()
    with pytest.raises(LocalProtocolError):
        link.offer(KEY, 0, 0)
    with pytest.raises(LocalProtocolError):
        link.accept()


def test_whoever_was_refused_is_refused_for_good() -> None:
    asks, waits = ServerLink(), offered()
    asks.receive_data(HELLO)
    waits.receive_data(TICKET)
    for link in (asks, waits):
        link.refuse(LinkError.ERROR)
        link.data_to_send()
    with pytest.raises(LocalProtocolError):
        asks.offer(KEY, COMMON_CAPS, 0)
    with pytest.raises(LocalProtocolError):
        waits.accept()
    assert asks.data_to_send() + waits.data_to_send() == b""


@given(cut=st.integers(0, len(HELLO + TICKET)))
def test_where_the_bytes_are_cut_never_matters(cut: int) -> None:
    link, data = ServerLink(), HELLO + TICKET
    events = link.receive_data(data[:cut])
    if events:
        events += link.offer(KEY, COMMON_CAPS, 0)
    events += link.receive_data(data[cut:])
    if len(events) == 1:
        events += link.offer(KEY, COMMON_CAPS, 0)
    assert events == [LinkRequested(MESS), TicketReceived(SEALED)]


@given(st.binary(max_size=400))
def test_no_bytes_can_make_it_raise(junk: bytes) -> None:
    ServerLink().receive_data(junk)


@given(st.binary(max_size=4200), st.integers(0, 4200))
def test_no_body_can_make_it_raise(junk: bytes, size: int) -> None:
    ServerLink().receive_data(LinkHeader(size).encode() + junk)


@given(st.binary(max_size=200))
def test_no_ticket_can_make_it_raise(junk: bytes) -> None:
    offered().receive_data(junk)
