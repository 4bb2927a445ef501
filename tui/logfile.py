"""The log of the terminal face: to a file, never to the terminal it draws on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 2_000_000
KEPT_FILES: Final = 2

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(path: Path | None, *, verbose: int = 0, clean: logging.Filter | None = None) -> None:
    """Send everything that is logged, by us and by libraries, to `path` (mode 0600) alone.

    Handlers that were there are taken off, for they may write to the terminal. A file that cannot
    be opened means no log, not no app.

    Args:
        verbose: 0 for what an operator counts, 1 and more for what a developer follows.
        clean: Takes secrets out of a record.
    """
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    handler = _opened(path) if path is not None else logging.NullHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    if clean is not None:
        handler.addFilter(clean)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(capture=True)


def _opened(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return logging.NullHandler()
    return _Rotating(path)


class _Rotating(logging.Handler):
    """A file of bounded size, opened with the first record: the first rows wait for no import."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        if self._file is None:
            self._file = self._open()
        self._file.emit(record)

    def close(self) -> None:
        """Close the file as well."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _open(self) -> logging.Handler:
        from logging.handlers import RotatingFileHandler

        try:
            opened = RotatingFileHandler(
                self._path,
                maxBytes=MOST_BYTES,
                backupCount=KEPT_FILES,
                encoding="utf-8",
                errors="replace",
            )
        except OSError:
            return logging.NullHandler()
        opened.setFormatter(self.formatter)
        return opened
