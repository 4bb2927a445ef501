"""The pages of the form, in one line: where one is, and where something is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tui.widgets.line import Line, Piece


class Tabs(Line):
    """Names of pages; an exclamation mark where something is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self._names: Sequence[str] = ()
        self._here = ""
        self._wrong: Collection[str] = ()

    def turn(self, names: Sequence[str], here: str, wrong: Collection[str]) -> None:
        """Show these."""
        self._names, self._here, self._wrong = names, here, wrong
        self.follow()

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """A piece per page."""
        pieces = []
        for place, name in enumerate(self._names):
            mark = "!" if name in self._wrong else " "
            tone = "here" if name == self._here else "bad" if mark == "!" else "text"
            keep = 99 if name == self._here else -place
            pieces.append(Piece(f" {name}{mark}", tone, f"screen.group('{name}')", keep))
        return pieces, []
