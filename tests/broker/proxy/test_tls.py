"""Both TLS engines behind their seam, against Python's own client."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.errors import StoreError
from broker.proxy import engines
from broker.proxy.fast_tls import FastServer
from broker.proxy.pump import BULK_BYTES
from broker.proxy.tls import (
    StdlibEngine,
    StdlibServer,
    TlsEnded,
    TlsEngine,
    TlsFailed,
    TlsServer,
    stdlib_context,
)
from broker.proxy.tls_records import SEALED_MAX
from broker.spice.inspector import HELD_MAX, INSERTED_MAX

Make = Callable[[Path], TlsServer]


def stdlib(path: Path) -> TlsServer:
    return StdlibServer(stdlib_context(path))


BOTH = pytest.mark.parametrize("make", [stdlib, FastServer], ids=["stdlib", "openssl"])

EITHER = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture
def identity(tmp_path: Path) -> pki.Identity:
    return pki.ensure_identity(tmp_path / "pki", ["localhost"], SystemClock())


class Pair:
    """A client and the engine under test, shaken."""

    def __init__(
        self,
        server: TlsEngine,
        identity: pki.Identity,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        context = ssl.create_default_context(cafile=identity.ca_path)
        context.maximum_version = version
        self.client = StdlibEngine(context, server_side=False, server_hostname="localhost")
        self.server = server
        done = [False, False]
        while not all(done):
            done[0] = done[0] or self.client.handshake()
            self.to_server()
            if not done[1] and self.server.handshake():
                done[1] = True
                self.server = self.server.after_handshake()
            self.to_client()

    def to_server(self) -> None:
        self.server.receive(bytes(self.client.take()))

    def to_client(self) -> None:
        self.client.receive(bytes(self.server.take()))


def read_all(engine: TlsEngine) -> bytes:
    data, view = b"", memoryview(bytearray(10_000))
    while count := engine.read_into(view):
        data += view[:count]
    return data


@BOTH
def test_bytes_of_any_size_go_both_ways(make: Make, identity: pki.Identity) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    for size in (1, 16_384, 16_385, 132_000, 1_000_000):
        data = bytes(range(256)) * (size // 256 + 1)
        pair.server.write(memoryview(data)[:size])
        pair.to_client()
        assert read_all(pair.client) == data[:size]
        pair.client.write(data[:size])
        pair.to_server()
        assert pair.server.has_more
        assert read_all(pair.server) == data[:size]


@BOTH
@pytest.mark.parametrize("latest", [0, 1, 40_000, 65_536, 131_072])
@pytest.mark.parametrize("size", [132_000, SEALED_MAX, SEALED_MAX + 1, 1_000_000])
def test_what_is_sealed_arrives_whole_and_the_latest_begins_a_record(
    make: Make, identity: pki.Identity, size: int, latest: int
) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    data = memoryview(bytes(range(256)) * (size // 256 + 1))[:size]
    for _ in range(2):
        pair.client.receive(bytes(pair.server.seal(data, latest)))
        assert ends_of_reads(pair.client, size) >= {latest, size} - {0}
        assert len(pair.server.take()) == 0


@BOTH
def test_one_byte_and_none_can_be_sealed(make: Make, identity: pki.Identity) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    assert len(pair.server.seal(b"")) == 0
    pair.client.receive(bytes(pair.server.seal(b"x")))
    assert read_all(pair.client) == b"x"


def ends_of_reads(engine: TlsEngine, size: int) -> set[int]:
    """Read that many bytes of the pattern; where reads ended. Each gives one record at most."""
    data, ends, view = b"", set(), memoryview(bytearray(20_000))
    while len(data) < size:
        count = engine.read_into(view)
        assert count
        data += view[:count]
        ends.add(len(data))
    assert data == (bytes(range(256)) * (size // 256 + 1))[:size]
    return ends


def test_all_that_a_relay_writes_at_once_fits_into_the_buffer_for_records() -> None:
    assert BULK_BYTES + HELD_MAX + 2 * INSERTED_MAX <= SEALED_MAX


@BOTH
def test_there_is_more_only_while_there_is(make: Make, identity: pki.Identity) -> None:
    """Asked of what is in memory: a relay that reads on in vain pays for it at each message."""
    pair = Pair(make(identity.server_path).engine(), identity)
    pair.client.write(b"one")
    pair.client.write(b"two")
    pair.to_server()
    view = memoryview(bytearray(2))
    seen = []
    while pair.server.has_more:
        seen.append(bytes(view[: pair.server.read_into(view)]))
    assert b"".join(seen) == b"onetwo"
    assert all(seen)


@BOTH
def test_an_engine_that_has_settled_goes_on(make: Make, identity: pki.Identity) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    pair.client.write(b"before")
    pair.to_server()
    pair.server.settle()
    assert read_all(pair.server) == b"before"
    for _ in range(2):
        pair.server.settle()
        pair.client.write(b"hello")
        pair.to_server()
        assert read_all(pair.server) == b"hello"
        pair.client.receive(bytes(pair.server.seal(b"world")))
        assert read_all(pair.client) == b"world"


@BOTH
def test_nothing_to_read_is_nothing_and_not_the_end(make: Make, identity: pki.Identity) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    assert pair.server.read_into(memoryview(bytearray(10))) == 0
    assert not pair.server.has_more
    assert len(pair.server.take()) == 0


@BOTH
def test_a_record_in_two_halves_is_read_when_it_is_whole(
    make: Make, identity: pki.Identity
) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    pair.client.write(b"hello")
    record = bytes(pair.client.take())
    pair.server.receive(record[:9])
    assert read_all(pair.server) == b""
    pair.server.receive(record[9:])
    assert read_all(pair.server) == b"hello"


@BOTH
@EITHER
def test_goodbye_is_the_end(make: Make, identity: pki.Identity, version: ssl.TLSVersion) -> None:
    pair = Pair(make(identity.server_path).engine(), identity, version)
    pair.client.write(b"last words")
    pair.client.close()
    pair.to_server()
    view = memoryview(bytearray(100))
    assert pair.server.read_into(view) == 10
    for _ in range(2):  # it is told to whoever asks, for a leg may ask too early
        assert pair.server.has_more
        with pytest.raises(TlsEnded):
            pair.server.read_into(view)


@BOTH
def test_we_say_goodbye_too(make: Make, identity: pki.Identity) -> None:
    pair = Pair(make(identity.server_path).engine(), identity)
    pair.server.close()
    pair.to_client()
    with pytest.raises(TlsEnded):
        pair.client.read_into(memoryview(bytearray(10)))


@BOTH
@EITHER
def test_a_broken_record_is_a_failure(
    make: Make, identity: pki.Identity, version: ssl.TLSVersion
) -> None:
    pair = Pair(make(identity.server_path).engine(), identity, version)
    pair.server.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
    for _ in range(2):
        assert pair.server.has_more
        with pytest.raises(TlsFailed):
            pair.server.read_into(memoryview(bytearray(10)))
    pair.server.close()
    pair.to_client()
    with pytest.raises(TlsFailed):  # it is told so, by an alert
        pair.client.read_into(memoryview(bytearray(10)))


@BOTH
@EITHER
def test_no_key_is_written_to_a_log_of_keys(
    make: Make,
    identity: pki.Identity,
    version: ssl.TLSVersion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as asked:
        asked.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        engine = make(identity.server_path).engine()
    pair = Pair(engine, identity, version)
    pair.client.write(b"hello")
    pair.to_server()
    assert read_all(pair.server) == b"hello"
    assert not (tmp_path / "keys").exists()


@BOTH
def test_no_tls_is_a_failure_of_the_handshake(make: Make, identity: pki.Identity) -> None:
    engine = make(identity.server_path).engine()
    assert not engine.handshake()
    engine.receive(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(TlsFailed):
        engine.handshake()


@BOTH
def test_an_engine_that_failed_does_not_write(make: Make, identity: pki.Identity) -> None:
    engine = make(identity.server_path).engine()
    engine.receive(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(TlsFailed):
        engine.handshake()
    with pytest.raises(TlsFailed):
        engine.write(b"data")
    with pytest.raises(TlsFailed):
        engine.seal(b"data")


@BOTH
@pytest.mark.parametrize("content", [None, b"not a certificate"], ids=["missing", "damaged"])
def test_a_certificate_that_cannot_be_used_is_told(
    make: Make, content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "server.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"server\.pem") as caught:
        make(path)
    assert f"rm {path}" in caught.value.fix


def test_the_client_sees_the_certificate(identity: pki.Identity) -> None:
    pair = Pair(engines.server(identity.server_path).engine(), identity)
    certificate = pair.client.peer_certificate()
    assert certificate is not None
    assert pki.subject_matches(certificate, identity.host_subject)
    assert pair.server.peer_certificate() is None


def test_without_pyopenssl_pythons_own_tls_is_used(
    identity: pki.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "broker.proxy.fast_tls", None)
    server = engines.server(identity.server_path)
    assert isinstance(server, StdlibServer)
    Pair(server.engine(), identity)


def test_where_no_callback_can_be_made_pythons_own_tls_is_used(
    identity: pki.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from OpenSSL import _util

    class Hardened:
        def __getattr__(self, name: str) -> object:
            return getattr(ffi, name)

        def callback(self, *_: object) -> None:
            raise MemoryError("Cannot allocate write+execute memory for ffi.callback()")

    ffi = _util.ffi
    monkeypatch.setattr(_util, "ffi", Hardened())
    monkeypatch.delitem(sys.modules, "broker.proxy.fast_tls")
    assert isinstance(engines.server(identity.server_path), StdlibServer)
