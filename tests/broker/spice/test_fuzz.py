"""Whatever the bytes are and wherever they are cut: link stage and inspector, drawn at length.

`make test` draws a few of each; `make fuzz FUZZ_SECONDS=600` draws until the time is up.
"""

from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from broker.spice.client_link import ClientLink
from broker.spice.constants import COMMON_CAPS, MAIN_CAPS, MAX_LINK_BYTES, ChannelType
from broker.spice.errors import RemoteProtocolError
from broker.spice.inspector import HELD_MAX, Inspector
from broker.spice.policy import (
    FROM_CLIENT,
    FROM_SERVER,
    Rules,
    looking_on,
    main_from_server,
    opening_bytes,
)
from broker.spice.server_link import LinkRequested, ServerEvent, ServerLink
from broker.spice.wire import Header, LinkMess, LinkReply, MainInit, encode_channels, message

RULES: dict[str, Rules] = {
    **{f"from client {kind.name}": rules for kind, rules in FROM_CLIENT.items()},
    **{f"from server {kind.name}": rules for kind, rules in FROM_SERVER.items()},
    "looking on": looking_on(FROM_CLIENT[ChannelType.INPUTS]),
    "from server MAIN, rewritten": main_from_server(0xABCD, {9, 11}, lambda _: None),
}
CUTS = st.lists(st.integers(0, 6000), max_size=12)
REQUEST = LinkMess(0, ChannelType.MAIN, 0, COMMON_CAPS, MAIN_CAPS).encode()
TICKET = struct.pack("<I", 1) + bytes(128)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# --- the link stage ------------------------------------------------------------------------------


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right, nearly right, or nothing of the kind; a ticket behind it."""
    said = bytearray(REQUEST + TICKET)
    for at in draw(st.lists(st.integers(0, len(said) - 1), max_size=4)):
        said[at] = draw(st.integers(0, 255))
    return bytes(said) if draw(st.booleans()) else draw(st.binary(max_size=300))


def served(pieces: list[bytes]) -> tuple[list[ServerEvent], bytes, str]:
    """What a server's side made of it."""
    link, said = ServerLink(), b""
    events: list[ServerEvent] = []
    for piece in pieces:
        for event in link.receive_data(piece):
            events.append(event)
            if isinstance(event, LinkRequested):
                events += link.offer(bytes(162), COMMON_CAPS, MAIN_CAPS)
        said += link.data_to_send()
        assert 0 <= link.bytes_wanted <= MAX_LINK_BYTES
    return events, said, str(link.failure)


@given(said=requests(), cuts=CUTS)
def test_a_request_means_the_same_however_it_is_cut(said: bytes, cuts: list[int]) -> None:
    assert served(in_pieces(said, cuts)) == served([said] if said else [])


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    said = bytearray(LinkReply(0, bytes(162), COMMON_CAPS, MAIN_CAPS).encode() + bytes(4))
    for at in draw(st.lists(st.integers(0, len(said) - 1), max_size=4)):
        said[at] = draw(st.integers(0, 255))
    return bytes(said) if draw(st.booleans()) else draw(st.binary(max_size=300))


@given(said=replies(), cuts=CUTS)
def test_no_server_makes_the_clients_side_raise(said: bytes, cuts: list[int]) -> None:
    link = ClientLink(LinkMess(0, ChannelType.MAIN, 0, COMMON_CAPS, MAIN_CAPS))
    for piece in in_pieces(said, cuts):
        link.receive_data(piece)
        assert 0 <= link.bytes_wanted <= MAX_LINK_BYTES


# --- the inspector -------------------------------------------------------------------------------


@st.composite
def traffic(draw: st.DrawFn, rules: Rules, *, mini: bool) -> bytes:
    """Messages, mostly such as the rules let pass, with sizes at the limits and lies."""
    said = b""
    kinds = st.sampled_from(sorted(rules.largest)) | st.integers(0, 0xFFFF)
    for serial in range(draw(st.integers(0, 6))):
        kind = draw(kinds)
        limits = (rules.smallest.get(kind, 0), min(rules.largest.get(kind, 9), 3000))
        size = draw(st.sampled_from((*limits, limits[0] + 1, limits[1] + 1)) | st.integers(0, 64))
        fill = draw(st.sampled_from((b"\0", b"\1", b"\xff")) | st.binary(min_size=1, max_size=4))
        body = (fill * size)[:size]
        if kind == 103 and draw(st.booleans()):
            body = MainInit(7).encode()
        if kind == 104 and draw(st.booleans()):
            body = encode_channels(((9, 0), (2, 0)))
        lie = draw(st.sampled_from((0, 0, 0, 0, 1, 0x80000000, 0xFFFFFFFF)))
        sub_list = draw(st.sampled_from((0, 0, 0, 1)))
        header = Header(kind, lie or len(body), serial, sub_list if not mini else 0)
        said += header.encode(mini=mini) + body
    return said + draw(st.binary(max_size=20))


def allowed(rules: Rules, said: bytes, *, mini: bool) -> tuple[bytes, bool]:
    """What the rules let pass of it, message by message, and whether they end the channel."""
    passed, at, length = b"", 0, Header.length(mini=mini)
    while len(said) - at >= length:
        header = Header.decode(said[at : at + length], mini=mini)
        kind, size = header.type, header.size
        body = said[at + length : at + length + size]
        if kind not in rules.largest or header.sub_list:
            return passed, True
        if not rules.smallest.get(kind, 0) <= size <= rules.largest[kind]:
            return passed, True
        if (check := rules.checks.get(kind)) is not None:
            need = min(check.need, size)
            if len(body) < need:
                return passed, False
            if not check.accepts(body[:need]):
                return passed, True
        if (rewrite := rules.rewrites.get(kind)) is not None:
            if len(body) < size:
                return passed, False
            try:
                replaced = rewrite(body)
            except RemoteProtocolError:
                return passed, True
            if replaced is not None:
                passed += message(kind, replaced, mini=mini, serial=header.serial)
        elif kind not in rules.swallow:
            passed += said[at : at + length] + body
        at += length + size
    return passed, False


@given(data=st.data(), name=st.sampled_from(sorted(RULES)), mini=st.booleans(), cuts=CUTS)
def test_exactly_what_the_rules_allow_passes(
    data: st.DataObject, name: str, mini: bool, cuts: list[int]
) -> None:
    rules = RULES[name]
    said = data.draw(traffic(rules, mini=mini))
    inspector, passed = Inspector(rules, mini=mini), b""
    for piece in in_pieces(said, cuts):
        passed += inspector.scan(memoryview(inspector.held + piece))
        assert len(inspector.held) <= HELD_MAX
        if inspector.verdict is not None:
            break
    assert (passed, inspector.verdict is not None) == allowed(rules, said, mini=mini)


@given(data=st.data(), mini=st.booleans())
def test_nothing_but_a_whole_compression_crosses_with_an_init(
    data: st.DataObject, mini: bool
) -> None:
    rules = FROM_CLIENT[ChannelType.DISPLAY]
    said = data.draw(traffic(rules, mini=mini))
    early = bytes(Inspector(rules, mini=mini).scan(memoryview(said)))
    crosses = early[: opening_bytes(early, mini=mini)]
    if crosses:
        header = Header.decode(crosses[: Header.length(mini=mini)], mini=mini)
        assert (header.type, header.size) == (103, 1)
        assert len(crosses) == Header.length(mini=mini) + 1
