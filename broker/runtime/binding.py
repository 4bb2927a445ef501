"""Listening sockets: every address of one name, on one port; and one for ourselves."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from broker.errors import UsageError
from broker.proxy import private

BACKLOG = 512
"""Connections the kernel holds until a relay worker takes them."""


def bind(listen: str, port: int, *, fall_back: bool = False) -> list[socket.socket]:
    """Listening sockets on every address `listen` resolves to, all on one port.

    Args:
        fall_back: Take any free port when `port` is busy.

    Raises:
        UsageError: The address is not ours, or the port is busy.
    """
    try:
        found = socket.getaddrinfo(
            listen or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as exc:
        raise UsageError(
            f"proxy.listen is {listen}, which cannot be resolved ({exc.strerror})",
            fix="Set it to an address of this host",
        ) from exc
    sockets: list[socket.socket] = []
    try:
        for family, kind, _, _, address in found:
            where = (address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:])
            sockets.append(_bind_one(family, kind, where))
    except OSError as exc:
        for bound in sockets:
            bound.close()
        if exc.errno == errno.EADDRINUSE and fall_back and port:
            return bind(listen, 0)
        if exc.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} on {listen} is in use",
                fix="Choose another: proxy.tls_port, or broker serve --tls-port N",
            ) from exc
        if exc.errno == errno.EACCES:
            raise UsageError(
                f"Port {port} needs more rights than ours", fix="Choose one of 1024 or above"
            ) from exc
        raise UsageError(
            f"{listen}:{port} cannot be listened on ({exc.strerror})",
            fix="Set proxy.listen to an address of this host",
        ) from exc
    return sockets


@contextlib.contextmanager
def private_door(path: Path) -> Iterator[list[socket.socket]]:
    """What this user's own programs connect to, listening while the body runs; gone afterwards.

    Only whoever holds the right to serve may open it: what lies there is taken for left over.

    Yields:
        One socket; none where the system does not say who connects.

    Raises:
        StoreError: The runtime directory cannot be written.
    """
    if not private.CAN_TELL:
        yield []
        return
    with private.bound(path) as sock:
        sock.listen(BACKLOG)
        sock.setblocking(False)
        try:
            yield [sock]
        finally:
            path.unlink(missing_ok=True)


def _bind_one(family: int, kind: int, where: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
