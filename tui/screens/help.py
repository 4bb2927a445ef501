"""The keys of where one is, from keys.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.glyphs import Glyphs

_FILTER = (
    ("web 01", "both words, anywhere in the row"),
    ("-test", "without that word"),
)
_FIELDS = (("state:run", "state begins so; also source: host: name: via:"),)
"""Only the consoles are searched by field."""


class HelpScreen(ModalScreen[None]):
    """Keys of one screen, of lists, of the app; what can be typed after `/`; what marks mean."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "close", "Close", id="help.close"),
    ]

    def __init__(self, name: str, glyphs: Glyphs) -> None:
        super().__init__()
        self._page = name
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with Vertical(classes="dialog large"):
            yield Static(f"Keys: {self._page}", classes="title")
            with VerticalScroll(classes="text"):
                yield Static(self._text(), markup=False)
            yield Static("Esc closes", classes="consequence")

    def on_mount(self) -> None:
        """Arrow keys scroll."""
        self.query_one(VerticalScroll).focus()

    def _text(self) -> Text:
        text = Text()
        _section(text, self._page, keys.SCREENS.get(self._page, ()))
        if keys.FIND in keys.SCREENS.get(self._page, ()):
            _heading(text, "Filter")
            fields = _FIELDS if self._page == "Consoles" else ()
            for typed, meaning in (*_FILTER, *fields):
                text.append(f"  {typed:<14}", "bold").append(f"{meaning}\n")
        _section(text, "Lists", () if self._page in keys.ALONE else keys.TABLE)
        _section(text, "Everywhere", keys.APP)
        glyphs = self._glyphs
        _heading(text, "States")
        text.append(
            f"  {glyphs.on} running   {glyphs.half} paused   {glyphs.off} off   {glyphs.bad} error"
            f"   {glyphs.busy} changing   {glyphs.faint} stale: its source cannot be read now\n"
        )
        return text

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)


def _heading(text: Text, title: str) -> None:
    text.append(f"{title}\n" if not text else f"\n{title}\n", "bold underline")


def _section(text: Text, title: str, acts: Sequence[keys.Act]) -> None:
    if acts:
        _heading(text, title)
    for act in acts:
        text.append(f"  {' '.join(act.keys):<14}", "bold").append(f"{act.help}\n")
