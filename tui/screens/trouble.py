"""A bug of ours: what went wrong, whole, to copy into a report. The app goes on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.copying import copy
from tui.widgets.reading import Reading


class TroubleScreen(ModalScreen[None]):
    """A traceback."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.TROUBLE]

    def __init__(self, text: str, log_path: Path | None) -> None:
        super().__init__()
        self._text = text
        self._log_path = log_path

    def compose(self) -> ComposeResult:
        """What to do with it, and the traceback."""
        where = f" It is also in {self._log_path}." if self._log_path else ""
        with Vertical(classes="dialog large"):
            yield Static("Something broke that should not", classes="title")
            yield Static(
                "This is a fault in Console Broker, not in what you did. Nothing else is affected; "
                f"{keys.CLOSE.sign} goes on. {keys.COPY.sign} copies this for a report.{where}",
                classes="consequence",
                markup=False,
            )
            with Reading(classes="text"):
                yield Static(self._text, markup=False)

    def action_copy(self) -> None:
        """Through the terminal's own clipboard (OSC 52)."""
        copy(self.app, self._text)

    def action_close(self) -> None:
        """Go on."""
        self.dismiss(None)
