"""What a person is told over a guest's screen: hints, one at a time, and what others say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from textual.screen import Screen

from broker import human
from broker.service.port import MOST_SAID

HINT_SECONDS: Final = 3.0
MESSAGE_LASTS: Final = timedelta(seconds=15)


class Notices:
    """Toasts of one screen."""

    def __init__(self, screen: Screen[Any], now: Callable[[], datetime]) -> None:
        self._screen = screen
        self._now = now
        self._message = ""
        self._until = now()

    def hint(self, text: str) -> None:
        """Say why a key did nothing, in place of what was hinted before."""
        self._screen.app.clear_notifications()
        self._show_message()
        line = human.one_line(text)
        self._screen.notify(line, severity="warning", markup=False, timeout=HINT_SECONDS)

    def said(self, text: str) -> None:
        """Show what somebody says to the person here, and no more of it than may be sent."""
        line = human.one_line(text.strip())
        self._message = line if len(line) <= MOST_SAID else f"{line[: MOST_SAID - 1]}…"
        self._until = self._now() + MESSAGE_LASTS
        self._show_message()

    def _show_message(self) -> None:
        """For as long as it has left: a hint does not take it away."""
        if (left := (self._until - self._now()).total_seconds()) > 0:
            self._screen.notify(self._message, title="Message to you", markup=False, timeout=left)
