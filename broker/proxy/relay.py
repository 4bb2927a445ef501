"""The relay: two pumps under the loop's reader and writer callbacks.

Cut-through: what the inspector lets pass goes on at once. A side is not read while the other has
unsent bytes, so a channel holds at most one chunk per direction, and a slow viewer slows the
server, not us. No logging, no counting and no calls to the house in here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from broker.proxy.leg import CHUNK_BYTES, Leg, LegClosed
from broker.proxy.watch import Watch, watch_of
from broker.spice.errors import RemoteProtocolError
from broker.spice.inspector import HELD_MAX, Inspector, Verdict

_buffer: Final = memoryview(bytearray(CHUNK_BYTES + HELD_MAX))
"""One for all pumps: a chunk is forwarded or copied before the callback returns."""
_chunk: Final = _buffer[:CHUNK_BYTES]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a relay stopped."""

    reason: str
    """`client-closed`, `backend-closed`, `client-reset`, …, `firewall`, or what `stop` was told."""
    text: str = ""
    verdict: Verdict | None = None


class Pump:
    """One direction."""

    __slots__ = ("_ended", "_inspector", "_sink", "_source", "_watch", "paused", "sample")

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
        self.paused = True
        self.sample: Callable[[float], None] | None = None
        """Told how many seconds the next run takes, from being woken to having written; once."""

    def resume(self) -> None:
        """Read again; also at once, for what TLS holds in memory does not wake a loop."""
        self.paused = False
        self._watch.add_reader(self._source.fd, self.run)
        self.run()

    def pause(self) -> None:
        """Stop reading."""
        if not self.paused:
            self.paused = True
            self._watch.remove_reader(self._source.fd)

    def run(self) -> None:
        """Move what is there. The hot spot."""
        if self.sample is not None:
            self._run_timed()
            return
        source, sink, inspector, buffer = self._source, self._sink, self._inspector, _buffer
        try:
            while not self.paused:
                if held := inspector.held:
                    start = len(held)
                    buffer[:start] = held
                    count = source.read_into(buffer[start : start + CHUNK_BYTES])
                    if not count:
                        return
                    count += start
                elif not (count := source.read_into(_chunk)):
                    return
                passed = inspector.scan(buffer[:count])
                if passed:
                    sink.write(passed, inspector.latest)
                if inspector.verdict is not None:
                    self._ended(inspector.verdict)
                    return
                if sink.unsent:
                    self.pause()
                    self._watch.add_writer(sink.fd, self.drain)
                    return
                engine = source.engine
                if engine is None or not engine.has_more:
                    return
        except LegClosed as closed:
            self._ended(closed)

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
            self.pause()
            self._watch.add_writer(sink.fd, self.drain)

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


class Relay:
    """Both directions of one channel, from the end of the link stage on."""

    __slots__ = ("_backend", "_client", "_done", "_pumps", "_watch", "dropped",
                 "to_client", "to_server")  # fmt: skip

    def __init__(
        self, client: Leg, backend: Leg, to_client: Inspector, to_server: Inspector
    ) -> None:
        loop = asyncio.get_running_loop()
        self._client = client
        self._backend = backend
        self.to_client = to_client
        self.to_server = to_server
        self.dropped: Counter[str] = Counter()
        """Messages that a policy kept back, by kind, where the inspectors do not count them."""
        self._watch = watch_of(loop)
        self._done: asyncio.Future[Ending] = loop.create_future()
        self._pumps = (
            Pump(self._watch, backend, client, to_client, self._on_ended),
            Pump(self._watch, client, backend, to_server, self._on_ended),
        )

    async def run(self) -> Ending:
        """Relay until a side is gone, a message is refused, or `stop` is called.

        The legs are left open, and nothing of ours listens to them any more.
        """
        for leg in (self._client, self._backend):
            leg.hand_over()
        try:
            for pump in self._pumps:
                if not self._done.done():
                    pump.resume()
            return await self._done
        finally:
            self._let_go()

    def stop(self, reason: str) -> None:
        """End it; harmless when it has ended."""
        if not self._done.done():
            self._let_go()
            self._done.set_result(Ending(reason))

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """The connections to the client and to the server."""
        return self._client, self._backend

    def sample(self, tell: Callable[[float], None]) -> None:
        """Have `tell` called with the seconds that the next run of each direction takes."""
        for pump in self._pumps:
            pump.sample = tell

    def say_to_client(self, kind: int, body: bytes) -> None:
        """Send the client a message of ours; raises as `Pump.insert` does."""
        self._pumps[0].insert(kind, body)

    def _on_ended(self, why: LegClosed | Verdict) -> None:
        if self._done.done():
            return
        self._let_go()
        if isinstance(why, Verdict):
            text = f"message {why.type} of {why.size} bytes refused: {why.reason}"
            self._done.set_result(Ending("firewall", text, why))
        else:
            side = "client" if why.leg is self._client else "backend"
            self._done.set_result(Ending(f"{side}-{why.reason}", str(why)))

    def _let_go(self) -> None:
        for pump in self._pumps:
            pump.pause()
        for leg in (self._client, self._backend):
            self._watch.remove_reader(leg.fd)
            self._watch.remove_writer(leg.fd)
