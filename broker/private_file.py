"""Writes the files of ours that others may not read: mode 0600 from the first byte, and whole.

The content is written beside its place and moved there when it is complete, so that nobody ever
reads half of it, and a kill or a full disk leaves what was there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_HARD_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
)


def write(path: Path, content: str | bytes, *, replace: bool = True, durable: bool = False) -> None:
    """Write a file, in place of the one that is there.

    Args:
        replace: False leaves what is there, and raises.
        durable: Have it on the disk first, so that a host that crashes keeps the old or the new
            one. Takes milliseconds.

    Raises:
        FileExistsError: Something is there, and is not to be replaced.
        OSError: It cannot be written; nothing changed.
    """
    with beside(path, content, durable=durable) as scratch:
        if replace:
            scratch.replace(path)
        else:
            publish(scratch, path)


def write_new(path: Path, content: str | bytes, *, durable: bool = False) -> Path:
    """Write a file under a name that nothing has: with a number behind it where `path` is taken.

    Returns:
        Where it is: `screen.png`, else `screen-2.png` and so on.

    Raises:
        OSError: It cannot be written; nothing changed.
    """
    with beside(path, content, durable=durable) as scratch:
        place, number = path, 1
        while True:
            with contextlib.suppress(FileExistsError):
                publish(scratch, place)
                return place
            number += 1
            place = path.with_name(f"{path.stem}-{number}{path.suffix}")


@contextlib.contextmanager
def beside(path: Path, content: str | bytes, *, durable: bool = False) -> Iterator[Path]:
    """The new content in a file of its own, complete, to be moved to `path`; else it is removed.

    Raises:
        OSError: It cannot be written.
    """
    scratch = path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}")
    handle = os.open(scratch, _NEW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def publish(scratch: Path, path: Path) -> None:
    """Give a complete file its name, unless that is taken.

    Raises:
        FileExistsError: It is taken.
        OSError: The file system does not let us.
    """
    try:
        path.hardlink_to(scratch)  # unlike a rename, refuses to replace
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(path, _NEW, 0o600))  # takes the name, unless it is taken
        scratch.replace(path)
