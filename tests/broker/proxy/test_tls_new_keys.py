"""New keys within a connection of TLS 1.3 (RFC 8446, 4.6.3): a peer's, ours for it, and our own."""

from __future__ import annotations

import pytest

from broker.proxy.tls import TlsFailed
from broker.proxy.tls_keys import SUITES
from broker.proxy.tls_records import PLAIN_MOST
from tests.broker.proxy.tls_hand import DATA, HANDSHAKE, Peer

EACH_SUITE = pytest.mark.parametrize("name", SUITES)
ILLEGAL_PARAMETER = 47


@EACH_SUITE
def test_a_peer_may_take_new_keys_and_ask_for_ours(name: str) -> None:
    peer = Peer(name)
    for asks in (False, True, False, True):
        before = peer.hears.secret
        assert peer.heard(peer.record(b"a") + peer.update(asks=asks) + peer.record(b"b")) == b"ab"
        answer = [(HANDSHAKE, b"\x18\0\0\1\0")] if asks else []
        assert peer.told(peer.engine.seal(b"c")) == [*answer, (DATA, b"c")]
        assert (peer.hears.secret != before) is asks
        assert peer.engine.outward.secret == peer.hears.secret


def test_a_message_for_a_new_key_may_come_in_parts() -> None:
    peer = Peer()
    parts = [peer.record(bytes((each,)), HANDSHAKE) for each in (24, 0, 0, 1, 1)]
    for part in parts:
        assert peer.heard(part) == b""
    peer.says.update()
    assert peer.heard(peer.record(b"on")) == b"on"
    assert peer.told(peer.engine.seal(b"")) == [(HANDSHAKE, b"\x18\0\0\1\0")]


def test_what_was_asked_for_many_times_before_we_speak_is_answered_once() -> None:
    peer = Peer()
    for _ in range(100):
        assert peer.heard(peer.update(asks=True)) == b""
    assert peer.told(peer.engine.take()) == [(HANDSHAKE, b"\x18\0\0\1\0")]
    peer.heard(peer.update(asks=True))
    assert peer.told(peer.engine.seal(b"x")) == [(HANDSHAKE, b"\x18\0\0\1\0"), (DATA, b"x")]


@pytest.mark.parametrize("value", [2, 3, 255])
def test_a_new_key_is_asked_for_or_not(value: int) -> None:
    peer = Peer()
    assert peer.heard(peer.record(bytes((24, 0, 0, 1, value)), HANDSHAKE)) == b""
    assert isinstance(peer.end, TlsFailed)
    assert peer.alert() == ILLEGAL_PARAMETER


def test_the_old_key_is_good_no_more() -> None:
    peer = Peer()
    peer.heard(peer.record(bytes((24, 0, 0, 1, 0)), HANDSHAKE))  # and goes on with the old one
    assert peer.heard(peer.record(b"x")) == b""
    assert isinstance(peer.end, TlsFailed)


@pytest.mark.parametrize("size", [5, 40_000])
def test_what_waits_goes_in_front_and_under_its_own_key(size: int) -> None:
    peer = Peer()
    peer.engine.write(b"held")
    peer.heard(peer.update(asks=True))
    peer.engine.write(b"held too")
    peer.heard(peer.update(asks=True) + peer.update(asks=True))
    room = memoryview(bytearray(size + 1))
    sealed = peer.engine.seal_little(room, size) if size <= PLAIN_MOST else peer.engine.seal(room)
    key = (HANDSHAKE, b"\x18\0\0\1\0")
    told = peer.told(sealed)
    assert told[:4] == [(DATA, b"held"), key, (DATA, b"held too"), key]
    assert {kind for kind, _ in told[4:]} == {DATA}
    assert peer.engine.take() == b""


@EACH_SUITE
@pytest.mark.parametrize("way", ["little", "bytes", "bulk", "write"])
def test_we_take_a_new_key_before_one_has_sealed_too_much(name: str, way: str) -> None:
    peer = Peer(name)
    assert peer.engine.outward.most <= 1 << 62
    told, room = [], memoryview(bytearray(20_000))
    for _ in range(10):
        peer.engine.outward.most = 3
        if way == "little":
            told += peer.told(peer.engine.seal_little(room, 10))
        elif way == "write":
            peer.engine.write(b"x")
            told += peer.told(peer.engine.take())
        else:
            told += peer.told(peer.engine.seal(b"x" if way == "bytes" else room))
    kinds = [kind for kind, _ in told]
    assert kinds.count(DATA) == (20 if way == "bulk" else 10)
    # of bulk a call's records go under one key
    longest = max(len(run) for run in bytes(kinds).split(bytes((HANDSHAKE,))))
    assert longest == (4 if way == "bulk" else 3)
    assert kinds.count(HANDSHAKE) == (4 if way == "bulk" else 3)


def test_no_key_for_aes_is_used_for_more_than_is_safe() -> None:
    assert {suite.records_most for name, suite in SUITES.items() if "AES" in name} == {1 << 24}
