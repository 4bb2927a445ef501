"""Paths as people type them: whatever was typed or pasted, a look at it never fails.

pathlib raises for a user that nobody knows, for a name that is too long and for a directory that
one may not look into. Whoever opens the file hears of that, and says it with a fix.
"""

from __future__ import annotations

import os
from pathlib import Path


def expanded(text: str) -> Path:
    """`~` and `~user` replaced as a shell does; of a user that nobody knows they stay."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises for such a user


def is_missing(path: Path) -> bool:
    """Whether nothing is there for sure. What cannot be looked at may be there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def is_file(path: Path) -> bool:
    """Whether it can be seen that a regular file is there."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib's raises where one may not look


def is_directory(path: Path) -> bool:
    """Whether it can be seen that a directory is there."""
    return os.path.isdir(path)  # noqa: PTH112 - pathlib's raises where one may not look
