"""A TCP connection to a host that may have several addresses, or stands behind an HTTP proxy.

Addresses are tried as RFC 8305 has it: the families in turn, the next one a little later while
the one before has not answered, at once when it has failed; the first that connects is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Final, cast

from broker.owned import owned
from broker.proxy.gate import BackendUnreachable
from broker.proxy.watch import watch_of

Address = tuple[int, object]
"""A family, and an address as getaddrinfo gives it."""

NEXT_AFTER: Final = 0.25
"""Seconds that an address has before the next one is tried beside it."""

_NONBLOCK: Final = getattr(socket, "SOCK_NONBLOCK", 0)

_BEGUN: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})

ANSWER_MAX: Final = 8192
"""Bytes of the longest answer of an HTTP proxy."""


async def connect(family: int, address: object, where: str) -> socket.socket:
    """A connected, non-blocking socket; the caller sets the time-out.

    Raises:
        BackendUnreachable: Nobody answers there.
    """
    sock = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
    try:
        if not _NONBLOCK:
            sock.setblocking(False)
        # Over the loopback it is connected at once, though `connect` says that it has only begun.
        problem = sock.connect_ex(cast("str", address))
        if problem in _BEGUN:
            try:
                sock.getpeername()
                connected = True
            except OSError:
                connected = False
            if not connected:
                await _connected(sock)
        elif problem:
            raise OSError(problem, os.strerror(problem))
    except OSError as exc:
        sock.close()
        words = os.strerror(exc.errno) if exc.errno else str(exc)
        raise BackendUnreachable(
            f"The SPICE server at {where} cannot be reached ({words})",
            fix="Check that the machine runs and that its console's address is right",
        ) from exc
    except BaseException:
        sock.close()
        raise
    return sock


async def _connected(sock: socket.socket) -> None:
    """Wait for what `connect` began.

    Raises:
        OSError: It came to nothing.
    """
    watch, done = watch_of(asyncio.get_running_loop()), asyncio.Event()
    watch.add_writer(sock.fileno(), done.set)
    try:
        await done.wait()
    finally:
        watch.remove_writer(sock.fileno())
    if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(problem, os.strerror(problem))


async def first_to_answer(addresses: Sequence[Address], where: str) -> socket.socket:
    """A socket to whichever address answers first; the others are let go.

    Raises:
        BackendUnreachable: None does.
    """
    if len(addresses) == 1:
        return await connect(*addresses[0], where)
    waiting = list(in_turn(addresses))
    trying: set[asyncio.Future[socket.socket]] = set()
    failure = BackendUnreachable(f"{where} has no address")
    try:
        while waiting or trying:
            if waiting:
                family, address = waiting.pop(0)
                attempt = connect(family, address, where)
                trying.add(owned(attempt, name=f"connect to {where}"))
            done, trying = await asyncio.wait(
                trying,
                timeout=NEXT_AFTER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            found = [each.result() for each in done if each.exception() is None]
            if found:
                for spare in found[1:]:
                    spare.close()
                return found[0]
            for each in done:
                if not isinstance(problem := each.exception(), BackendUnreachable):
                    each.result()
                else:
                    failure = problem
    finally:
        for each in trying:
            each.add_done_callback(_let_go)
            each.cancel()
    raise failure


def _let_go(attempt: asyncio.Future[socket.socket]) -> None:
    """It connected in the moment that it was not wanted any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def in_turn(addresses: Iterable[Address]) -> Iterable[Address]:
    """The same, the families taking turns, beginning with that of the first."""
    by_family: dict[int, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    return (each for each in chain(*zip_longest(*by_family.values())) if each is not None)


async def ask_through(sock: socket.socket, there: str, proxy: str, *, shown: str) -> None:
    """Have an HTTP proxy connect this socket; closes the socket when that fails.

    Args:
        there: What is asked for, `host:port` as a rule; may be a credential.
        shown: What to call that.

    Raises:
        BackendUnreachable: It will not, or is no HTTP proxy.
    """
    try:
        await _ask_through(sock, there, proxy, shown)
    except BaseException:
        sock.close()
        raise


async def _ask_through(sock: socket.socket, there: str, proxy: str, shown: str) -> None:
    loop = asyncio.get_running_loop()
    answer = b""
    with contextlib.suppress(OSError):
        await loop.sock_sendall(sock, f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
        # Byte by byte would be exact; but nobody speaks SPICE before we do, so nothing follows.
        while b"\r\n\r\n" not in answer and len(answer) < ANSWER_MAX:
            data = await loop.sock_recv(sock, ANSWER_MAX - len(answer))
            if not data:
                break
            answer += data
    head, end, rest = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if not end or rest or not words[0].startswith("HTTP/1.") or len(words) < 2:
        raise BackendUnreachable(
            f"What answers at {proxy} is no HTTP proxy", fix="Check the console's proxy"
        )
    if not (len(words[1]) == 3 and words[1].startswith("2")):
        said = " ".join(words[1:])[:80]
        said = "".join(each if each.isprintable() else "?" for each in said)
        raise BackendUnreachable(
            f"The HTTP proxy {proxy} does not connect to {shown} ({said})",
            fix="See that it allows CONNECT to that host and port, without credentials",
        )


def split_proxy(text: str) -> tuple[str, int]:
    """Host and port of `http://host:port` or `host:port`.

    Raises:
        ValueError: It is something else.
    """
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or set(host) & set("/@? #"):
        raise ValueError(f"{text!r} is not http://host:port")
    return host.strip("[]"), int(port)
