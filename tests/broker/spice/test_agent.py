"""Agent messages: dropped whole or not at all, however they are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.agent import (
    AGENT_HEADER,
    ANSWERS_MAX,
    CLIPBOARD_KINDS,
    CLIPBOARD_MAX,
    FILE_DATA_MAX,
    FILE_KINDS,
    MESSAGE_MAX,
    TOUCHING_KINDS,
    AgentCap,
    AgentFilter,
    AgentMessage,
    AgentRules,
)
from broker.spice.constants import Main, caps_of
from broker.spice.errors import RemoteProtocolError

NO_CLIPBOARD = AgentRules(clipboard=False)
NO_FILES = AgentRules(file_transfer=False)
LOOKING_ON = AgentRules(clipboard=False, file_transfer=False, touching=False)
TOKEN = (Main.AGENT_TOKEN, struct.pack("<I", 1))
EVERYTHING = caps_of(*range(18))


def agent(kind: int, body: bytes = b"") -> bytes:
    return AGENT_HEADER.pack(1, kind, 0, len(body)) + body


def announce(caps: int, want_reply: int = 1) -> bytes:
    return agent(6, struct.pack("<II", want_reply, caps))


def start(number: int, text: bytes = b"[vdagent-file-xfer]") -> bytes:
    return agent(10, struct.pack("<I", number) + text)


def status(number: int, result: int) -> tuple[int, bytes]:
    return (Main.AGENT_DATA, agent(11, struct.pack("<II", number, result)))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Pieces of one agent message; the first holds its header, none is empty."""
    inside = sorted({20 + place % max(1, len(data) - 20) for place in places} - {20, len(data)})
    ends = [*inside, len(data)]
    return [data[a:b] for a, b in zip([0, *inside], ends, strict=True)]


def caps_in(data: bytes) -> int:
    return int.from_bytes(data[24:28], "little")


@pytest.mark.parametrize(
    ("rules", "takes"),
    [(AgentRules(), False), (NO_CLIPBOARD, True), (NO_FILES, True), (LOOKING_ON, True)],
)
def test_a_filter_is_needed_only_where_something_is_taken_away(
    rules: AgentRules, takes: bool
) -> None:
    assert rules.takes_anything_away is takes


@pytest.mark.parametrize(
    ("rules", "dropped"),
    [
        (NO_CLIPBOARD, CLIPBOARD_KINDS),
        (NO_FILES, FILE_KINDS),
        (AgentRules(touching=False), TOUCHING_KINDS),
        (LOOKING_ON, CLIPBOARD_KINDS | FILE_KINDS | TOUCHING_KINDS),
    ],
    ids=["no clipboard", "no files", "no touching", "view only"],
)
@pytest.mark.parametrize("kind", [*AgentMessage, 0, 17, 0xFFFFFFFF])
def test_what_is_taken_away_or_not_known_ends_here_in_both_directions(
    rules: AgentRules, dropped: frozenset[int], kind: int
) -> None:
    data = agent(kind, bytes(8))
    gone = kind in dropped or kind not in list(AgentMessage)
    made = AgentFilter(rules)
    assert (made.client_data(data) is None) is gone
    assert made.for_client[:1] == ([TOKEN] if gone else [])
    made.for_client.clear()
    assert (made.server_data(data) is None) is gone
    assert made.for_client == []
    assert made.dropped.total() == 2 * gone


def test_what_was_dropped_is_counted_by_kind() -> None:
    made = AgentFilter(NO_CLIPBOARD)
    made.client_data(agent(7))
    made.client_data(agent(7))
    made.server_data(agent(99))
    assert made.dropped == {"agent clipboard-grab": 2, "agent 99": 1}


@given(
    talk=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 4, 7, 8, 9, 12, 15]),
            st.binary(max_size=300),
            st.lists(st.integers(0, 300), max_size=5),
        ),
        max_size=12,
    )
)
def test_cuts_never_matter_and_every_dropped_piece_is_paid_back(
    talk: list[tuple[int, bytes, list[int]]],
) -> None:
    ours, theirs = AgentFilter(NO_CLIPBOARD), AgentFilter(NO_CLIPBOARD)
    wanted, there, back = b"", b"", b""
    paid = 0
    for kind, body, places in talk:
        pieces = cut(agent(kind, body), places)
        if kind in CLIPBOARD_KINDS:
            paid += len(pieces)
        else:
            wanted += b"".join(pieces)
        there += b"".join(ours.client_data(piece) or b"" for piece in pieces)
        back += b"".join(theirs.server_data(piece) or b"" for piece in pieces)
    assert there == back == wanted
    assert ours.for_client == [TOKEN] * paid
    assert theirs.for_client == []


@given(places=st.lists(st.integers(0, 40), max_size=6), words=st.integers(0, 4))
def test_capabilities_are_taken_out_wherever_they_are_cut(places: list[int], words: int) -> None:
    caps = (EVERYTHING | 1 << 40).to_bytes(16, "little")[: 4 * words]
    data = agent(6, struct.pack("<I", 1) + caps)
    made = AgentFilter(LOOKING_ON)
    there = b"".join(made.client_data(piece) or b"" for piece in cut(data, places))
    back = b"".join(made.server_data(piece) or b"" for piece in cut(data, places))
    left = {0, 2, 8, 9, 13, 14, 15} if words else set()
    assert len(there) == len(back) == len(data)
    assert there[:24] == back[:24] == data[:24]
    assert {bit for bit in range(32) if caps_in(there) >> bit & 1} == left
    assert there[28:] == back[28:] == data[28:]


def test_the_viewer_is_told_that_files_are_disabled_and_the_guest_is_not() -> None:
    made = AgentFilter(NO_FILES)
    disabled = 1 << AgentCap.FILE_XFER_DISABLED
    assert caps_in(made.server_data(announce(0b11)) or b"") == 0b11 | disabled
    assert caps_in(made.client_data(announce(0b11)) or b"") == 0b11


@pytest.mark.parametrize(
    ("caps", "result"),
    [(1 << AgentCap.FILE_XFER_DETAILED_ERRORS, 7), (0, 2)],
    ids=["a viewer with detailed errors", "an older one"],
)
@given(places=st.lists(st.integers(0, 20), max_size=4))
def test_a_file_is_answered_with_disabled_in_words_the_viewer_knows(
    caps: int, result: int, places: list[int]
) -> None:
    made = AgentFilter(NO_FILES)
    made.client_data(announce(caps))
    pieces = cut(start(5), places)
    assert [made.client_data(piece) for piece in pieces] == [None] * len(pieces)
    assert made.for_client.count(TOKEN) == len(pieces)
    assert [each for each in made.for_client if each != TOKEN] == [status(5, result)]


def test_a_start_without_a_number_gets_no_answer() -> None:
    made = AgentFilter(NO_FILES)
    assert made.client_data(agent(10, b"abc")) is None
    assert made.for_client == [TOKEN]


def test_an_answer_waits_until_the_guest_has_finished_its_message() -> None:
    made = AgentFilter(NO_FILES)
    whole = agent(4, bytes(100))
    made.server_data(whole[:50])
    made.client_data(start(5))
    assert made.for_client == [TOKEN]
    made.server_data(whole[50:80])
    assert made.for_client == [TOKEN]
    made.server_data(whole[80:])
    assert made.for_client == [TOKEN, status(5, 2)]


def test_an_answer_does_not_wait_for_a_message_that_the_viewer_never_gets() -> None:
    made = AgentFilter(LOOKING_ON)
    made.server_data(agent(4, bytes(100))[:50])
    made.client_data(start(5))
    assert made.for_client == [TOKEN, status(5, 2)]


def test_answers_do_not_pile_up() -> None:
    made = AgentFilter(NO_FILES)
    made.server_data(agent(4, bytes(100))[:50])
    for number in range(ANSWERS_MAX):
        made.client_data(start(number))
    with pytest.raises(RemoteProtocolError, match="files begun at once"):
        made.client_data(start(99))


def test_an_agent_that_comes_or_goes_begins_a_new_talk() -> None:
    made = AgentFilter(NO_FILES)
    made.server_data(agent(4, bytes(100))[:50])
    made.client_data(agent(4, bytes(100))[:50])
    made.client_data(agent(4, bytes(100))[50:])
    made.client_data(start(5))
    made.for_client.clear()
    made.server_turn()
    assert made.server_data(announce(0)) is not None
    assert made.for_client == []


def test_a_viewer_that_starts_anew_need_not_finish_what_it_said() -> None:
    made = AgentFilter(NO_CLIPBOARD)
    made.client_data(agent(4, bytes(100))[:50])
    made.client_start()
    assert made.client_data(announce(0)) == announce(0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        agent(7)[:19],
        AGENT_HEADER.pack(2, 7, 0, 0),
        agent(7) + b"more",
        AGENT_HEADER.pack(1, 7, 0, MESSAGE_MAX + 1),
        AGENT_HEADER.pack(1, 4, 0, CLIPBOARD_MAX + 1),
        AGENT_HEADER.pack(1, 12, 0, FILE_DATA_MAX + 1),
        AGENT_HEADER.pack(1, 77, 0, 0xFFFFFFFF),
    ],
    ids=["empty", "short", "protocol", "longer", "large", "clipboard", "file", "unknown"],
)
def test_what_is_no_agent_message_is_refused_in_both_directions(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        AgentFilter(NO_CLIPBOARD).client_data(body)
    with pytest.raises(RemoteProtocolError):
        AgentFilter(NO_CLIPBOARD).server_data(body)


@pytest.mark.parametrize(
    ("kind", "size"),
    [(4, CLIPBOARD_MAX), (12, FILE_DATA_MAX), (2, MESSAGE_MAX)],
)
def test_the_largest_that_may_pass_may(kind: int, size: int) -> None:
    head = AGENT_HEADER.pack(1, kind, 0, size)
    assert AgentFilter(AgentRules(touching=False)).server_data(head) == (
        None if kind == 2 else head
    )


@given(pieces=st.lists(st.binary(max_size=60), max_size=8))
def test_junk_raises_nothing_but_what_ends_the_channel(pieces: list[bytes]) -> None:
    made = AgentFilter(LOOKING_ON)
    for piece in pieces:
        for take in (made.client_data, made.server_data):
            try:
                take(piece)
            except RemoteProtocolError:
                made.client_start()
                made.server_turn()
