"""TLS without a socket: ciphertext in, plain bytes out, and the other way round.

Two engines behind one seam (ADR 1): OpenSSL as pyOpenSSL brings it, whose AES is about twice as
fast as that of a distribution's OpenSSL 3.0, and Python's own `ssl` where that is missing or has
changed. Neither engine raises for a peer's fault but `TlsFailed` and `TlsEnded`.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Final, Protocol

from broker.errors import StoreError
from broker.pki import make_again

RECORDS_AT_ONCE: Final = 512
"""The most that are opened before others have their turn: with a byte in each, a chunk has twenty
times as many, and takes 15 ms."""
RECORDS_BYTES = 1072 * 1024
"""Room for as TLS records as much as a relay moves at once."""


class TlsFailed(Exception):
    """The handshake or a record was no good."""


class TlsEnded(Exception):
    """The peer said close_notify."""


class TlsEngine(Protocol):
    """One TLS connection in memory."""

    reads_at_once: int
    """`read_into` may be asked so often before others have their turn."""

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        ...

    def handshake(self) -> bool:
        """Go on; True when it is done. Send `take()` either way, also when it raises."""
        ...

    def after_handshake(self) -> TlsEngine:
        """What goes on once it is done: this one, or one that takes its place."""
        ...

    def settle(self) -> None:
        """Give back what the handshake or bulk needed. Whoever holds parts of it asks anew."""
        ...

    def read_into(self, view: memoryview) -> int:
        """Decrypt; the count of bytes, or 0 when more ciphertext is needed.

        Raises:
            TlsEnded: The peer said goodbye; again whenever it is asked again.
            TlsFailed: A record was no good; the same.
        """
        ...

    @property
    def has_more(self) -> bool:
        """Whether `read_into` may yield something, or tell of the end, without a `receive`."""
        ...

    def write(self, plain: bytes | memoryview) -> None:
        """Encrypt all of it."""
        ...

    def take(self) -> bytes | memoryview:
        """Ciphertext to send, empty when there is none; good until the next call."""
        ...

    def seal(self, plain: bytes | memoryview, latest: int = 0) -> bytes | memoryview:
        """`write` and `take` in one; what begins at `latest`, if not 0, begins a record."""
        ...

    def close(self) -> None:
        """Say close_notify."""
        ...

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER."""
        ...


class StdlibEngine:
    """`ssl.SSLObject` on two memory buffers."""

    reads_at_once = RECORDS_AT_ONCE

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        self._over = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side, server_hostname
        )

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        self._incoming.write(ciphertext)

    def handshake(self) -> bool:
        """Go on; True when it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as exc:
            raise TlsFailed(f"{exc.reason}: {exc.verify_message}") from exc
        except ssl.SSLError as exc:
            raise TlsFailed(exc.reason or str(exc)) from exc
        return True

    def after_handshake(self) -> TlsEngine:
        """As it is."""
        return self

    def settle(self) -> None:
        """Nothing to give back."""

    def read_into(self, view: memoryview) -> int:
        """Decrypt; the count of bytes, or 0 when more ciphertext is needed."""
        try:
            count: int = self._object.read(len(view), view)  # type: ignore[assignment]  # with a buffer
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLZeroReturnError as exc:
            self._over = True
            raise TlsEnded from exc
        except ssl.SSLError as exc:
            self._over = True
            raise TlsFailed(exc.reason or str(exc)) from exc
        if not count:
            self._over = True
            raise TlsEnded
        return count

    @property
    def has_more(self) -> bool:
        """Whether reading may yield something, or tell of the end."""
        return bool(self._over or self._incoming.pending or self._object.pending())

    def write(self, plain: bytes | memoryview) -> None:
        """Encrypt all of it."""
        try:
            self._object.write(plain)
        except ssl.SSLError as exc:
            raise TlsFailed(exc.reason or str(exc)) from exc

    def take(self) -> bytes | memoryview:
        """Ciphertext to send."""
        return self._outgoing.read()

    def seal(self, plain: bytes | memoryview, latest: int = 0) -> bytes | memoryview:
        """`write` and `take` in one."""
        if latest:
            self.write(plain[:latest])
        self.write(plain[latest:] if latest else plain)
        return self._outgoing.read()

    def close(self) -> None:
        """Say close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER."""
        return self._object.getpeercert(binary_form=True)


class TlsServer(Protocol):
    """Makes the engine for each viewer that connects."""

    def engine(self) -> TlsEngine:
        """A fresh server-side connection."""
        ...


class StdlibServer:
    """TLS by Python's own `ssl`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def engine(self) -> TlsEngine:
        """A fresh server-side connection."""
        return StdlibEngine(self._context, server_side=True)


def stdlib_context(pem_path: Path) -> ssl.SSLContext:
    """The fallback's context.

    Raises:
        StoreError: The file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(pem_path)
    except (OSError, ssl.SSLError) as exc:
        raise unusable(pem_path) from exc
    return context


def unusable(pem_path: Path) -> StoreError:
    """That file cannot be used as the proxy's certificate and key."""
    return StoreError(
        f"{pem_path}: the proxy's certificate cannot be used", fix=make_again(pem_path)
    )
