"""What outlives a relay worker that is killed: the connections whose sudden end would kill a VM.

spice-server 0.15 dies when a display is closed between its ticket and SET_ACK, and freezes when
MAIN goes meanwhile. So before a worker sends such a ticket it passes a copy of the descriptor to
the supervisor, and the same for the session's MAIN; when SET_ACK is here, it says so and the copy
is closed. A descriptor that was passed lives even if nobody has read it yet, so nothing waits for
an answer: it is one system call. When the worker dies, its copies stay open until the server has
said its part.

Each worker has a line of its own, one packet per word.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

_WORD: Final = struct.Struct("<cI")
_DISPLAY, _MAIN, _DONE = b"d", b"m", b"-"

ANSWER_SECONDS: Final = 30.0
"""How long a machine that says nothing is waited for; it gives a display that long, too."""

SETTLE_SECONDS: Final = 2.0
"""From the server's first word after the worker's death: SET_ACK is right behind the result."""


class SpareLine:
    """The worker's end.

    Args:
        sock: A packet socket; taken over, and closed when we end.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._numbers = itertools.count(1)
        self._owed: list[bytes] = []
        """What is done and could not be said yet, because nobody listens just now."""

    @contextlib.contextmanager
    def kept(self, sock: socket.socket, *, main: bool = False) -> Iterator[None]:
        """While the body runs, that connection stays open even if we are killed.

        When the body is cancelled, we end by force: then it stays open until we are gone, and on.
        """
        number = next(self._numbers)
        if not self._say(_WORD.pack(_MAIN if main else _DISPLAY, number), sock):
            yield  # the supervisor is gone or stuck: no reason to turn anybody away
            return
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            self._is_done(number)
            raise
        else:
            self._is_done(number)

    def _is_done(self, number: int) -> None:
        self._owed.append(_WORD.pack(_DONE, number))
        while self._owed and self._say(self._owed[0]):
            del self._owed[0]

    def _say(self, word: bytes, sock: socket.socket | None = None) -> bool:
        try:
            if sock is None:
                self._sock.send(word)
            else:
                socket.send_fds(self._sock, [word], [sock.fileno()])
        except OSError:
            return False
        return True


@dataclass(eq=False, slots=True)
class _Kept:
    sock: socket.socket
    main: bool
    timer: asyncio.TimerHandle | None = None
    waits_for: set[_Kept] = field(default_factory=set)
    """Of a MAIN whose worker died: the displays that were opening then, in any worker."""


class SpareHolder:
    """The supervisor's end of all lines; on its event loop."""

    def __init__(self) -> None:
        self._displays: set[_Kept] = set()
        self._left: set[_Kept] = set()
        """Of workers that died."""
        self._none_left = asyncio.Event()
        self._none_left.set()

    @property
    def count(self) -> int:
        """Displays that are kept now."""
        return len(self._displays)

    @contextlib.contextmanager
    def line(self) -> Iterator[socket.socket]:
        """A line for a worker that is to be started; its end, for the worker to inherit."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        kept: dict[int, _Kept] = {}
        asyncio.get_running_loop().add_reader(ours, self._hear, ours, kept)
        with theirs:
            yield theirs

    async def let_go(self) -> None:
        """Wait until nothing is left of workers that died."""
        await self._none_left.wait()

    def _hear(self, ours: socket.socket, kept: dict[int, _Kept]) -> None:
        """Take what a worker says; when it is gone, look after what it left."""
        while True:
            try:
                word, descriptors, _, _ = socket.recv_fds(
                    ours, _WORD.size, 1, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                word, descriptors = b"", []
            if len(word) != _WORD.size:
                asyncio.get_running_loop().remove_reader(ours)
                ours.close()
                self._on_death(kept)
                return
            kind, number = _WORD.unpack(word)
            for descriptor in descriptors:
                one = kept[number] = _Kept(socket.socket(fileno=descriptor), kind == _MAIN)
                if not one.main:
                    self._displays.add(one)
            if kind == _DONE and number in kept:
                self._close(kept.pop(number))

    def _on_death(self, kept: dict[int, _Kept]) -> None:
        loop = asyncio.get_running_loop()
        opening = set(self._displays)
        for one in kept.values():
            self._left.add(one)
            self._none_left.clear()
            one.timer = loop.call_later(ANSWER_SECONDS, self._close, one)
            if one.main:
                one.waits_for = set(opening)
            else:
                log.warning("a relay worker died while it opened a display; keeping its connection")
                loop.add_reader(one.sock, self._on_answer, one)
        self._close_mains()

    def _on_answer(self, one: _Kept) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(one.sock)
        if one.timer is not None:
            one.timer.cancel()
        one.timer = loop.call_later(SETTLE_SECONDS, self._close, one)

    def _close(self, one: _Kept) -> None:
        if one.timer is not None:
            one.timer.cancel()
        asyncio.get_running_loop().remove_reader(one.sock)
        one.sock.close()
        self._displays.discard(one)
        self._left.discard(one)
        self._close_mains()
        if not self._left:
            self._none_left.set()

    def _close_mains(self) -> None:
        """Close each MAIN of the dead that no display needs any more."""
        for one in tuple(self._left):
            one.waits_for &= self._displays
            if one.main and not one.waits_for and one in self._left:
                self._close(one)
