"""Where a .vv file goes: a name that is safe, a file that only its owner can read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from broker import human, private_file
from broker.errors import UsageError
from broker.typed_path import expanded, is_directory

MODE: Final = 0o600
_UNSAFE: Final = re.compile(r"[^\w.+@-]+")


def default_path(name: str) -> str:
    """`NAME.vv`, without anything in the name that a shell or a directory would take up."""
    return f"{_UNSAFE.sub('_', human.one_line(name)).lstrip('.-') or 'console'}.vv"


def problem_with(text: str) -> str:
    """Why nothing can be written there, or the empty string. An existing file is no problem."""
    path = expanded(text)
    if not text.strip():
        return "Name a file"
    if is_directory(path):
        return f"{text} is a directory; name a file in it"
    if not is_directory(path.parent):
        return f"There is no directory {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"You may not write in {path.parent.absolute()}"
    try:
        path.lstat()
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f"{exc.strerror}: {text}"
    return ""


def write(path: Path, text: str, *, replace: bool) -> None:
    """Write it whole or not at all, mode 0600 from the first byte.

    Raises:
        UsageError: It exists and `replace` is false, or the disk says no.
    """
    try:
        private_file.write(path, text, replace=replace)
    except FileExistsError as exc:
        raise UsageError(f"{path} exists", fix="Choose another name, or replace it") from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise UsageError(f"{path} cannot be written: {reason}", fix="Choose another place") from exc
