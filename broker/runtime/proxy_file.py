"""`proxy.json` and the lock beside it: how processes tell each other that a proxy serves.

The supervisor holds the lock for as long as it lives, so a file that a killed one left behind is
never believed. Light to import: the quick path reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from broker.errors import BrokerError, StoreError
from broker.model import ProxyStatus

NOT_SERVING = ProxyStatus(serving=False)

LOOK_SECONDS = 0.001
"""Until whoever looks at the lock has looked."""


class AlreadyServing(BrokerError):
    """Another process of this user hosts the proxy."""

    code = "already-serving"


def read_status(path: Path) -> ProxyStatus:
    """Who serves now, according to the file and its lock; never an error.

    Args:
        path: `proxy.json`; its lock is `proxy.lock` in the same directory.
    """
    try:
        document = json.loads(path.read_bytes())
        if not _is_locked(_lock_path(path)):
            return NOT_SERVING
        return ProxyStatus(
            serving=True,
            host=str(document["host"]),
            tls_port=int(document["tls_port"]),
            pid=int(document["pid"]),
            workers=tuple(int(pid) for pid in document["workers"]),
            metrics_port=document.get("metrics_port"),
            draining=bool(document.get("draining", False)),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return NOT_SERVING


def write_status(path: Path, status: ProxyStatus) -> None:
    """Tell the others; atomic, 0600.

    Raises:
        StoreError: The runtime directory cannot be written.
    """
    from broker import private_file  # those who only read the file do without

    facts = asdict(status)
    del facts["ours"]  # that depends on who asks
    try:
        private_file.write(path, json.dumps(facts))
    except OSError as exc:
        raise StoreError(
            f"{path} cannot be written ({exc.strerror})", fix="Free space, or mend its directory"
        ) from exc


def remove_status(path: Path) -> None:
    """Say that nobody serves; called by whoever holds the lock."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def serving_lock(path: Path) -> Iterator[None]:
    """Hold the right to serve.

    Args:
        path: `proxy.json`.

    Raises:
        AlreadyServing: Another process holds it.
        StoreError: The lock file cannot be made.
    """
    lock = _lock_path(path)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(
            f"{lock} cannot be made ({exc.strerror})", fix="Free space, or mend its directory"
        ) from exc
    try:
        try:
            _take(descriptor)
        except BlockingIOError as exc:
            pid = read_status(path).pid
            raise AlreadyServing(
                "A proxy is serving already" + (f" (process {pid})" if pid else ""),
                fix="Use that one, or end it first; see: broker status",
            ) from exc
        remove_status(path)  # of one that was killed: with our lock it would be believed again
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Lock it, unless somebody serves: who only looks holds it shared, for a moment."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails when somebody serves
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(LOOK_SECONDS)


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _is_locked(lock: Path) -> bool:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
