"""TLS by the OpenSSL inside the `cryptography` wheel, reached through pyOpenSSL.

pyOpenSSL's `Connection` copies each chunk twice, and costs time and memory of its own, so only
its `Context` is used, and OpenSSL is called directly. Those names are private to it: importing
this module fails with ImportError when one is gone; `engines.server` then falls back (ADR 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import WeakSet

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from broker.proxy.tls import RECORDS_BYTES, TlsEnded, TlsEngine, TlsFailed, unusable

_CALLS = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_read",
    "BIO_s_mem",
    "BIO_write",
    "ERR_clear_error",
    "ERR_get_error",
    "ERR_reason_error_string",
    "SSL_CTX_set_ciphersuites",
    "SSL_MODE_ENABLE_PARTIAL_WRITE",
    "SSL_clear_mode",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_get_error",
    "SSL_new",
    "SSL_pending",
    "SSL_read",
    "SSL_set_accept_state",
    "SSL_set_bio",
    "SSL_shutdown",
    "SSL_version",
    "SSL_write",
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
TLS1_3 = 0x0304
"""The version as it is on the wire."""
PIECE_BYTES = 64 * 1024
"""Encrypted at once. OpenSSL has a buffer for the records of that, until `settle`."""
SMALL_BYTES = 16 * 1024
"""Fits into one record."""
SEALED_MAX = RECORDS_BYTES - 16 * 1024
"""So many bytes surely fit as records, beside what TLS itself has to say."""

records = ffi.new("char[]", RECORDS_BYTES)
records_view = memoryview(ffi.buffer(records, RECORDS_BYTES))
"""One buffer for all engines: `take` is followed by a send before anything else runs."""
LENDERS_MOST = 4
"""Connections at once whose bulk goes out from where OpenSSL put it: a third of the copying less,
but 1.4 MB for each, where all others share the buffer above."""
_lent = ffi.new("char **")
lenders: WeakSet[FastEngine] = WeakSet()


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
        self._owner = context

    def engine(self) -> TlsEngine:
        """A fresh server-side connection."""
        return FastEngine(self._context)


class FastEngine:
    """One TLS connection on two memory buffers of OpenSSL."""

    __slots__ = ("__weakref__", "from_ssl", "grown", "has_more", "into_ssl", "ssl")

    def __init__(self, context: Any) -> None:
        self.ssl = ssl = ffi.gc(lib.SSL_new(context), lib.SSL_free)
        if ssl == NULL:
            raise MemoryError
        self._set_memory()
        self.grown = True  # it will have, after the handshake
        lib.SSL_set_accept_state(ssl)
        self.has_more = False
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
        lenders.discard(self)
        if self.grown and (
            BIO_get_mem_data(self.into_ssl, NULL) == BIO_get_mem_data(self.from_ssl, NULL) == 0
        ):
            self._set_memory()

    @property
    def owes_nothing(self) -> bool:
        """In TLS 1.3 there are but tickets for another session, which no viewer waits for."""
        return bool(lib.SSL_version(self.ssl) >= TLS1_3)

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        if size := len(ciphertext):
            BIO_write(self.into_ssl, from_buffer(ciphertext), size)
            self.has_more = True
            self.grown = self.grown or size > SMALL_BYTES

    def handshake(self) -> bool:
        """Go on; True when it is done."""
        ERR_clear_error()
        done = lib.SSL_do_handshake(self.ssl)
        if done == 1:
            return True
        if lib.SSL_get_error(self.ssl, done) == SSL_WANT_READ:
            return False
        raise TlsFailed(_reason())

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
        self.has_more = False
        error = lib.SSL_get_error(ssl, count)
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
        """`write` and `take` in one, piece by piece."""
        size = len(plain)
        if 0 < size <= SMALL_BYTES and not latest:
            if SSL_write(self.ssl, from_buffer(plain), size) != size:
                raise TlsFailed("a record cannot be written")
            return records_view[: BIO_read(self.from_ssl, records, RECORDS_BYTES)]
        if size > SEALED_MAX:
            self.grown = True
            self.write(plain[:latest])
            self.write(plain[latest:])
            return self.take()
        self.grown = True
        ssl, from_ssl, data = self.ssl, self.from_ssl, from_buffer(plain)
        at = filled = 0
        end = latest or size
        while at < size:
            if (piece := end - at) > PIECE_BYTES:
                piece = PIECE_BYTES
            if SSL_write(ssl, data + at, piece) != piece:
                raise TlsFailed("a record cannot be written")
            filled += BIO_read(from_ssl, records + filled, RECORDS_BYTES - filled)
            at += piece
            if at == latest:
                end = size
        return records_view[:filled]

    @property
    def may_lend(self) -> bool:
        """Whether this is one of the few that may, until they `settle`: it takes memory."""
        if self not in lenders:
            if len(lenders) >= LENDERS_MOST:
                return False
            lenders.add(self)
        return True

    def lend(self, plain: bytes | memoryview, latest: int) -> memoryview:
        """`seal` for bulk: ciphertext where OpenSSL put it. Send it, and `take_back` at once."""
        self.grown = True
        self.write(plain[:latest])
        self.write(plain[latest:])
        size = BIO_get_mem_data(self.from_ssl, _lent)
        return memoryview(ffi.buffer(_lent[0], size))

    def take_back(self, lent: memoryview) -> None:
        """Have OpenSSL forget what it lent; call nothing else before.

        There is no call for that but to read it. It is read to where it is: `memcpy` then has
        nothing to do, and compilers, which copy structures with it, count on that to be harmless.
        """
        if BIO_read(self.from_ssl, from_buffer(lent), len(lent)) != len(lent):
            raise TlsFailed("records were not taken back")

    def close(self) -> None:
        """Say close_notify."""
        lib.ERR_clear_error()
        lib.SSL_shutdown(self.ssl)
        lib.ERR_clear_error()

    def peer_certificate(self) -> bytes | None:
        """Viewers show none."""
        return None


SSL_WANT_READ = 2
SSL_ZERO_RETURN = 6


def _reason() -> str:
    """What OpenSSL says first of what went wrong."""
    words = lib.ERR_reason_error_string(lib.ERR_get_error())
    ERR_clear_error()
    return ffi.string(words).decode() if words != NULL else "no TLS"
