"""One end of a channel: a non-blocking socket, with TLS or plain.

In the link stage it is awaited (`receive`, `send`); then the relay takes it over and calls
`read_into`, `write` and `flush` from the loop's own callbacks. Never both at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Final

from broker.proxy.tls import TlsEnded, TlsEngine, TlsFailed
from broker.proxy.waiting import Wait
from broker.proxy.watch import Watch, add_patient_reader, watch_of
from broker.within import within

CHUNK_BYTES: Final = 256 * 1024
"""Read at once; the most that a channel keeps for a peer that does not read, and its records."""
HELLO_BYTES: Final = 16 * 1024
"""Read at once in a handshake, where little comes."""
ciphertext: Final = memoryview(bytearray(CHUNK_BYTES))
"""One buffer for all legs: what is read is handed to the engine before anything else runs."""
_hello: Final = ciphertext[:HELLO_BYTES]


class LegClosed(Exception):
    """This end is gone: closed, reset, or no longer speaking TLS.

    Attributes:
        leg: Which one.
        reason: Stable kebab-case: `closed`, `reset`, `tls`.
    """

    def __init__(self, leg: Leg, reason: str, text: str = "") -> None:
        super().__init__(text or reason)
        self.leg = leg
        self.reason = reason


def prepare(sock: socket.socket) -> None:
    """Have small messages sent at once, and a peer noticed that died without a word."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    except OSError:
        pass  # a unix socket, which needs neither, or the peer has gone already


class Leg:
    """A socket and perhaps a TLS engine. Owns the socket."""

    __slots__ = (
        "_asked",
        "_closed",
        "_gone",
        "_reader",
        "_watch",
        "engine",
        "fd",
        "sock",
        "unsent",
    )

    def __init__(
        self, sock: socket.socket, engine: TlsEngine | None = None, *, prepared: bool = False
    ) -> None:
        """Take the socket over.

        Args:
            prepared: `prepare` was called for it, or for the one that accepted it.
        """
        self.sock = sock
        self.fd = sock.fileno()
        """For the loop: asked about a socket it does not know, it writes it into an error's text,
        with two system calls."""
        self.engine = engine
        self.unsent: bytes = b""
        """What the socket did not take yet, already encrypted."""
        self._asked = False  # we spoke last: what comes next cannot be here yet
        self._gone = False  # the peer has closed: nobody reads what we would say
        self._closed = False
        self._watch: Watch | None = (
            None  # from the first wait for bytes until the relay, or the end
        )
        self._reader: Wait | None = None
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        if not prepared:
            prepare(sock)

    # -- without waiting, for the relay

    @property
    def has_more(self) -> bool:
        """Whether `read_into` may yield something though the socket is not readable."""
        return self.engine is not None and self.engine.has_more

    def read_into(self, view: memoryview) -> int:
        """Read what is there; the count of bytes, 0 when that is nothing now.

        Raises:
            LegClosed: The peer is gone.
        """
        engine = self.engine
        if engine is None:
            return self._read_raw_into(view)
        filled = 0
        try:
            if not engine.has_more:
                count = self._read_raw_into(ciphertext)
                if not count:
                    return 0
                engine.receive(ciphertext[:count])
            filled = engine.read_into(view)
            # One record at a time comes out; fill the view, so that little is written often.
            for _ in range(1, engine.reads_at_once):
                if not engine.has_more or filled == len(view):
                    break
                count = engine.read_into(view[filled:])
                if not count:
                    break
                filled += count
        except TlsEnded as exc:
            if not filled:  # else the engine says so again
                self._gone = True
                raise LegClosed(self, "closed") from exc
        except TlsFailed as exc:
            if not filled:
                raise LegClosed(self, "tls", str(exc)) from exc
        return filled

    def _read_raw_into(self, view: memoryview) -> int:
        try:
            count = self.sock.recv_into(view)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise self.lost(exc) from exc
        if not count:
            raise self.lost()
        return count

    def lost(self, why: OSError | None = None) -> LegClosed:
        """To be raised when the peer has closed, or has gone with that error."""
        self._gone = True
        return LegClosed(self, "reset", str(why)) if why else LegClosed(self, "closed")

    def write(self, data: bytes | memoryview, latest: int = 0) -> None:
        """Send; what the socket does not take stays in `unsent`.

        spice-gtk reads on only while its *socket* is readable, and forgets what TLS holds in
        memory: of a record with several messages in it, it handles the first and leaves the rest
        until something else arrives. A last message in a record of its own makes it go on: as
        long as that one waits in the socket, everything before it is handled.

        Args:
            latest: Where the last message begins that begins in `data`; 0 when none does.

        Raises:
            LegClosed: The peer is gone.
        """
        if self.engine is not None:
            try:
                data = self.engine.seal(data, latest)
            except TlsFailed as exc:
                raise LegClosed(self, "tls", str(exc)) from exc
        self.send_raw(data)

    def hold(self, data: bytes) -> None:
        """Have it sent in front of what is written next, or by `send_held`.

        Raises:
            LegClosed: The peer is gone.
        """
        if self.engine is None:
            self.write(data)
            return
        try:
            self.engine.write(data)
        except TlsFailed as exc:
            raise LegClosed(self, "tls", str(exc)) from exc

    def send_held(self) -> None:
        """Send what is held still, if anything; raises as `write` does."""
        if self.engine is not None:
            self.send_raw(self.engine.take())

    def send_raw(self, data: bytes | memoryview) -> None:
        """As `write`, of what is encrypted already or goes plain."""
        self._asked = True
        if self.unsent:
            self.unsent += bytes(data)
            return
        if not data:
            return
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            raise self.lost(exc) from exc
        if sent < len(data):
            self.unsent = bytes(data[sent:])

    def flush(self) -> bool:
        """Send on; whether nothing is left.

        Raises:
            LegClosed: The peer is gone.
        """
        data, self.unsent = self.unsent, b""
        self.send_raw(data)
        return not self.unsent

    def close(self) -> None:
        """Close at once, without another word. Not for a viewer that is owed an answer."""
        if not self._closed:
            self._closed = True
            self.hand_over()
            self.sock.close()

    def hang_up(self) -> None:
        """Close at once, also if somebody keeps a copy of the descriptor."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def hand_over(self, *, watched_on: bool = False) -> None:
        """Stop waiting for bytes here: the relay begins, or the end has come.

        Args:
            watched_on: Another callback takes the place of ours at once; to stop watching and to
                begin anew costs two system calls.
        """
        if self._watch is not None:
            if not watched_on:
                self._watch.remove_reader(self.fd)
            self._watch = self._reader = None

    # -- awaited, for the link stage

    async def handshake(self) -> None:
        """Bring TLS up; nothing to do on a plain leg.

        Raises:
            LegClosed: The peer is gone, or does not speak TLS.
        """
        engine = self.engine
        if engine is None:
            return
        while True:
            try:
                done = engine.handshake()
            except TlsFailed as exc:
                with contextlib.suppress(LegClosed):
                    self.send_raw(engine.take())  # the alert that says why
                raise LegClosed(self, "tls", str(exc)) from exc
            if done:
                self.engine = engine = engine.after_handshake()
            if said := engine.take():
                self.send_raw(said)
                if self.unsent:
                    await self.drain()
            if done:
                return
            if self._asked:
                await self._readable()
            while not (count := self._read_raw_into(_hello)):
                await self._readable()
            engine.receive(_hello[:count])

    async def receive_raw(self, limit: int) -> bytes:
        """What comes next on the socket itself, at least one byte.

        Raises:
            LegClosed: The peer is gone.
        """
        if self._asked:
            await self._readable()
        while True:
            try:
                data = self.sock.recv(limit)
            except (BlockingIOError, InterruptedError):
                await self._readable()
                continue
            except OSError as exc:
                raise self.lost(exc) from exc
            if not data:
                raise self.lost()
            return data

    async def receive(self, limit: int) -> bytes:
        """What comes next, 1 to `limit` bytes; nothing behind them is taken from the peer's view.

        Raises:
            LegClosed: The peer is gone.
        """
        if self.engine is None:
            return await self.receive_raw(limit)
        view = memoryview(bytearray(limit))
        if self._asked and not self.has_more:
            await self._readable()
        while not (count := self.read_into(view)):
            await self._readable()
        return bytes(view[:count])

    def _readable(self) -> Wait:
        """Done when bytes are there. The descriptor stays watched: in the link stage more follow.

        Not a coroutine of its own: a link waits five times.
        """
        self._asked = False
        ready = self._reader
        if ready is None:
            loop = asyncio.get_running_loop()
            self._reader = ready = Wait(loop)
            self._watch = watch_of(loop)
            add_patient_reader(self._watch, self.fd, self._on_readable)
        return ready

    def _on_readable(self) -> None:
        if self._reader is None or not self._reader.is_awaited:
            self.hand_over()  # nobody waits now; who does next, watches again
        else:
            self._reader.wake()

    async def send(self, data: bytes) -> None:
        """Send all of it; in one write when the socket takes it.

        Raises:
            LegClosed: The peer is gone.
        """
        self.write(data)
        if self.unsent:
            await self.drain()

    async def drain(self) -> None:
        """Wait until nothing is unsent.

        Raises:
            LegClosed: The peer is gone.
        """
        loop = asyncio.get_running_loop()
        watch = watch_of(loop)  # also of whoever reads
        while self.unsent and not self.flush():
            ready: asyncio.Future[None] = loop.create_future()
            watch.add_writer(self.fd, partial(_resolve, ready))
            try:
                await ready
            finally:
                watch.remove_writer(self.fd)

    async def finish(self, seconds: float) -> None:
        """Send what is owed, say goodbye, let the peer close, then close; never raises.

        A socket that is closed with unread input resets, and a reset can overtake the last bytes.
        """
        if self._gone:
            self.close()
            return
        try:
            async with within(seconds):
                await self.drain()
                if self.engine is not None:
                    self.engine.close()
                    self.send_raw(self.engine.take())
                    await self.drain()
                self.sock.shutdown(socket.SHUT_WR)
                await self.drop_to_end()
        except (TimeoutError, LegClosed, OSError):
            pass
        finally:
            self.close()

    async def drop_to_end(self) -> None:
        """Read and forget until the peer closes; the caller sets the time-out.

        A piece at a time, others having their turn in between: a peer that sends on and on would
        keep the loop to itself.
        """
        with contextlib.suppress(LegClosed):
            while True:
                await self._readable()
                self._read_raw_into(ciphertext)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
