"""Where a control socket listens: a path of ours, that nobody else serves on."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from broker.errors import StoreError, UsageError

SOCKET_PATH_MAX: Final = 107
"""Bytes; the kernel's limit."""


def see_that_it_can_be(path: Path) -> None:
    """See that a socket can be made there, before anything is opened for it.

    Raises:
        UsageError: The path is too long, is something else, or somebody serves there.
    """
    if len(str(path).encode()) > SOCKET_PATH_MAX:
        raise UsageError(
            f"{path} is too long for a socket ({SOCKET_PATH_MAX} bytes)",
            fix="Name a shorter one, such as /tmp/x.sock",
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no directory", fix="Name another place")
    if path.exists() and not path.is_socket():
        raise UsageError(f"{path} exists and is no socket", fix="Name another place")
    if _is_served(path):
        raise UsageError(f"Somebody serves on {path}", fix="End it, or name another place")


def bound(path: Path) -> socket.socket:
    """A socket at that path, ours alone (mode 0600); a stale one is replaced.

    Raises:
        UsageError: As `see_that_it_can_be`.
        StoreError: It cannot be made.
    """
    see_that_it_can_be(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        os.fchmod(made.fileno(), 0o600)  # before it has a name, so that nobody is quicker
        made.bind(str(path))
    except OSError as exc:
        made.close()
        raise StoreError(
            f"{path} cannot be made ({exc.strerror})", fix="Name another place: --socket PATH"
        ) from exc
    return made


def remove(path: Path) -> None:
    """Take the socket away, if it is still there."""
    path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except BlockingIOError:  # somebody listens, and many wait
            return True
        except OSError:
            return False
        return True
