import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.client_link import ClientLink, LinkAccepted, LinkOffered, LinkRefused
from broker.spice.constants import COMMON_CAPS
from broker.spice.errors import LocalProtocolError
from broker.spice.wire import LinkHeader, LinkMess, LinkReply

MESS = LinkMess(0, 1, 0, COMMON_CAPS, 6)
REPLY = LinkReply(0, bytes(162), COMMON_CAPS, 0x0F)
SEALED = bytes(range(128))
OK = bytes(4)


def linked(reply: LinkReply = REPLY, mess: LinkMess = MESS) -> ClientLink:
    link = ClientLink(mess)
    link.data_to_send()
    link.receive_data(reply.encode())
    return link


def test_holds_the_ticket_back_until_it_is_told() -> None:
    link = ClientLink(MESS)
    assert link.data_to_send() == MESS.encode()
    assert link.receive_data(REPLY.encode()) == [LinkOffered(REPLY)]
    assert link.data_to_send() == b""
    assert link.present(SEALED, then=b"INIT") == []
    assert link.data_to_send() == struct.pack("<I", 1) + SEALED + b"INIT"
    assert link.receive_data(OK) == [LinkAccepted()]
    assert link.done


def test_a_server_that_cannot_select_gets_the_ticket_at_once() -> None:
    link = linked(LinkReply(0, bytes(162), 0, 0))
    link.present(SEALED)
    assert link.data_to_send() == SEALED


@pytest.mark.parametrize(
    ("ours", "theirs", "mini"),
    [(0b1011, 0b1011, True), (0b0011, 0b1011, False), (0b1011, 0b0011, False)],
)
def test_headers_are_short_when_both_sides_said_so(ours: int, theirs: int, mini: bool) -> None:
    link = linked(LinkReply(0, bytes(162), theirs, 0), LinkMess(0, 1, 0, ours, 0))
    assert link.mini_header is mini


def test_headers_are_long_until_the_server_has_spoken() -> None:
    assert not ClientLink(MESS).mini_header


def test_a_refusal_in_the_reply_says_that_no_ticket_was_judged() -> None:
    link = ClientLink(MESS)
    assert link.receive_data(LinkReply(5).encode()) == [LinkRefused(5, ticket_judged=False)]
    assert link.done
    with pytest.raises(LocalProtocolError):
        link.present(SEALED)


def test_a_refusal_as_a_result_says_that_the_ticket_was_judged() -> None:
    link = linked()
    link.present(SEALED)
    assert link.receive_data(struct.pack("<I", 7)) == [LinkRefused(7, ticket_judged=True)]
    assert link.receive_data(b"whatever") == []


def test_keeps_what_came_behind_the_result() -> None:
    link = linked()
    link.present(SEALED)
    link.receive_data(OK + b"SET_ACK")
    assert (link.trailing(), link.bytes_wanted) == (b"SET_ACK", 0)


def test_says_how_many_bytes_to_read() -> None:
    link = ClientLink(MESS)
    assert link.bytes_wanted == 4096  # a server says no more than its reply before our ticket
    link.receive_data(REPLY.encode()[:16])
    assert link.bytes_wanted == 178 + 8
    link.receive_data(REPLY.encode()[16:])
    link.present(SEALED)
    assert link.bytes_wanted == 4


def test_a_result_before_the_ticket_waits_for_it() -> None:
    link = ClientLink(MESS)
    assert link.receive_data(REPLY.encode() + OK) == [LinkOffered(REPLY)]
    assert link.present(SEALED) == [LinkAccepted()]


@pytest.mark.parametrize(
    "answer",
    [
        LinkHeader(178, b"HTTP").encode(),
        LinkHeader(178, major=3).encode(),
        LinkHeader(177).encode(),
        LinkHeader(4097).encode(),
        LinkHeader(178).encode() + bytes(166) + b"\xff" * 12,
    ],
    ids=["magic", "version", "short", "long", "caps"],
)
def test_a_server_that_breaks_the_protocol_is_a_failure(answer: bytes) -> None:
    link = ClientLink(MESS)
    assert link.receive_data(answer) == []
    assert link.failure is not None
    assert link.done


def test_nothing_is_read_after_a_failure() -> None:
    link = ClientLink(MESS)
    link.data_to_send()
    link.receive_data(LinkHeader(178, b"HTTP").encode())
    assert (link.bytes_wanted, link.receive_data(REPLY.encode())) == (0, [])
    with pytest.raises(LocalProtocolError):
        link.present(SEALED)
    assert link.data_to_send() == b""


def test_the_longest_reply_is_read() -> None:
    body = REPLY.encode()[16:]
    longest = LinkHeader(4096).encode() + body + bytes(4096 - len(body))
    assert ClientLink(MESS).receive_data(longest) == [LinkOffered(REPLY)]


def test_a_ticket_is_presented_once_and_sealed() -> None:
    with pytest.raises(LocalProtocolError):
        ClientLink(MESS).present(SEALED)
    link = linked()
    with pytest.raises(LocalProtocolError):
        link.present(b"plain")
    link.present(SEALED)
    with pytest.raises(LocalProtocolError):
        link.present(SEALED)


@given(st.binary(max_size=400))
def test_no_bytes_can_make_it_raise(junk: bytes) -> None:
    ClientLink(MESS).receive_data(junk)


@given(st.binary(max_size=400))
def test_no_body_can_make_it_raise(junk: bytes) -> None:
    ClientLink(MESS).receive_data(LinkHeader(178).encode() + junk)
