"""The pumps between a plain server and a viewer on `FastEngine`, nearly all in one function each.

They do what `Pump.run` does over the seams of `Leg` and `TlsEngine`: of a small message's way
through the worker those calls were a tenth, and most sessions go this way. What is not the usual
case is left to `Pump`: the rest of a message, a sample, an end.
"""

from __future__ import annotations

from typing import Final, cast

from broker.proxy.fast_tls import (
    NULL,
    SMALL_BYTES,
    BIO_get_mem_data,
    BIO_read,
    BIO_write,
    FastEngine,
    SSL_read,
    SSL_write,
    from_buffer,
    records,
    records_view,
)
from broker.proxy.kernel import room_of
from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed, ciphertext
from broker.proxy.pump import BULK_BYTES, Pump, buffer
from broker.proxy.tls import RECORDS_BYTES, TlsFailed

_chunk: Final = buffer[:CHUNK_BYTES]
_bulk: Final = buffer[:BULK_BYTES]
# Of what is under the views: collected at the interpreter's end, a view that cffi holds crashes it.
_plain: Final = from_buffer(buffer.obj)
_ciphertext: Final = from_buffer(ciphertext.obj)
BULK_ROOM_BYTES: Final = 2 * BULK_BYTES
"""Where the kernel has that much room, all of it is sent: the kernel counts pages, we bytes."""
LENT_AFTER: Final = 16
"""Pieces of bulk taken without a pause: who does not read shall not cost memory for a moment."""
MOVED_AT_ONCE: Final = BULK_BYTES
"""So much, in full chunks, before others have their turn."""


def pump_class(source: Leg, sink: Leg) -> type[Pump]:
    """The one that suits these two."""
    if source.engine is None and isinstance(sink.engine, FastEngine):
        return ToViewer
    if sink.engine is None and isinstance(source.engine, FastEngine):
        return ToServer
    return Pump


class _ShortPump(Pump):
    """Knows the TLS engine of the viewer's leg by its parts."""

    __slots__ = ("_engine", "_ssl")

    def _wait_with(self, rest: memoryview) -> None:
        """The sink did not take all at once."""
        self._sink.unsent = bytes(rest)
        self._wait()


class ToViewer(_ShortPump):
    """From a plain server to a viewer."""

    __slots__ = ("_in_bulk", "_taken")

    def resume(self, *, at_once: bool = True) -> None:
        """See `Pump`."""
        self._in_bulk = False
        self._taken = 0
        self._engine = engine = cast(FastEngine, self._sink.engine)
        self._ssl = engine.ssl
        super().resume(at_once=at_once)

    def run(self) -> None:
        """Move what is there. The hot spot."""
        source, sink, inspector = self._source, self._sink, self._inspector
        moved = 0
        while moved < MOVED_AT_ONCE:
            if self.paused or inspector.held or sink.unsent or self.sample is not None:
                Pump.run(self)
                return
            try:
                count = source.sock.recv_into(_bulk if self._in_bulk else _chunk)
            except (BlockingIOError, InterruptedError):
                self._in_bulk = False
                return
            except OSError as exc:
                self._ended(source.lost(exc))
                return
            if not count:
                self._ended(source.lost())
                return
            chunk = buffer[:count]
            passed = inspector.scan(chunk)
            if passed is chunk and count <= SMALL_BYTES and not inspector.latest:
                if SSL_write(self._ssl, _plain, count) != count:
                    self._ended(LegClosed(sink, "tls", "a record cannot be written"))
                    return
                count = BIO_read(self._engine.from_ssl, records, RECORDS_BYTES)
                try:
                    sent = sink.sock.send(records_view[:count])
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError as exc:
                    self._ended(sink.lost(exc))
                    return
                if sent < count:
                    self._wait_with(records_view[sent:count])
                return
            try:
                self._pass_on(passed)
            except LegClosed as closed:
                self._ended(closed)
                return
            # More at once, where the server has more and the viewer takes it all: what it does not
            # take is kept.
            self._in_bulk = count >= CHUNK_BYTES and room_of(sink.sock) >= BULK_ROOM_BYTES
            if count < CHUNK_BYTES:
                return
            moved += count

    def _pass_on(self, passed: memoryview | bytes) -> None:
        """As ever; bulk from where OpenSSL has put it, if the viewer has taken all so far."""
        sink, inspector, engine = self._sink, self._inspector, self._engine
        if len(passed) > CHUNK_BYTES:
            self._taken += 1
        if self._taken <= LENT_AFTER or len(passed) <= CHUNK_BYTES or not engine.may_lend:
            super()._pass_on(passed)
            return
        try:
            lent = engine.lend(passed, inspector.latest)
            try:
                sink.send_raw(lent)
            finally:
                engine.take_back(lent)
        except TlsFailed as exc:
            raise LegClosed(sink, "tls", str(exc)) from exc
        if inspector.verdict is not None:
            self._ended(inspector.verdict)
        elif sink.unsent:
            engine.settle()
            self._wait()


class ToServer(_ShortPump):
    """From a viewer to a plain server."""

    __slots__ = ()

    def resume(self, *, at_once: bool = True) -> None:
        """See `Pump`."""
        self._engine = engine = cast(FastEngine, self._source.engine)
        self._ssl = engine.ssl
        super().resume(at_once=at_once)

    def run(self) -> None:
        """Move what is there. The hot spot."""
        source, sink, inspector, engine = self._source, self._sink, self._inspector, self._engine
        if engine.has_more or self.paused or inspector.held or sink.unsent or self.sample:
            Pump.run(self)
            return
        try:
            count = source.sock.recv_into(ciphertext)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._ended(source.lost(exc))
            return
        if not count:
            self._ended(source.lost())
            return
        BIO_write(engine.into_ssl, _ciphertext, count)
        if count > SMALL_BYTES:
            engine.grown = True
        count = SSL_read(self._ssl, _plain, CHUNK_BYTES)
        if count <= 0:  # a part of a record, the end, or no TLS: OpenSSL says so again when asked
            engine.has_more = True
            Pump.run(self)
            return
        try:
            if BIO_get_mem_data(engine.into_ssl, NULL) > 0:
                engine.has_more = True
                count += source.read_into(buffer[count:CHUNK_BYTES])
            chunk = buffer[:count]
            passed = inspector.scan(chunk)
            if passed is not chunk:
                self._pass_on(passed)
                sent = count
            else:
                try:
                    sent = sink.sock.send(chunk)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError as exc:
                    raise sink.lost(exc) from exc
        except LegClosed as closed:
            self._ended(closed)
            return
        if sent < count:
            self._wait_with(chunk[sent:])
        elif engine.has_more:
            Pump.run(self)
