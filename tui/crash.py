"""A fault of ours that ends the interface: told without the values at hand, for secrets' sake."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from rich.text import Text
from textual.app import App

log = logging.getLogger(__name__)


class Crashing(App[None]):
    """Textual would show each function's variables: a ticket in a form, a token in a file."""

    log_path: Path | None = None
    """Where the log is, for people to find."""

    def _fatal_error(self) -> None:
        """Leave, with the traceback on the terminal and in the log."""
        log.exception("the terminal interface ended")  # noqa: LOG004 - called while it is handled
        where = f"; it is in {self.log_path} too" if self.log_path is not None else ""
        words = f"{traceback.format_exc()}broker: this is a fault in the terminal interface{where}"
        self._exit_renderables.append(Text(words))
        self._close_messages_no_wait()
