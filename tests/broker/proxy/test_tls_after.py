"""From the handshake, which is OpenSSL's, to the records, which are ours: with Python's client."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL._util import ffi, lib

from broker import pki
from broker.clock import SystemClock
from broker.proxy import fast_tls
from broker.proxy.fast_tls import FastEngine, FastServer
from broker.proxy.tls import StdlibEngine, TlsEngine, TlsFailed
from broker.proxy.tls_keys import SUITES
from broker.proxy.tls_records import RecordEngine


@pytest.fixture
def identity(tmp_path: Path) -> pki.Identity:
    return pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())


@pytest.fixture
def server(identity: pki.Identity) -> FastServer:
    return FastServer(identity.server_path)


class Client:
    """Python's own, and a server's engine that it has not shaken hands with."""

    def __init__(self, server: FastServer, identity: pki.Identity) -> None:
        trusting = ssl.create_default_context(cafile=identity.ca_path)
        self.client = StdlibEngine(trusting, server_side=False, server_hostname="localhost")
        self.engine: TlsEngine = server.engine()

    def goes_on(self) -> bytes:
        """What it says next, having heard what there was; the first and the last word of three."""
        self.client.handshake()
        return bytes(self.client.take())

    def begin(self) -> None:
        """All but the client's last word."""
        self.engine.receive(self.goes_on())
        assert not self.engine.handshake()
        self.client.receive(bytes(self.engine.take()))

    def end(self, said: bytes) -> TlsEngine:
        """Have the server hear that; what goes on from there."""
        self.engine.receive(said)
        assert self.engine.handshake()
        after = self.engine.after_handshake()
        assert after.take() == b""  # no ticket, nor anything else
        return after


def read(engine: TlsEngine) -> bytes:
    data, view = b"", memoryview(bytearray(40_000))
    while engine.has_more and (count := engine.read_into(view)):
        data += view[:count]
    return data


def talk(client: TlsEngine, server: TlsEngine) -> None:
    """Both ways, and more than one record."""
    for size in (1, 16_384, 16_385, 70_000):
        data = bytes(range(256)) * (size // 256 + 1)
        client.write(data)
        server.receive(bytes(client.take()))
        assert read(server) == data
        client.receive(bytes(server.seal(data)))
        assert read(client) == data


@pytest.mark.parametrize("name", SUITES)
def test_each_suite_goes_on_with_our_records(
    server: FastServer, identity: pki.Identity, name: str
) -> None:
    assert lib.SSL_CTX_set_ciphersuites(server._context, name.encode()) == 1
    both = Client(server, identity)
    both.begin()
    after = both.end(both.goes_on())
    assert isinstance(after, RecordEngine)
    assert after.inward.suite is after.outward.suite is SUITES[name]
    talk(both.client, after)
    assert both.client._object.cipher() == (name, "TLSv1.3", 8 * SUITES[name].key_bytes)
    session = both.client._object.session
    assert session is not None
    assert not session.has_ticket


def test_a_client_may_speak_in_the_segment_that_ends_the_handshake(
    server: FastServer, identity: pki.Identity
) -> None:
    shaken = Client(server, identity)
    shaken.begin()
    length = len(shaken.goes_on())
    for cut in [0, 1, 4, 5, 6, 20, 26, 27, 28, 60]:
        both = Client(server, identity)
        both.begin()
        finished = both.goes_on()
        assert len(finished) == length
        both.client.write(b"early")
        both.client.write(b"words")
        said = bytes(both.client.take())
        after = both.end(finished + said[:cut])
        heard = read(after)
        after.receive(said[cut:])
        assert heard + read(after) == b"earlywords"
        talk(both.client, after)


def test_handshakes_that_take_turns_do_not_mix_their_secrets(
    server: FastServer, identity: pki.Identity
) -> None:
    one, two = Client(server, identity), Client(server, identity)
    one.begin()
    two.begin()
    second = two.end(two.goes_on())
    first = one.end(one.goes_on())
    talk(one.client, first)
    talk(two.client, second)
    assert not fast_tls._secrets


def test_a_handshake_that_fails_leaves_no_secret(
    server: FastServer, identity: pki.Identity
) -> None:
    both = Client(server, identity)
    both.begin()
    finished = bytearray(both.goes_on())
    finished[-1] ^= 1
    both.engine.receive(bytes(finished))
    with pytest.raises(TlsFailed):
        both.engine.handshake()
    assert not fast_tls._secrets


def test_a_client_that_does_not_trust_us_says_so_in_the_handshake(
    server: FastServer, identity: pki.Identity
) -> None:
    both = Client(server, identity)
    both.client = StdlibEngine(
        ssl.create_default_context(), server_side=False, server_hostname="localhost"
    )
    both.begin()
    with pytest.raises(TlsFailed):
        both.client.handshake()
    both.engine.receive(bytes(both.client.take()))
    with pytest.raises(TlsFailed):
        both.engine.handshake()


def test_nothing_of_openssl_lives_on(server: FastServer, identity: pki.Identity) -> None:
    both = Client(server, identity)
    both.begin()
    shaking = both.engine
    assert isinstance(shaking, FastEngine)
    after = both.end(both.goes_on())
    assert not [each for each in reachable(after) if isinstance(each, ffi.CData)]
    for use in (shaking.settle, shaking.close, shaking.take, shaking.handshake):
        with pytest.raises(AttributeError):  # and memory that is freed is not touched
            use()


def reachable(whole: object) -> Iterator[object]:
    """What it refers to, and what that does, but for modules and classes."""
    seen, rest = {id(whole)}, [whole]
    while rest:
        each = rest.pop()
        yield each
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, type):
                seen.add(id(other))
                rest.append(other)


def test_in_tls_1_2_openssl_goes_on(server: FastServer, identity: pki.Identity) -> None:
    both = Client(server, identity)
    trusting = ssl.create_default_context(cafile=identity.ca_path)
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    both.client = StdlibEngine(trusting, server_side=False, server_hostname="localhost")
    both.begin()
    both.engine.receive(both.goes_on())
    assert both.engine.handshake()
    assert both.engine.after_handshake() is both.engine
    both.client.receive(bytes(both.engine.take()))
    assert both.client.handshake()
    talk(both.client, both.engine)


def test_openssl_is_not_asked_about_short_records_where_the_hello_does_not_want_them(
    server: FastServer, identity: pki.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[FastEngine] = []

    def session(engine: FastEngine) -> bytes:
        asked.append(engine)
        return b""

    monkeypatch.setattr(FastEngine, "_session", session)
    both = Client(server, identity)
    both.begin()
    assert isinstance(both.end(both.goes_on()), RecordEngine)
    assert asked == []


def test_a_hello_that_wants_short_records_is_known_by_its_extension() -> None:
    head = b"\x16\3\1\2\0\1\0\1\xfc"  # of 512 bytes: its lengths look like the extension
    plain = head + bytes(512 + 5 - len(head))
    wants = plain[:20] + b"\0\1\0\1\4" + plain[25:]
    assert not fast_tls._may_want_short_records(plain)
    assert fast_tls._may_want_short_records(wants)
    assert fast_tls._may_want_short_records(plain + plain)  # another hello, after a retry
