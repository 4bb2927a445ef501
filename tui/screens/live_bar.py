"""The one line of a live view that is not the guest's."""

from __future__ import annotations

from typing import Final

from broker import human
from tui.widgets.fit import clip
from tui.widgets.line import Line, Piece

LEAST_NAME: Final = 8
"""Cells of the name that are shown however narrow it is."""


class LiveBar(Line):
    """The only line that is not the guest's; it says who has the keyboard."""

    DEFAULT_CSS = "LiveBar { height: 1; }"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._machine = human.one_line(name)
        self._said: tuple[str, ...] = ("opening",)
        self._keyboard = ""

    def say(self, keyboard: str, *words: str) -> None:
        """Show these, if they are others than before."""
        if (keyboard, words) != (self._keyboard, self._said):
            self._keyboard, self._said = keyboard, words
            self.refresh()

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """The machine and its picture; whose the keyboard is."""
        name = clip(self._machine, max(LEAST_NAME, self.size.width // 3))
        left = [Piece(f" {name} ", "here", keep=9)]
        left += [Piece(f" {word} ", "dim", keep=5 - at) for at, word in enumerate(self._said)]
        tone = "ok" if self._keyboard.endswith("guest") else "warn"
        right = [Piece(f" {self._keyboard} ", tone, keep=8)] if self._keyboard else []
        return left, [
            *right,
            Piece(" ^] ", "key", "screen.leader", 9),
            Piece("Menu ", "text", "screen.leader", 9),
        ]
