"""TLS by the OpenSSL inside the `cryptography` wheel, reached through pyOpenSSL.

It shakes hands, and with a viewer that speaks TLS 1.2 it does all the rest as well; in TLS 1.3
`tls_records` goes on from there (ADR 19).

pyOpenSSL's `Connection` copies each chunk twice, and costs time and memory of its own, so only
its `Context` is used, and OpenSSL is called directly. Those names are private to it: importing
this module fails with ImportError when one is gone; `engines.server` then falls back (ADR 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from broker.proxy.tls import (
    RECORDS_AT_ONCE,
    RECORDS_BYTES,
    TlsEnded,
    TlsEngine,
    TlsFailed,
    unusable,
)
from broker.proxy.tls_keys import SUITES
from broker.proxy.tls_records import PLAIN_MOST, RecordEngine

_CALLS = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_read",
    "BIO_s_mem",
    "BIO_write",
    "ERR_clear_error",
    "ERR_get_error",
    "ERR_reason_error_string",
    "SSL_CIPHER_get_name",
    "SSL_CTX_set_ciphersuites",
    "SSL_CTX_set_keylog_callback",
    "SSL_MODE_ENABLE_PARTIAL_WRITE",
    "SSL_clear_mode",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_get_current_cipher",
    "SSL_get_error",
    "SSL_get_session",
    "SSL_new",
    "SSL_pending",
    "SSL_read",
    "SSL_set_accept_state",
    "SSL_set_bio",
    "SSL_shutdown",
    "SSL_write",
    "i2d_SSL_SESSION",
)
if missing := [name for name in _CALLS if not hasattr(lib, name)]:
    raise ImportError(f"this pyOpenSSL has no {', '.join(missing)}")
if not hasattr(SSL.Context(SSL.TLS_METHOD), "_context"):
    raise ImportError("this pyOpenSSL's Context has no handle")

# The calls of the hot path, looked up once.
NULL, from_buffer = ffi.NULL, ffi.from_buffer
BIO_get_mem_data, BIO_read, BIO_write = lib.BIO_get_mem_data, lib.BIO_read, lib.BIO_write
ERR_clear_error, SSL_pending = lib.ERR_clear_error, lib.SSL_pending
SSL_read, SSL_write = lib.SSL_read, lib.SSL_write

SUITES_13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
SUITES_12 = b"ECDHE+AES128+AESGCM:DEFAULT"
"""AES-128-GCM first: enough for what passes here, and the handshake and each byte cost less."""
PRIORITIZE_CHACHA = 1 << 21
"""An option of OpenSSL that pyOpenSSL does not name: for viewers without AES in their CPU."""

records = ffi.new("char[]", RECORDS_BYTES)
records_view = memoryview(ffi.buffer(records, RECORDS_BYTES))
"""One buffer for all engines: `take` is followed by a send before anything else runs."""

MAX_FRAGMENT_LENGTH = b"\0\1\0\1"
"""How a viewer's hello begins to say that it wants short records (RFC 6066): an extension's number,
and that it has one byte."""
SHORT_RECORDS = b"\xb1\x03\x02\x01"
"""In OpenSSL's form of a session, where it says that the viewer wants no record to be longer than
4 kB at most (RFC 6066); there is no call that does."""
INWARD, OUTWARD = b"CLIENT_TRAFFIC_SECRET_0", b"SERVER_TRAFFIC_SECRET_0"
_secrets: dict[bytes, bytes] = {}
"""What the handshake that goes on just now has agreed upon."""


def _hear_secret(_ssl: Any, line: Any) -> None:
    """OpenSSL's words for a log of keys are its only ones for what a record needs."""
    if line[7] == b"T":  # the others are those of the handshake itself, and of exporters
        name, _, secret = ffi.string(line).split(b" ")
        _secrets[name] = bytes.fromhex(secret.decode())


try:
    _on_secret = ffi.callback("void (*)(const SSL *, const char *)", _hear_secret)
except MemoryError as exc:  # a hardened system, on which no code is made at run time
    raise ImportError("this system allows no callbacks") from exc


class FastServer:
    """Makes server-side connections."""

    def __init__(self, pem_path: Path) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | PRIORITIZE_CHACHA)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 kB of each idle connection
        try:
            context.use_certificate_chain_file(str(pem_path))
            context.use_privatekey_file(str(pem_path))
            context.check_privatekey()
        except SSL.Error as exc:
            raise unusable(pem_path) from exc
        handles: Any = context  # its private name was looked for above
        self._context = handles._context
        context.set_cipher_list(SUITES_12)
        if lib.SSL_CTX_set_ciphersuites(self._context, SUITES_13) != 1:
            ERR_clear_error()  # one of them is not in this OpenSSL: its own choice is good too
        lib.SSL_CTX_set_keylog_callback(self._context, _on_secret)
        self._owner = context

    def engine(self) -> TlsEngine:
        """A fresh server-side connection."""
        return FastEngine(self._context)


class FastEngine:
    """One TLS connection on two memory buffers of OpenSSL."""

    reads_at_once = RECORDS_AT_ONCE

    __slots__ = (
        "_heard",
        "_inward",
        "_outward",
        "from_ssl",
        "grown",
        "has_more",
        "into_ssl",
        "ssl",
    )

    def __init__(self, context: Any) -> None:
        self.ssl = ssl = ffi.gc(lib.SSL_new(context), lib.SSL_free)
        if ssl == NULL:
            raise MemoryError
        self._set_memory()
        self.grown = True  # it will have, after the handshake
        lib.SSL_set_accept_state(ssl)
        self.has_more = False
        self._heard: bytes | None = b""  # the viewer's hello, until hands are shaken
        self._inward: bytes | None = None
        self._outward: bytes | None = None
        # pyOpenSSL lets OpenSSL stop after one record; into memory everything can go at once.
        lib.SSL_clear_mode(ssl, lib.SSL_MODE_ENABLE_PARTIAL_WRITE)

    def _set_memory(self) -> None:
        self.into_ssl, self.from_ssl = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        if NULL in (self.into_ssl, self.from_ssl):
            raise MemoryError
        lib.SSL_set_bio(self.ssl, self.into_ssl, self.from_ssl)  # which frees those before
        self.grown = False

    def settle(self) -> None:
        """Take small buffers again: OpenSSL's grow with what passes, and never shrink."""
        if self.grown and (
            BIO_get_mem_data(self.into_ssl, NULL) == BIO_get_mem_data(self.from_ssl, NULL) == 0
        ):
            self._set_memory()

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        if size := len(ciphertext):
            BIO_write(self.into_ssl, from_buffer(ciphertext), size)
            if self._heard is not None and self._outward is None:
                self._heard += bytes(ciphertext)
            self.has_more = True
            self.grown = self.grown or size > PLAIN_MOST

    def handshake(self) -> bool:
        """Go on; True when it is done."""
        ERR_clear_error()
        may_drop = BIO_get_mem_data(self.from_ssl, NULL) == 0
        done = lib.SSL_do_handshake(self.ssl)
        if _secrets:
            self._outward = _secrets.pop(OUTWARD, self._outward)
            inward = _secrets.pop(INWARD, None)
            if may_drop:
                self._inward = inward
        if done == 1:
            return True
        if lib.SSL_get_error(self.ssl, done) == SSL_WANT_READ:
            return False
        raise TlsFailed(_reason())

    def after_handshake(self) -> TlsEngine:
        """In TLS 1.3 what needs neither OpenSSL's memory nor its copying.

        What OpenSSL says last, two tickets for later sessions under the first data key, is dropped
        then: no viewer waits for them. A viewer that wants short records stays with OpenSSL.
        """
        heard, self._heard = self._heard, None
        name = lib.SSL_CIPHER_get_name(lib.SSL_get_current_cipher(self.ssl))
        suite = SUITES.get(ffi.string(name).decode())
        if suite is None or self._inward is None or self._outward is None:
            return self
        if _may_want_short_records(heard or b"") and SHORT_RECORDS in self._session():
            return self
        count = BIO_read(self.into_ssl, records, RECORDS_BYTES)
        early = bytes(records_view[:count]) if count > 0 else b""
        after = RecordEngine(suite, self._inward, self._outward, early)
        ffi.release(self.ssl)
        del self.ssl, self.into_ssl, self.from_ssl  # or a call too many would read freed memory
        return after

    def _session(self) -> bytes:
        """What the two have agreed upon, in OpenSSL's own form."""
        session = lib.SSL_get_session(self.ssl)
        form = ffi.new("unsigned char[]", max(0, lib.i2d_SSL_SESSION(session, NULL)))
        lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", form))
        return bytes(ffi.buffer(form))

    def read_into(self, view: memoryview) -> int:
        """Decrypt; the count of bytes, or 0 when more ciphertext is needed."""
        ssl = self.ssl
        ERR_clear_error()
        size = len(view)
        count: int = SSL_read(ssl, from_buffer(view), size)
        if count > 0:
            # What is left of a record stays in OpenSSL only where the view was too small for it.
            self.has_more = BIO_get_mem_data(self.into_ssl, NULL) > 0 or (
                count == size and SSL_pending(ssl) > 0
            )
            return count
        error = lib.SSL_get_error(ssl, count)
        self.has_more = error != SSL_WANT_READ  # the end is told again to who asks again
        if error == SSL_WANT_READ:
            return 0
        if error == SSL_ZERO_RETURN:
            raise TlsEnded
        raise TlsFailed("a record cannot be read")

    def write(self, plain: bytes | memoryview) -> None:
        """Encrypt all of it."""
        size = len(plain)
        if size and SSL_write(self.ssl, from_buffer(plain), size) != size:
            raise TlsFailed("a record cannot be written")

    def take(self) -> bytes | memoryview:
        """Ciphertext to send, in a buffer that is reused."""
        count: int = BIO_read(self.from_ssl, records, RECORDS_BYTES)
        if count <= 0:
            return b""
        if count < RECORDS_BYTES:
            return records_view[:count]
        pieces = bytearray(records_view)
        while (count := BIO_read(self.from_ssl, records, RECORDS_BYTES)) > 0:
            pieces += records_view[:count]
        return memoryview(pieces)

    def seal(self, plain: bytes | memoryview, latest: int = 0) -> bytes | memoryview:
        """`write` and `take` in one."""
        self.grown = self.grown or len(plain) > PLAIN_MOST
        if latest:
            self.write(plain[:latest])
            plain = plain[latest:]
        self.write(plain)
        return self.take()

    def close(self) -> None:
        """Say close_notify."""
        lib.ERR_clear_error()
        lib.SSL_shutdown(self.ssl)
        lib.ERR_clear_error()

    def peer_certificate(self) -> bytes | None:
        """Viewers show none."""
        return None


def _may_want_short_records(heard: bytes) -> bool:
    """Whether to ask OpenSSL, which takes 15 µs: not where a hello in one record lacks the wish."""
    if len(heard) != 5 + int.from_bytes(heard[3:5]):
        return True
    return heard.find(MAX_FRAGMENT_LENGTH, 9) > 0  # behind the lengths of record and hello


SSL_WANT_READ = 2
SSL_ZERO_RETURN = 6


def _reason() -> str:
    """What OpenSSL says first of what went wrong."""
    words = lib.ERR_reason_error_string(lib.ERR_get_error())
    ERR_clear_error()
    return ffi.string(words).decode() if words != NULL else "no TLS"
