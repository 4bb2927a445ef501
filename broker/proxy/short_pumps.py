"""The pumps between a plain server and a viewer on TLS 1.3, nearly all in one function each.

They do what `Pump.run` does over the seams of `Leg` and `TlsEngine`: of a small message's way
through the worker those calls were a tenth, and most sessions go this way. What is not the usual
case is left to `Pump`: the rest of a message, a sample, an end.
"""

from __future__ import annotations

from typing import Final, cast

from broker.proxy.kernel import room_of
from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed, ciphertext
from broker.proxy.pump import BULK_BYTES, Pump, buffer
from broker.proxy.tls import TlsEnded, TlsFailed
from broker.proxy.tls_records import PLAIN_MOST, RecordEngine

_chunk: Final = buffer[:CHUNK_BYTES]
_bulk: Final = buffer[:BULK_BYTES]
BULK_ROOM_BYTES: Final = 2 * BULK_BYTES
"""Where the kernel has that much room, all of it is sent: the kernel counts pages, we bytes."""
MOVED_AT_ONCE: Final = BULK_BYTES
"""So much, in full chunks, before others have their turn."""


def pump_class(source: Leg, sink: Leg) -> type[Pump]:
    """The one that suits these two."""
    if source.engine is None and isinstance(sink.engine, RecordEngine):
        return ToViewer
    if sink.engine is None and isinstance(source.engine, RecordEngine):
        return ToServer
    return Pump


class _ShortPump(Pump):
    """Knows the TLS of the viewer's leg by its parts."""

    __slots__ = ("_engine",)

    def _wait_with(self, rest: bytes | memoryview) -> None:
        """The sink did not take all at once."""
        self._sink.unsent = bytes(rest)
        self._wait()


class ToViewer(_ShortPump):
    """From a plain server to a viewer."""

    __slots__ = ("_in_bulk",)

    def resume(self, *, at_once: bool = True) -> None:
        """See `Pump`."""
        self._in_bulk = False
        self._engine = cast(RecordEngine, self._sink.engine)
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
            try:
                passed = inspector.scan(chunk)
                if passed is chunk and count <= PLAIN_MOST and not inspector.latest:
                    data = self._engine.seal_little(buffer, count)
                    try:
                        sent = sink.sock.send(data)
                    except (BlockingIOError, InterruptedError):
                        sent = 0
                    except OSError as exc:
                        raise sink.lost(exc) from exc
                    if sent < len(data):
                        self._wait_with(data[sent:])
                    return
                self._pass_on(passed)
            except LegClosed as closed:
                self._ended(closed)
                return
            except TlsFailed as exc:  # what the viewer sent was no good, and we said so
                self._ended(LegClosed(sink, "tls", str(exc)))
                return
            # More at once, where the server has more and the viewer takes it all: what it does not
            # take is kept.
            self._in_bulk = count >= CHUNK_BYTES and room_of(sink.sock) >= BULK_ROOM_BYTES
            if count < CHUNK_BYTES:
                return
            moved += count


class ToServer(_ShortPump):
    """From a viewer to a plain server."""

    __slots__ = ()

    def resume(self, *, at_once: bool = True) -> None:
        """See `Pump`."""
        self._engine = cast(RecordEngine, self._source.engine)
        super().resume(at_once=at_once)

    def run(self) -> None:
        """Move what is there. The hot spot."""
        source, sink, inspector, engine = self._source, self._sink, self._inspector, self._engine
        if engine.has_more or self.paused or inspector.held or sink.unsent or self.sample:
            Pump.run(self)
            return
        start = 0
        if rest := engine.rest:
            start = len(rest)
            ciphertext[:start] = rest
        try:
            count = source.sock.recv_into(ciphertext[start:] if start else ciphertext)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._ended(source.lost(exc))
            return
        if not count:
            self._ended(source.lost())
            return
        try:
            count = engine.open(ciphertext[: start + count], buffer)
        except TlsEnded:
            self._ended(source.lost())
            return
        except TlsFailed as exc:
            self._ended(LegClosed(source, "tls", str(exc)))
            return
        if not count:
            return
        chunk = buffer[:count]
        try:
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
            self._go_on()
