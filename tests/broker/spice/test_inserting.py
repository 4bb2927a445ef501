"""Messages of ours between those that pass, and messages that a rule drops whole."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.spice.agent import AGENT_HEADER, AgentFilter, AgentRules
from broker.spice.constants import ChannelType, ClientMain, Main
from broker.spice.errors import RemoteProtocolError
from broker.spice.inspector import INSERTED_MAX, Inspector, Verdict
from broker.spice.policy import (
    AGENT_TOKENS_UNLIMITED,
    FROM_CLIENT,
    Rules,
    choosing_no_mouse,
    main_from_client,
    main_from_server,
)
from broker.spice.wire import message

OURS = message(9, b"ours")
RULES = Rules({1: 4, 3: 300}, rewrites={1: lambda body: None if body == b"drop" else body})
QUICK = Rules({1: 4, 3: 300})
SWALLOWING = Rules({1: 4, 3: 300}, swallow=frozenset({3}))
SERVED = main_from_server(7, (), lambda _: None)


def scan(inspector: Inspector, data: bytes) -> bytes:
    return bytes(inspector.scan(memoryview(inspector.held + data)))


def agent(kind: int, body: bytes = b"") -> bytes:
    return AGENT_HEADER.pack(1, kind, 0, len(body)) + body


@pytest.mark.parametrize("mini", [True, False])
def test_between_messages_it_may_be_sent_at_once(mini: bool) -> None:
    inspector = Inspector(RULES, mini=mini)
    scan(inspector, message(3, b"x" * 300, mini=mini, serial=5))
    assert inspector.insert(9, b"ours") == message(9, b"ours", mini=mini, serial=5)


def test_a_header_that_is_held_back_has_not_begun_yet() -> None:
    inspector = Inspector(RULES, mini=True)
    assert scan(inspector, message(3, b"x")[:4]) == b""
    assert inspector.insert(9, b"ours") == OURS


@pytest.mark.parametrize("rules", [RULES, QUICK], ids=["slow", "fast"])
def test_within_a_message_it_waits_for_its_end(rules: Rules) -> None:
    inspector = Inspector(rules, mini=True)
    first = scan(inspector, message(3, bytes(300))[:100])
    assert inspector.insert(9, b"ours") == b""
    middle = scan(inspector, message(3, bytes(300))[100:200])
    assert first + middle == message(3, bytes(300))[:200]
    assert scan(inspector, message(3, bytes(300))[200:]) == bytes(106) + OURS
    assert inspector.latest == 106
    assert inspector.forwarded == 306 + len(OURS)


def test_it_stands_before_what_begins_next() -> None:
    inspector = Inspector(RULES, mini=True)
    data = message(3, bytes(300)) + message(1, b"1234") + message(3, b"")[:3]
    scan(inspector, data[:100])
    inspector.insert(9, b"ours")
    assert scan(inspector, data[100:]) == data[100:306] + OURS + message(1, b"1234")


def test_within_a_message_that_is_swallowed_it_may_be_sent_at_once() -> None:
    inspector = Inspector(SWALLOWING, mini=True)
    assert scan(inspector, message(3, bytes(300))[:100]) == b""
    assert inspector.insert(9, b"ours") == OURS
    assert scan(inspector, message(3, bytes(300))[100:] + message(1, b"1234")) == message(
        1, b"1234"
    )


def test_what_a_rule_inserts_stands_behind_the_message_that_made_it() -> None:
    def rewrite(body: bytes) -> bytes:
        assert inspector.insert(9, b"ours") == b""
        return body

    inspector = Inspector(Rules({1: 4}, rewrites={1: rewrite}), mini=True)
    one = message(1, b"1234")
    assert scan(inspector, one + one + one[:3]) == one + OURS + one + OURS
    assert scan(inspector, one[3:]) == one + OURS
    assert inspector.latest == len(one)


def test_a_rule_drops_a_message_whole() -> None:
    inspector = Inspector(RULES, mini=True)
    assert scan(inspector, message(1, b"drop") + message(1, b"stay")) == message(1, b"stay")
    assert (inspector.messages, inspector.swallowed) == (1, 1)


def test_who_provokes_more_than_it_takes_is_refused() -> None:
    inspector = Inspector(RULES, mini=True)
    scan(inspector, message(3, bytes(300))[:100])
    inspector.insert(9, bytes(INSERTED_MAX - 6))
    with pytest.raises(RemoteProtocolError):
        inspector.insert(9, b"")


@given(
    cuts=st.lists(st.integers(0, 700), max_size=8),
    when=st.lists(st.integers(0, 8), max_size=5),
)
def test_wherever_it_is_cut_and_inserted_messages_stay_whole(
    cuts: list[int], when: list[int]
) -> None:
    data = b"".join(message(3, bytes([size % 251]) * size) for size in (0, 200, 1, 300))
    inspector = Inspector(RULES, mini=True)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    passed = b""
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        passed += scan(inspector, data[start:end])
        for _ in range(when.count(number)):
            passed += inspector.insert(9, b"ours")
    count = sum(number < len(ends) for number in when)
    assert passed.count(OURS) == count
    assert passed.replace(OURS, b"") == data
    assert inspector.forwarded == len(passed)


# --- MAIN with a filter for the agent ---------------------------------------------------------


class Talk:
    """Both directions of a MAIN whose link has no clipboard and no file transfer."""

    def __init__(self) -> None:
        self.agent = AgentFilter(AgentRules(clipboard=False, file_transfer=False))
        self.to_server = Inspector(main_from_client(self.agent, self.say), mini=True)
        self.to_client = Inspector(
            main_from_server(7, (), lambda _: None, self.agent, self.say), mini=True
        )
        self.client, self.server = b"", b""

    def say(self) -> None:
        while self.agent.for_client:
            self.client += self.to_client.insert(*self.agent.for_client.pop(0))

    def from_client(self, data: bytes) -> None:
        self.server += scan(self.to_server, data)

    def from_server(self, data: bytes) -> None:
        passed = scan(self.to_client, data)
        self.client += passed


TOKEN = message(Main.AGENT_TOKEN, struct.pack("<I", 1))
GRAB = message(ClientMain.AGENT_DATA, agent(7, bytes(8)))


def test_a_dropped_message_costs_the_viewer_no_token() -> None:
    talk = Talk()
    talk.from_client(GRAB + message(ClientMain.ATTACH_CHANNELS))
    assert talk.server == message(ClientMain.ATTACH_CHANNELS)
    assert talk.client == TOKEN


def test_the_token_waits_for_the_end_of_a_ping() -> None:
    talk = Talk()
    ping = message(4, bytes(256_012))
    talk.from_server(ping[:100_000])
    talk.from_client(GRAB)
    talk.from_server(ping[100_000:200_000])
    assert talk.client == ping[:200_000]
    talk.from_server(ping[200_000:])
    assert talk.client == ping + TOKEN


def test_a_dropped_file_is_answered_behind_what_the_guest_is_saying() -> None:
    talk = Talk()
    said = agent(3, bytes(8) + bytes(100))
    first, rest = message(Main.AGENT_DATA, said[:50]), message(Main.AGENT_DATA, said[50:])
    talk.from_server(first)
    talk.from_client(message(ClientMain.AGENT_DATA, agent(10, struct.pack("<I", 4) + b"[x]")))
    assert talk.client == first + TOKEN
    talk.from_server(rest)
    answer = message(Main.AGENT_DATA, agent(11, struct.pack("<II", 4, 2)))
    assert talk.client == first + TOKEN + rest + answer


def test_a_start_passes_as_the_table_says_and_begins_anew() -> None:
    talk = Talk()
    talk.from_client(message(ClientMain.AGENT_DATA, agent(4, bytes(90))[:50]))
    talk.from_client(message(ClientMain.AGENT_START, struct.pack("<I", 5)))
    talk.from_client(message(ClientMain.AGENT_DATA, agent(2, bytes(8))))
    assert talk.server == message(
        ClientMain.AGENT_START, struct.pack("<I", AGENT_TOKENS_UNLIMITED)
    ) + message(ClientMain.AGENT_DATA, agent(2, bytes(8)))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Main.AGENT_CONNECTED, b""),
        (Main.AGENT_CONNECTED_TOKENS, bytes(4)),
        (Main.AGENT_DISCONNECTED, bytes(4)),
    ],
)
def test_an_agent_that_comes_or_goes_passes_and_begins_anew(kind: int, body: bytes) -> None:
    talk = Talk()
    talk.from_server(message(Main.AGENT_DATA, agent(3, bytes(90))[:50]))
    talk.client = b""
    talk.from_server(message(kind, body) + message(Main.AGENT_DATA, agent(3, bytes(8))))
    assert talk.client == message(kind, body) + message(Main.AGENT_DATA, agent(3, bytes(8)))


def test_nonsense_from_either_side_ends_main() -> None:
    talk = Talk()
    talk.from_client(message(ClientMain.AGENT_DATA, b"nonsense"))
    talk.from_server(message(Main.AGENT_DATA, b"nonsense"))
    assert talk.to_server.verdict == Verdict(ClientMain.AGENT_DATA, 8, "content")
    assert talk.to_client.verdict == Verdict(Main.AGENT_DATA, 8, "content")


def test_without_a_policy_nobody_listens_to_the_agent() -> None:
    rules = main_from_client(None, lambda: None)
    assert rules is FROM_CLIENT[ChannelType.MAIN]
    inspector = Inspector(rules, mini=True)
    assert scan(inspector, GRAB) == GRAB


def test_who_only_looks_on_does_not_choose_how_the_pointer_works() -> None:
    inspector = Inspector(choosing_no_mouse(FROM_CLIENT[ChannelType.MAIN]), mini=True)
    asked = message(ClientMain.MOUSE_MODE_REQUEST, bytes(2))
    assert scan(inspector, asked + GRAB) == GRAB
    assert inspector.take_judged() == {("dropped", ClientMain.MOUSE_MODE_REQUEST): 1}
