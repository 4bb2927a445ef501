"""Accepts viewers: limits first, then TLS under a deadline, then the channel."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from broker.proxy.connections import Life
from broker.proxy.gate import ConnectionRefused, Gate, Peer
from broker.proxy.leg import HELLO_BYTES, Leg, LegClosed, prepare
from broker.proxy.limits import Limits
from broker.proxy.private import give_room, is_ours
from broker.proxy.stage import Patience, Stage
from broker.proxy.tls import TlsServer
from broker.proxy.watch import add_patient_reader, watch_of
from broker.spice.constants import MAGIC

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 1.0
"""How long nothing is accepted after the process ran out of descriptors."""

OF_THE_NETWORK: Final = frozenset({
    errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPERM,
})  # fmt: skip
"""What accept(2) passes on of a connection that came to nothing, or that a firewall forbade."""

SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

INHERITED: Final = sys.platform == "linux"
"""What is accepted has the options of the socket that listens: five system calls less for each."""

HERE: Final = Peer("127.0.0.1", 0)
"""Where whoever comes by a private door is: this host, for limits, `--from` and the audit log."""

LEFT_AT_ONCE: Final = 4
"""Connections taken together that nobody else wanted."""


@dataclass(frozen=True, slots=True)
class Door:
    """A socket that listens already. Whoever made it closes it."""

    sock: socket.socket
    secured: bool = True
    """TLS; otherwise every viewer is told to come back with it."""
    private: bool = False
    """A unix socket for programs of our own user, which need no TLS (ADR 18)."""


class Serves(Protocol):
    """What takes over after TLS."""

    async def serve(
        self, leg: Leg, peer: Peer, admitted: Callable[[], None], *, early: bytes = b""
    ) -> None:
        """A viewer is here; closes the leg."""
        ...

    async def refuse_plain(self, leg: Leg, peer: Peer, *, early: bytes = b"") -> None:
        """A viewer came without TLS; closes the leg."""
        ...


class Listener:
    """Accepts on all doors while it is open."""

    def __init__(
        self,
        doors: Sequence[Door],
        tls: TlsServer,
        gate: Gate,
        limits: Limits,
        serves: Serves,
        spawn: Callable[[Life, str], None],
        courtesy: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Nothing is accepted before `open`.

        Args:
            spawn: Runs one connection's life in a task of that name.
            courtesy: Seconds for which others at the same doors may take a new viewer first.
        """
        self.tls = tls
        """For connections from now on; may be replaced at any time."""
        self._doors = doors
        self._gate = gate
        self._limits = limits
        self._patience = Patience(limits.tls_seconds)
        self._serves = serves
        self._spawn = spawn
        self._courtesy = courtesy
        self._half_open: dict[str, int] = {}
        self._half_open_in_all = 0
        self._pauses: dict[int, asyncio.TimerHandle] = {}

    def open(self) -> None:
        """Begin to accept."""
        for door in self._doors:
            door.sock.setblocking(False)
            prepare(door.sock)
            self._watch(door)

    def close(self) -> None:
        """Accept no more; what was accepted goes on."""
        for pause in self._pauses.values():
            pause.cancel()
        for door in self._doors:
            watch_of(asyncio.get_running_loop()).remove_reader(door.sock.fileno())

    def _watch(self, door: Door) -> None:
        watch = watch_of(asyncio.get_running_loop())
        add_patient_reader(watch, door.sock.fileno(), partial(self._accept, door))

    def _accept(self, door: Door) -> None:
        """Take one: the next may be for a worker with less to do, and perhaps this one too."""
        if wait := self._courtesy():
            self._look_away(door, wait, self._accept_what_is_left)
        else:
            self._take(door)

    def _accept_what_is_left(self, door: Door) -> None:
        del self._pauses[door.sock.fileno()]
        for _ in range(LEFT_AT_ONCE):
            if not self._take(door):
                break
        if door.sock.fileno() not in self._pauses:
            self._watch(door)

    def _look_away(self, door: Door, seconds: float, then: Callable[[Door], None]) -> None:
        loop = asyncio.get_running_loop()
        watch_of(loop).remove_reader(door.sock.fileno())
        self._pauses[door.sock.fileno()] = loop.call_later(seconds, then, door)

    def _look_again(self, door: Door) -> None:
        del self._pauses[door.sock.fileno()]
        self._watch(door)

    def _take(self, door: Door) -> bool:
        """Accept one; whether there was one."""
        try:
            sock, address = door.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as exc:
            if exc.errno in OF_THE_NETWORK:
                return False  # that connection's own trouble, which Linux tells here
            fix = ": raise the limit of open files" if exc.errno in SHORT else ""
            log.error("cannot accept (%s)%s", exc.strerror, fix)
            self._look_away(door, PAUSE_SECONDS, self._look_again)
            return False
        peer = HERE if door.private else Peer(address[0].removeprefix("::ffff:"), address[1])
        if (door.private and self._is_of_others(sock, peer)) or self._is_full(peer):
            sock.close()
            return True
        if door.private:
            give_room(sock)
        self._half_open[peer.host] = self._half_open.get(peer.host, 0) + 1
        self._half_open_in_all += 1
        self._spawn(self._welcome(sock, peer, door), f"viewer {peer}")
        return True

    def _is_of_others(self, sock: socket.socket, peer: Peer) -> bool:
        """Whether somebody who is not our user came by a private door: root, say."""
        if is_ours(sock):
            return False
        text = "the private socket is for programs of the same user"
        self._gate.record(ConnectionRefused(peer, "other-user", text))
        return True

    def _is_full(self, peer: Peer) -> bool:
        mine = self._half_open.get(peer.host, 0) >= self._limits.half_open_per_address
        if not mine and self._half_open_in_all < self._limits.half_open:
            return False
        text = "too many connections without a ticket" + (" from this address" if mine else "")
        self._gate.record(ConnectionRefused(peer, "limit", text))
        return True

    async def _welcome(self, sock: socket.socket, peer: Peer, door: Door) -> None:
        counted = [peer.host]

        def admitted() -> None:
            while counted:
                self._let_through(counted.pop())

        leg = Leg(sock, prepared=INHERITED)
        try:
            try:
                early = await self._secure(leg, door)
            except (TimeoutError, LegClosed) as exc:
                reason = "handshake-timeout" if isinstance(exc, TimeoutError) else "no-tls"
                self._gate.record(ConnectionRefused(peer, reason, f"no TLS ({exc})"))
                return
            if leg.engine is None and not door.private:
                await self._serves.refuse_plain(leg, peer, early=early)
            else:
                await self._serves.serve(leg, peer, admitted, early=early)
        finally:
            admitted()
            leg.close()

    async def _secure(self, leg: Leg, door: Door) -> bytes:
        """Bring TLS up; on a plain viewer, return what it said instead."""
        if not door.secured or door.private:
            return b""
        with Stage(None, self._patience):
            first = await leg.receive_raw(HELLO_BYTES)
            if MAGIC.startswith(first[: len(MAGIC)]):
                return first
            leg.engine = self.tls.engine()
            leg.engine.receive(first)
            await leg.handshake()
        return b""

    def _let_through(self, host: str) -> None:
        self._half_open_in_all -= 1
        left = self._half_open[host] - 1
        if left:
            self._half_open[host] = left
        else:
            del self._half_open[host]
