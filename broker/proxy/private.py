"""Unix sockets for this user alone: the directory keeps others away, and the kernel says who came.

TLS would say the same at the price of two ciphers (ADR 18): whoever reads what is between two
processes of one user of one host can read their memory as well.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Final

from broker.errors import StoreError

_PEER_CREDENTIALS: Final[int | None] = getattr(socket, "SO_PEERCRED", None)
_CREDENTIALS: Final = struct.Struct("=iII")
"""Linux's `struct ucred`: process, user and group, as they were when it connected or listened."""
CAN_TELL: Final = _PEER_CREDENTIALS is not None
"""Whether this system says who is at the other end; where it does not, nobody is let in so."""

ROOM_BYTES: Final = 512 * 1024
"""What may lie between us and who reads: as much as a reader takes at once. The kernel's own room
is a twentieth of a picture, and both sides would wake for each piece of that size."""


def bound(path: Path) -> socket.socket:
    """A socket at that path that only we can connect to; what lies there is replaced.

    It does not listen yet.

    Raises:
        StoreError: The directory cannot be written.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
    except OSError as exc:
        sock.close()
        raise StoreError(
            f"{path} cannot be made ({exc.strerror})", fix="Free space, or mend its directory"
        ) from exc
    return sock


def is_ours(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as the user that we are; root is not."""
    if _PEER_CREDENTIALS is None:
        return False
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(told)
    except (OSError, struct.error):
        return False
    return bool(user == os.geteuid())


def give_room(sock: socket.socket) -> None:
    """Let more of what we write wait to be read, as far as the system allows."""
    with contextlib.suppress(OSError):  # the peer has gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM_BYTES)


def connected(path: Path) -> socket.socket | None:
    """A connection to whoever listens there, if that is one of us; never waits."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        sock.connect(str(path))
        if is_ours(sock):
            return sock
    except OSError:
        pass  # nobody listens, or too many wait to be taken
    sock.close()
    return None
