import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.agent import AGENT_HEADER, AgentCap, AgentMessage
from broker.spice.clipboard import PIECE_MAX, TEXT_MAX, Clipboard
from broker.spice.constants import ClientMain, caps_of
from broker.spice.errors import LocalProtocolError, RemoteProtocolError

TEXT = struct.pack("<I", 1)
PICTURE = struct.pack("<I", 2)
SELECTION = bytes(4)
PRIMARY = b"\1\0\0\0"
MODERN = (AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION)


def said(kind: int, content: bytes = b"") -> bytes:
    return AGENT_HEADER.pack(1, kind, 0, len(content)) + content


def announced(*caps: AgentCap, wants_reply: bool = False) -> bytes:
    body = struct.pack("<II", wants_reply, caps_of(*caps))
    return said(AgentMessage.ANNOUNCE_CAPABILITIES, body)


def talking(*caps: AgentCap, tokens: int = 1000) -> Clipboard:
    it = Clipboard()
    it.connected(tokens)
    it.receive(announced(*caps))
    it.outgoing.clear()
    return it


def sent(it: Clipboard) -> list[tuple[int, bytes]]:
    """Kind and content of each agent message that is to go out, put together."""
    found: list[tuple[int, bytes]] = []
    data = b"".join(body for kind, body in it.outgoing if kind == ClientMain.AGENT_DATA)
    it.outgoing.clear()
    while data:
        _, kind, _, size = AGENT_HEADER.unpack_from(data)
        found.append((kind, data[AGENT_HEADER.size : AGENT_HEADER.size + size]))
        data = data[AGENT_HEADER.size + size :]
    return found


def test_it_begins_by_saying_what_it_can_do() -> None:
    it = Clipboard()
    it.connected(10)
    assert it.outgoing[0] == (ClientMain.AGENT_START, b"\xff" * 4)
    assert sent(it) == [(6, struct.pack("<II", 1, caps_of(*MODERN)))]


def test_it_answers_when_it_is_asked_what_it_can_do() -> None:
    it = talking(*MODERN)
    it.receive(announced(*MODERN, wants_reply=True))
    assert sent(it) == [(6, struct.pack("<II", 0, caps_of(*MODERN)))]


@pytest.mark.parametrize(
    ("caps", "selection"),
    [(MODERN, SELECTION), ((AgentCap.CLIPBOARD_BY_DEMAND,), b"")],
    ids=["selections", "one clipboard"],
)
def test_a_text_that_is_copied_in_the_guest_is_fetched(
    caps: tuple[AgentCap, ...], selection: bytes
) -> None:
    it = talking(*caps)
    assert it.receive(said(AgentMessage.CLIPBOARD_GRAB, selection + PICTURE + TEXT)) is None
    assert sent(it) == [(AgentMessage.CLIPBOARD_REQUEST, selection + TEXT)]
    whole = said(AgentMessage.CLIPBOARD, selection + TEXT + "grüß".encode() * 800)
    assert it.receive(whole[:PIECE_MAX]) is None
    assert it.receive(whole[PIECE_MAX : 2 * PIECE_MAX]) is None
    assert it.receive(whole[2 * PIECE_MAX :]) == "grüß" * 800


@pytest.mark.parametrize("grabbed", [SELECTION + PICTURE, PRIMARY + TEXT, SELECTION, b""])
def test_what_is_no_text_of_the_clipboard_is_left_alone(grabbed: bytes) -> None:
    it = talking(*MODERN)
    it.receive(said(AgentMessage.CLIPBOARD_GRAB, grabbed))
    assert it.receive(said(AgentMessage.CLIPBOARD, SELECTION + PICTURE + b"png")) is None
    assert it.receive(said(AgentMessage.CLIPBOARD, PRIMARY + TEXT + b"primary")) is None
    assert sent(it) == []


def test_a_text_is_offered_and_goes_when_the_guest_pastes() -> None:
    it = talking(*MODERN)
    it.offer("a" * 5000)
    assert sent(it) == [(AgentMessage.CLIPBOARD_GRAB, SELECTION + TEXT)]
    it.receive(said(AgentMessage.CLIPBOARD_REQUEST, SELECTION + PICTURE))
    assert sent(it) == []
    it.receive(said(AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT))
    assert all(len(body) <= PIECE_MAX for _, body in it.outgoing)
    assert sent(it) == [(AgentMessage.CLIPBOARD, SELECTION + TEXT + b"a" * 5000)]


def test_what_was_offered_too_early_is_offered_once_the_agent_has_said_what_it_can_do() -> None:
    it = Clipboard()
    it.offer("early")
    it.connected(10)
    sent(it)
    it.receive(announced(*MODERN))
    assert sent(it) == [(AgentMessage.CLIPBOARD_GRAB, SELECTION + TEXT)]


def test_line_ends_are_the_guests() -> None:
    it = talking(*MODERN, AgentCap.GUEST_LINEEND_CRLF)
    it.offer("a\nb")
    sent(it)
    it.receive(said(AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT))
    assert sent(it) == [(AgentMessage.CLIPBOARD, SELECTION + TEXT + b"a\r\nb")]
    assert it.receive(said(AgentMessage.CLIPBOARD, SELECTION + TEXT + b"c\r\nd")) == "c\nd"


def test_pieces_wait_for_tokens() -> None:
    it = talking(*MODERN, tokens=3)
    it.offer("a" * 5000)
    it.receive(said(AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT))
    assert len(it.outgoing) == 2  # one token went for what we can do
    it.granted(5)
    assert [kind for kind, _ in sent(it)] == [AgentMessage.CLIPBOARD_GRAB, AgentMessage.CLIPBOARD]


def test_who_grants_nothing_and_goes_on_asking_is_not_answered_for_ever() -> None:
    it = talking(*MODERN, tokens=1)
    it.offer("a" * TEXT_MAX)
    for _ in range(20):
        it.receive(said(AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT))
    it.granted(1_000_000)
    assert len(sent(it)) == 2


def test_an_agent_that_goes_takes_what_was_on_its_way() -> None:
    it = talking(*MODERN, tokens=1)
    it.offer("lost")
    it.disconnected()
    it.granted(100)
    assert sent(it) == []
    it.receive(said(AgentMessage.CLIPBOARD_GRAB, SELECTION + PICTURE))
    assert sent(it) == []


def test_a_text_that_is_too_long_is_not_offered_and_not_kept() -> None:
    it = talking(*MODERN)
    with pytest.raises(LocalProtocolError):
        it.offer("a" * (TEXT_MAX + 1))
    assert it.receive(said(AgentMessage.CLIPBOARD, SELECTION + TEXT + bytes(TEXT_MAX))) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"short",
        AGENT_HEADER.pack(2, 4, 0, 1),
        said(4, b"x") + b"y",
        said(6)[:-4] + b"\xff" * 4,
    ],
    ids=["empty", "short", "protocol", "too long", "huge"],
)
def test_what_is_no_agent_message_is_the_servers_fault(piece: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        talking(*MODERN).receive(piece)


@given(st.integers(0, 20), st.lists(st.binary(max_size=64), max_size=5))
def test_no_bytes_make_it_raise_anything_else(kind: int, pieces: list[bytes]) -> None:
    it = talking(*MODERN)
    with contextlib.suppress(RemoteProtocolError):
        for piece in pieces:
            it.receive(said(kind, piece))
            it.receive(piece)
