"""Records of TLS 1.3 as RFC 8446 has them, against a peer that is made by hand."""

from __future__ import annotations

import weakref

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.proxy.tls import TlsEnded, TlsFailed
from broker.proxy.tls_keys import SUITES, Direction
from broker.proxy.tls_records import (
    IDLE_RECORDS_MOST,
    PLAIN_MOST,
    SEALED_MAX,
    RecordEngine,
)
from tests.broker.proxy.tls_hand import ALERT, DATA, FORGOTTEN, HANDSHAKE, Peer

UNEXPECTED, FORGED, OVERFLOW = 10, 20, 22
EACH_SUITE = pytest.mark.parametrize("name", SUITES)

# RFC 8448, section 3: a published conversation under AES-128-GCM with SHA-256.
SERVER = bytes.fromhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
CLIENT = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
SAID = bytes(range(50))
CLIENT_DATA = bytes.fromhex(
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e"
    "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"
)
SERVER_DATA = bytes.fromhex(
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59"
    "a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"
)
CLIENT_GOODBYE = bytes.fromhex("1703030013c9872760655666b74d7ff1153efd6db6d0b0e3")
SERVER_GOODBYE = bytes.fromhex("1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9")


# --- keys and records ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "key", "iv"),
    [
        (SERVER, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"),
        (CLIENT, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"),
    ],
    ids=["server", "client"],
)
def test_keys_come_from_secrets_as_published(secret: bytes, key: str, iv: str) -> None:
    suite = SUITES["TLS_AES_128_GCM_SHA256"]
    sealed = Direction(suite, secret).cipher.encrypt(bytes(12), b"", b"")
    assert sealed == AESGCM(bytes.fromhex(key)).encrypt(bytes(12), b"", b"")
    assert Direction(suite, secret).iv.to_bytes(12).hex() == iv


def test_a_published_conversation_is_opened_and_said() -> None:
    engine = RecordEngine(SUITES["TLS_AES_128_GCM_SHA256"], CLIENT, SERVER, CLIENT_DATA)
    view = memoryview(bytearray(100))
    assert view[: engine.read_into(view)] == SAID
    engine.outward.number = 1  # its server's first is a ticket
    assert engine.seal(SAID) == SERVER_DATA
    engine.receive(CLIENT_GOODBYE)
    with pytest.raises(TlsEnded):
        engine.read_into(view)
    engine.close()
    assert engine.take() == SERVER_GOODBYE


@EACH_SUITE
@pytest.mark.parametrize("kind", [bytes, bytearray], ids=["bytes", "what may be written to"])
@pytest.mark.parametrize("size", [1, 100, PLAIN_MOST, PLAIN_MOST + 1, 5 * PLAIN_MOST, 1_200_000])
def test_what_is_sealed_says_what_it_was_and_nothing_of_the_callers_changes(
    name: str, kind: type[bytes] | type[bytearray], size: int
) -> None:
    peer = Peer(name)
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    given = kind(data)
    for latest in (0, size // 2):
        told = peer.told(peer.engine.seal(memoryview(given), latest))
        assert b"".join(said for _, said in told) == data
        assert {kind for kind, _ in told} == {DATA}
        assert max(len(said) for _, said in told) <= PLAIN_MOST
        assert given == data
    room = memoryview(bytearray(data + b"  "))
    if size <= PLAIN_MOST:
        assert peer.told(peer.engine.seal_little(room, size)) == [(DATA, data)]
        assert peer.told(peer.engine.seal(data)) == [(DATA, data)]


def test_the_shared_buffer_takes_the_most_it_is_used_for() -> None:
    peer = Peer()
    told = peer.told(peer.engine.seal(memoryview(bytearray(SEALED_MAX)), latest=1))
    assert sum(len(said) for _, said in told) == SEALED_MAX


def test_a_number_is_used_once_and_a_borrowed_byte_given_back_also_when_a_cipher_fails() -> None:
    class Broken:
        def encrypt_into(self, *_: object) -> int:
            raise MemoryError

    peer = Peer()
    data = bytearray(range(256)) * 200
    whole, cipher = bytes(data), peer.engine.outward.cipher
    for given in (data, data[:100]):
        number = peer.engine.outward.number
        peer.engine.outward.cipher = Broken()  # type: ignore[assignment]
        with pytest.raises(MemoryError):
            peer.engine.seal(memoryview(given))
        assert peer.engine.outward.number == number + 1
        peer.engine.outward.cipher = cipher
    assert data == whole


@EACH_SUITE
@pytest.mark.parametrize("padding", [0, 1, 300, PLAIN_MOST - 4])
def test_padding_is_taken_away(name: str, padding: int) -> None:
    peer = Peer(name)
    said = peer.record(b"\0\0a\0", padding=padding) + peer.record(b"b")
    assert peer.heard(said) == b"\0\0a\0b"
    assert peer.heard(peer.record(b"", padding=padding) + peer.record(b"c")) == b"c"
    assert not peer.engine.has_more


def test_a_conversation_may_be_cut_anywhere() -> None:
    def said(peer: Peer) -> bytes:
        return b"".join((
            peer.record(b"one"), peer.record(b"two", padding=3), peer.record(b""), peer.update(),
            peer.record(b"three"), peer.record(bytes((1, 90)), ALERT), peer.record(b"four"),
            peer.record(bytes((1, 0)), ALERT),
        ))  # fmt: skip

    for cut in range(len(said(Peer())) + 1):
        peer = Peer()
        whole = said(peer)
        heard = peer.heard(whole[:cut])
        assert heard == b"onetwothreefour"[: len(heard)]
        assert heard + peer.heard(whole[cut:]) == b"onetwothreefour"
        assert isinstance(peer.end, TlsEnded)


def test_byte_by_byte_too() -> None:
    peer = Peer()
    said = peer.record(b"one") + peer.update() + peer.record(b"two") + peer.record(b"\1\0", ALERT)
    heard = b"".join(peer.heard(said[at : at + 1]) for at in range(len(said)))
    assert heard == b"onetwo"
    assert isinstance(peer.end, TlsEnded)


@pytest.mark.parametrize("room", [1, 2, 7, 40_000])
def test_what_a_view_does_not_take_is_asked_for_again(room: int) -> None:
    peer = Peer()
    said = peer.record(b"0123456789") + peer.record(b"abc") + peer.record(b"\1\0", ALERT)
    assert peer.heard(said + b"\x17\x03", room) == b"0123456789abc"
    assert isinstance(peer.end, TlsEnded)


def test_what_came_with_the_end_of_the_handshake_is_there_at_once() -> None:
    said = Peer().record(b"early")
    assert Peer(early=said).read() == b"early"
    part = Peer(early=said[:9])
    assert part.read() == b""
    assert part.heard(said[9:]) == b"early"


# --- what is not as it should be -----------------------------------------------------------------


@EACH_SUITE
@pytest.mark.parametrize("at", [1, 2, 4, 5, 20, -17, -16, -1])
def test_of_a_forged_record_nothing_is_left(name: str, at: int) -> None:
    peer = Peer(name)
    good, forged = peer.record(b"good"), bytearray(peer.record(b"secret" * 20))
    forged[at] ^= 1
    said = good + bytes(forged) + peer.record(b"behind")
    out = memoryview(bytearray(FORGOTTEN * len(said)))
    assert peer.engine.open(memoryview(said), out) == 4
    assert peer.engine.has_more
    assert bytes(out[:4]) == b"good"
    assert b"secret" not in bytes(out)
    for _ in range(2):
        with pytest.raises(TlsFailed):
            peer.engine.read_into(out)
        assert peer.engine.has_more  # it says so to whoever asks
    assert peer.alert() == FORGED


@pytest.mark.parametrize("order", [(1,), (0, 0), (0, 2), (1, 0)])
def test_a_record_that_is_left_out_or_twice_there_is_not_taken(order: tuple[int, ...]) -> None:
    peer = Peer()
    records = [peer.record(b"0"), peer.record(b"1"), peer.record(b"2")]
    heard = peer.heard(b"".join(records[number] for number in order))
    assert heard == (b"0" if order[0] == 0 else b"")
    assert isinstance(peer.end, TlsFailed)
    assert peer.alert() == FORGED


@pytest.mark.parametrize(
    ("junk", "alert"),
    [
        (b"\x14\x03\x03\0\1\1", UNEXPECTED),  # to change ciphers is over with the handshake
        (b"\x15\x03\x03\0\2\2\x28", UNEXPECTED),  # an alert that is not encrypted
        (b"\x16\x03\x03\0\5\x18\0\0\1\0", UNEXPECTED),
        (b"\x17\x03\x03\0\0", UNEXPECTED),
        (b"\x17\x03\x03\0\x10" + bytes(16), UNEXPECTED),
        (b"\x17\x03\x03\x40\x12", OVERFLOW),
        (b"\x17\x03\x03\xff\xff", OVERFLOW),
        (b"GET / HTTP/1.1\r\n", UNEXPECTED),
        (b"\x17\x03\x03\0\x11" + bytes(17), FORGED),
    ],
)
def test_what_is_no_record_ends_it_with_the_alert_for_that(junk: bytes, alert: int) -> None:
    peer = Peer()
    assert peer.heard(peer.record(b"before") + junk) == b"before"
    assert isinstance(peer.end, TlsFailed)
    with pytest.raises(TlsFailed):
        peer.engine.seal(b"more")
    with pytest.raises(TlsFailed):
        peer.engine.seal_little(memoryview(bytearray(10)), 4)
    with pytest.raises(TlsFailed):
        peer.engine.write(b"more")
    assert peer.alert() == alert
    assert peer.engine.take() == b""


@pytest.mark.parametrize(
    "inner",
    [
        b"\0",  # no kind at all
        bytes(500),
        b"x\x14",
        b"x\x18",
        b"\x01\x15",  # half an alert
        b"\x01\x00\x01\x15",
        b"\x01\x00\x01\x00\x15",  # two of them
        b"\x15",
        b"\x16",  # no part of a message
        b"\x04\0\0\1\0\x16",  # a ticket, from a client
        b"\x18\0\0\2\0\0\x16",
        b"\x18\0\0\1\0\0\x16",  # something behind a new key in its record
        b"\x18\0\0\1\0\x18\0\0\1\0\x16",
    ],
)
def test_what_may_not_be_said_after_the_handshake_ends_it(inner: bytes) -> None:
    peer = Peer()
    assert peer.heard(peer.sealed(inner)) == b""
    assert isinstance(peer.end, TlsFailed)
    assert peer.alert() == UNEXPECTED


@pytest.mark.parametrize("early", [0, 3])
@pytest.mark.parametrize("between", [b"x\x17", b"x\x17\0", b"\x17", b"\x01\x00\x15"])
def test_nothing_may_stand_within_a_message_for_tls_itself(between: bytes, early: int) -> None:
    peer = Peer()
    said = peer.record(b"before") if early else b""
    said += peer.record(b"\x18\0", HANDSHAKE) + peer.sealed(between)
    assert peer.heard(said) == (b"before" if early else b"")
    assert isinstance(peer.end, TlsFailed)
    assert peer.alert() == UNEXPECTED


@pytest.mark.parametrize("silent", [b"\x17", b"\x17" + bytes(9), b"\x01\x5a\x15"])
def test_of_records_without_a_byte_for_us_only_so_many_are_taken_at_once(silent: bytes) -> None:
    for count, ends in ((IDLE_RECORDS_MOST, False), (IDLE_RECORDS_MOST + 1, True)):
        peer = Peer()
        said = peer.record(b"a") + b"".join(peer.sealed(silent) for _ in range(count))
        assert peer.heard(said + peer.record(b"b")) == (b"a" if ends else b"ab")
        assert (peer.end is not None) is ends
        if ends:
            assert peer.alert() == UNEXPECTED


def test_new_keys_do_not_cost_more_for_having_a_byte_behind_each() -> None:
    peer = Peer()
    said = b"".join(peer.update(asks=True) + peer.record(b"x") for _ in range(1000))
    assert peer.heard(said) == b"x" * IDLE_RECORDS_MOST
    assert isinstance(peer.end, TlsFailed)


def test_one_by_one_they_may_be_as_many_as_they_are() -> None:
    peer = Peer()
    for _ in range(5 * IDLE_RECORDS_MOST):
        assert peer.heard(peer.update() + peer.record(b"")) == b""
    assert peer.heard(peer.record(b"still here")) == b"still here"


@pytest.mark.parametrize("level", [0, 1, 2, 255])
@pytest.mark.parametrize("number", [1, 10, 20, 40, 48, 80, 100, 112, 255])
def test_an_alert_is_the_end_whatever_it_says(level: int, number: int) -> None:
    peer = Peer()
    assert peer.heard(peer.record(b"before") + peer.record(bytes((level, number)), ALERT))
    assert str(peer.end) == f"the peer's TLS says {number}"
    peer.engine.close()
    assert peer.engine.take() == b""  # it listens no more
    with pytest.raises(TlsFailed):
        peer.engine.seal(b"more")


def test_after_its_goodbye_a_peer_is_still_spoken_to_and_heard_no_more() -> None:
    peer = Peer()
    assert peer.heard(peer.record(b"\1\0", ALERT) + peer.record(b"more")) == b""
    assert isinstance(peer.end, TlsEnded)
    assert peer.told(peer.engine.seal(b"last")) == [(DATA, b"last")]
    peer.engine.close()
    peer.engine.close()
    assert peer.told(peer.engine.take()) == [(ALERT, b"\1\0")]
    with pytest.raises(TlsFailed):
        peer.engine.seal(b"too late")


def test_an_end_keeps_nothing_alive() -> None:
    class Kept(bytearray):
        """What can be asked whether it lives."""

    peer, buffer = Peer(), Kept(100)
    lives = weakref.ref(buffer)
    peer.engine.receive(b"no record")
    with pytest.raises(TlsFailed):
        peer.engine.read_into(memoryview(buffer))
    del buffer
    assert lives() is None


def test_nothing_follows_our_goodbye() -> None:
    peer = Peer()
    peer.engine.close()
    assert peer.heard(peer.update(asks=True) + peer.record(b"x")) == b"x"
    assert peer.told(peer.engine.take()) == [(ALERT, b"\1\0")]


@EACH_SUITE
def test_no_secret_is_in_what_is_logged_of_it(name: str) -> None:
    engine = Peer(name).engine
    for each in (engine, engine.inward, engine.outward, engine.inward.cipher):
        assert "cccc" not in repr(each)
        assert engine.inward.secret.hex() not in repr(each)
