"""One direction of a relay, under the loop's reader and writer callbacks.

Cut-through: what the inspector lets pass goes on at once. A side is not read while the other has
unsent bytes, so a channel holds at most one chunk per direction, and a slow viewer slows the
server, not us. No logging, no counting and no calls to the house in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed
from broker.proxy.watch import Watch
from broker.spice.errors import RemoteProtocolError
from broker.spice.inspector import HELD_MAX, Inspector, Verdict

BULK_BYTES: Final = 4 * CHUNK_BYTES
"""Read at once where it is known that the sink takes it all."""
buffer: Final = memoryview(bytearray(BULK_BYTES + HELD_MAX))
"""One for all pumps: a chunk is forwarded or copied before the callback returns."""
_chunk: Final = buffer[:CHUNK_BYTES]


class Pump:
    """One direction."""

    __slots__ = ("_ended", "_goes_on", "_inspector", "_sink", "_source", "_watch", "paused",
                 "sample")  # fmt: skip

    def __init__(
        self,
        watch: Watch,
        source: Leg,
        sink: Leg,
        inspector: Inspector,
        ended: Callable[[LegClosed | Verdict], None],
    ) -> None:
        self._watch = watch
        self._source = source
        self._sink = sink
        self._inspector = inspector
        self._ended = ended
        self._goes_on = False
        self.paused = True
        self.sample: Callable[[float], None] | None = None
        """Told how many seconds the next run takes, from being woken to having written; once."""

    def begin(self) -> None:
        """Read for the first time, and send what the sink holds, if that did not."""
        # A viewer waits for our word before it says more: what it says then wakes the loop.
        self.resume(at_once=self._source.engine is None)
        if self.paused:
            return
        try:
            self._sink.send_held()
        except LegClosed as closed:
            self._ended(closed)
            return
        if self._sink.unsent:
            self._wait()

    def resume(self, *, at_once: bool = True) -> None:
        """Read again, also at once.

        Args:
            at_once: False where little is to be expected: then only what TLS holds in memory, for
                that does not wake a loop.
        """
        self.paused = False
        self._watch.add_reader(self._source.fd, self.run)
        if at_once or self._source.has_more:
            self.run()

    def pause(self) -> None:
        """Stop reading."""
        if not self.paused:
            self.paused = True
            self._watch.remove_reader(self._source.fd)

    def run(self) -> None:
        """Move what is there. The hot spot, but for what `short_pumps` moves."""
        if self.sample is not None:
            self._run_timed()
            return
        source, inspector = self._source, self._inspector
        if self.paused:
            return
        try:
            if held := inspector.held:
                start = len(held)
                buffer[:start] = held
                count = source.read_into(buffer[start : start + CHUNK_BYTES])
                if not count:
                    return
                count += start
            elif not (count := source.read_into(_chunk)):
                return
            self._pass_on(inspector.scan(buffer[:count]))
            if source.has_more:
                self._go_on()
        except LegClosed as closed:
            self._ended(closed)

    def _go_on(self) -> None:
        """Run once more when others have had their turn: TLS holds more, which wakes no loop."""
        if not (self._goes_on or self.paused):
            self._goes_on = True
            asyncio.get_running_loop().call_soon(self._run_on)

    def _run_on(self) -> None:
        self._goes_on = False
        if not self.paused:
            self.run()

    def _pass_on(self, passed: memoryview | bytes) -> None:
        """Send what the inspector let pass; pause when that is too much, end when it says so.

        Raises:
            LegClosed: The sink is gone.
        """
        inspector, sink = self._inspector, self._sink
        if passed:
            sink.write(passed, inspector.latest)
        if inspector.verdict is not None:
            self._ended(inspector.verdict)
        elif sink.unsent:
            self._wait()

    def _wait(self) -> None:
        """Until the sink has taken what is unsent."""
        self.pause()
        self._watch.add_writer(self._sink.fd, self.drain)

    def _run_timed(self) -> None:
        tell, self.sample = self.sample, None
        before, began = self._inspector.forwarded, monotonic()
        self.run()
        if self._inspector.forwarded == before:
            self.sample = tell  # woken for nothing, or for a part of a message
        elif tell is not None and not self._sink.unsent:
            tell(monotonic() - began)

    def insert(self, kind: int, body: bytes) -> None:
        """Send a message of ours to the sink, between two that pass.

        Raises:
            RemoteProtocolError: The peer provokes more of them than it takes.
            LegClosed: The sink is gone.
        """
        sink = self._sink
        if len(sink.unsent) > 2 * CHUNK_BYTES:
            raise RemoteProtocolError("it provokes more than it takes")
        if now := self._inspector.insert(kind, body):
            sink.write(now)
        if sink.unsent:
            self._wait()

    def drain(self) -> None:
        """Send on, and read again when all is sent."""
        try:
            if not self._sink.flush():
                return
        except LegClosed as closed:
            self._ended(closed)
            return
        self._watch.remove_writer(self._sink.fd)
        self.resume()
