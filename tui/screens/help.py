"""The keys of where one is, from keys.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.glyphs import Glyphs
from tui.widgets.reading import Reading

_FILTER = (
    ("web 01", "both words, anywhere in the row"),
    ("-test", "without that word"),
    ('"web 01"', "both, in that order and one blank between them"),
)


class HelpScreen(ModalScreen[None]):
    """Keys of one screen, of lists, of the app; what can be typed after `/`; what marks mean."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "close", "Close", id="help.close"),
    ]

    def __init__(self, name: str, glyphs: Glyphs, fields: Sequence[str] = ()) -> None:
        """Explain that screen; `fields` are what its filter knows."""
        super().__init__()
        self._page = name
        self._fields = fields
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with Vertical(classes="dialog large"):
            yield Static(f"Keys: {self._page}", classes="title")
            with Reading(classes="text"):
                yield Static(self._text(), markup=False)
            yield Static("Esc closes; j and k scroll", classes="consequence")

    def on_mount(self) -> None:
        """Arrow keys scroll."""
        self.query_one(Reading).focus()

    def _text(self) -> Text:
        text = Text()
        _section(text, self._page, keys.SCREENS.get(self._page, ()))
        if keys.FIND in keys.SCREENS.get(self._page, ()):
            _heading(text, "Filter")
            for typed, meaning in (*_FILTER, *self._of_fields()):
                text.append(f"  {typed:<14}", "bold").append(f"{meaning}\n")
        _section(text, "Lists", () if self._page in keys.ALONE else keys.TABLE)
        here = {key for act in keys.SCREENS.get(self._page, ()) for key in act.keys}
        _section(text, "Everywhere", keys.APP, without=here)
        glyphs = self._glyphs
        _heading(text, "States")
        text.append(
            f"  {glyphs.on} running   {glyphs.half} paused   {glyphs.off} off   {glyphs.bad} error"
            f"   {glyphs.busy} changing   {glyphs.faint} stale: its source cannot be read now\n"
        )
        return text

    def _of_fields(self) -> list[tuple[str, str]]:
        """The first field as an example, and the others."""
        if not self._fields:
            return []
        first, *others = self._fields
        typed = {"state": "state:run"}.get(first, f"{first}:x")
        also = f"; also {' '.join(f'{name}:' for name in others)}" if others else ""
        return [(typed, f"{first} begins so{also}")]

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)


def _heading(text: Text, title: str) -> None:
    text.append(f"{title}\n" if not text else f"\n{title}\n", "bold underline")


def _section(
    text: Text, title: str, acts: Sequence[keys.Act], without: Collection[str] = ()
) -> None:
    """A heading and a line per act, but for keys that do something else here."""
    if acts:
        _heading(text, title)
    for act in acts:
        if names := " ".join(key for key in act.keys if key not in without):
            text.append(f"  {names:<14}", "bold").append(f"{act.help}\n")
