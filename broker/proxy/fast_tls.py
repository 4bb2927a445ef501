"""TLS by the OpenSSL inside the `cryptography` wheel, reached through pyOpenSSL.

pyOpenSSL's own `recv_into` and `bio_read` copy each chunk twice, so the calls are made on its
handles. Those names are private to it: importing this module fails with ImportError when one of
them is gone, and `tls.server` then falls back (ADR 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from broker.errors import StoreError
from broker.proxy.tls import RECORDS_BYTES, TlsEnded, TlsEngine, TlsFailed

_CALLS = (
    "BIO_get_mem_data",
    "BIO_read",
    "BIO_write",
    "ERR_clear_error",
    "SSL_MODE_ENABLE_PARTIAL_WRITE",
    "SSL_clear_mode",
    "SSL_get_error",
    "SSL_pending",
    "SSL_read",
    "SSL_write",
    "SSL_shutdown",
)
_OWN = ("_ssl", "_into_ssl", "_from_ssl")
if missing := [name for name in _CALLS if not hasattr(lib, name)]:
    raise ImportError(f"this pyOpenSSL has no {', '.join(missing)}")
_PROBE = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
if absent := [name for name in _OWN if not hasattr(_PROBE, name)]:
    raise ImportError(f"this pyOpenSSL's Connection has no {', '.join(absent)}")

# The calls of the hot path, looked up once.
NULL, from_buffer = ffi.NULL, ffi.from_buffer
BIO_get_mem_data, BIO_read, BIO_write = lib.BIO_get_mem_data, lib.BIO_read, lib.BIO_write
ERR_clear_error, SSL_pending = lib.ERR_clear_error, lib.SSL_pending
SSL_read, SSL_write = lib.SSL_read, lib.SSL_write

PIECE_BYTES = 64 * 1024
"""Encrypted at once: OpenSSL's buffer for the records of it never shrinks again."""
SEALED_MAX = RECORDS_BYTES - 16 * 1024
"""So many bytes surely fit as records, beside what TLS itself has to say."""

_records = ffi.new("char[]", RECORDS_BYTES)
_records_view = memoryview(ffi.buffer(_records, RECORDS_BYTES))
"""One buffer for all engines: `take` is followed by a send before anything else runs."""


class FastServer:
    """Makes server-side connections."""

    def __init__(self, pem_path: Path) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 kB of each idle connection
        try:
            context.use_certificate_chain_file(str(pem_path))
            context.use_privatekey_file(str(pem_path))
            context.check_privatekey()
        except SSL.Error as exc:
            raise StoreError(f"{pem_path} cannot be used as the proxy's certificate") from exc
        self._context = context

    def engine(self) -> TlsEngine:
        """A fresh server-side connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return FastEngine(connection)


class FastEngine:
    """One TLS connection on two memory buffers of OpenSSL."""

    __slots__ = ("_connection", "_from_ssl", "_into_ssl", "_ssl", "has_more")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        handles: Any = connection  # its private names were checked above
        self._ssl = handles._ssl
        self._into_ssl = handles._into_ssl
        self._from_ssl = handles._from_ssl
        self.has_more = False
        # pyOpenSSL lets OpenSSL stop after one record; into memory everything can go at once.
        lib.SSL_clear_mode(self._ssl, lib.SSL_MODE_ENABLE_PARTIAL_WRITE)

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        if size := len(ciphertext):
            BIO_write(self._into_ssl, from_buffer(ciphertext), size)
            self.has_more = True

    def handshake(self) -> bool:
        """Go on; True when it is done."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as exc:
            raise TlsFailed(_reason(exc)) from exc
        return True

    def read_into(self, view: memoryview) -> int:
        """Decrypt; the count of bytes, or 0 when more ciphertext is needed."""
        ssl = self._ssl
        ERR_clear_error()
        count: int = SSL_read(ssl, from_buffer(view), len(view))
        if count > 0:
            self.has_more = BIO_get_mem_data(self._into_ssl, NULL) > 0 or SSL_pending(ssl) > 0
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
        if size and SSL_write(self._ssl, from_buffer(plain), size) != size:
            raise TlsFailed("a record cannot be written")

    def take(self) -> bytes | memoryview:
        """Ciphertext to send, in a buffer that is reused."""
        count: int = BIO_read(self._from_ssl, _records, RECORDS_BYTES)
        if count <= 0:
            return b""
        if count < RECORDS_BYTES:
            return _records_view[:count]
        pieces = bytearray(_records_view)
        while (count := BIO_read(self._from_ssl, _records, RECORDS_BYTES)) > 0:
            pieces += _records_view[:count]
        return memoryview(pieces)

    def seal(self, plain: bytes | memoryview, latest: int = 0) -> bytes | memoryview:
        """`write` and `take` in one, piece by piece."""
        size = len(plain)
        if size > SEALED_MAX:
            self.write(plain[:latest])
            self.write(plain[latest:])
            return self.take()
        ssl, from_ssl, data = self._ssl, self._from_ssl, from_buffer(plain)
        at = filled = 0
        end = latest or size
        while at < size:
            piece = min(end - at, PIECE_BYTES)
            if SSL_write(ssl, data + at, piece) != piece:
                raise TlsFailed("a record cannot be written")
            filled += BIO_read(from_ssl, _records + filled, RECORDS_BYTES - filled)
            at += piece
            if at == latest:
                end = size
        return _records_view[:filled]

    def close(self) -> None:
        """Say close_notify."""
        lib.ERR_clear_error()
        lib.SSL_shutdown(self._ssl)
        lib.ERR_clear_error()

    def peer_certificate(self) -> bytes | None:
        """Viewers show none."""
        return None


SSL_WANT_READ = 2
SSL_ZERO_RETURN = 6


def _reason(exc: SSL.Error) -> str:
    queue = exc.args[0] if exc.args else ()
    return str(queue[0][-1]) if queue and isinstance(queue, list) else "no TLS"
