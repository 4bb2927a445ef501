"""What to sort by: one letter per column, the capital letter downwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.glyphs import Glyphs

_AS_GIVEN = "0"


class SortScreen(ModalScreen[tuple[str, bool]]):
    """Dismissed with a column's title and whether downwards; an empty title is no order."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "Close", id="sort.close")]

    def __init__(
        self, titles: Sequence[str], sorted_by: tuple[str, bool] | None, glyphs: Glyphs
    ) -> None:
        super().__init__()
        self._letters = letters_for(titles)
        self._now = sorted_by
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """A line per column."""
        with Vertical(classes="dialog"):
            yield Static("Sort by", classes="title")
            options = [Option(f"{_AS_GIVEN}  as listed: by name, then source", id="")]
            for letter, title in self._letters.items():
                arrow = ""
                if self._now is not None and self._now[0] == title:
                    arrow = self._glyphs.down if self._now[1] else self._glyphs.up
                options.append(Option(f"{letter}  {title.lower():<10} {arrow}", id=title))
            yield OptionList(*options, compact=True, markup=False)
            hint = "A capital letter sorts downwards, and so does choosing the same again."
            yield Static(hint, classes="consequence")

    def on_key(self, event: events.Key) -> None:
        """A column's letter."""
        letter = event.character or ""
        if not self.is_current:
            event.stop()  # typed behind the letter that answered
        elif letter == _AS_GIVEN:
            event.stop()
            self.dismiss(("", False))
        elif letter.lower() in self._letters:
            event.stop()
            self._choose(self._letters[letter.lower()], down=letter.isupper())

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(event.option_id or "", down=False)

    def _choose(self, title: str, *, down: bool) -> None:
        again = bool(title) and self._now == (title, False)
        self.dismiss((title, down or again))

    def action_close(self) -> None:
        """Leave the order as it is."""
        self.dismiss(None)


_FREE: Final = "abcdefghilmnoprstuvwxyz"
"""All letters but j and k, which move, and q, which closes."""


def letters_for(titles: Sequence[str]) -> dict[str, str]:
    """A letter of each title that no title before it took."""
    letters: dict[str, str] = {}
    for title in titles:
        for letter in (*title.lower(), *_FREE):
            if letter in _FREE and letter not in letters:
                letters[letter] = title
                break
    return letters
