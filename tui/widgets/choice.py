"""One of a few words, changed with left and right: a form field without a pop-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Choice(Widget, can_focus=True):
    """`[auto] kvm  tcg`: all words are in sight, the chosen one between the marks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "step(-1)", "Previous", show=False, id="choice.previous"),
        Binding("right,l,space", "step(1)", "Next", show=False, id="choice.next"),
    ]

    class Changed(Message):
        """Another word is chosen."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    place: reactive[int] = reactive(0)
    """Which word is chosen."""

    def __init__(self, words: Sequence[str], *, id: str) -> None:  # noqa: A002 - Textual's name
        """Choose among `words`, the first one first."""
        super().__init__(id=id)
        self._words = tuple(words)

    @property
    def value(self) -> str:
        """The chosen word."""
        return self._words[self.place]

    def choose(self, word: str) -> None:
        """Choose that word."""
        self.place = self._words.index(word)

    def watch_place(self, before: int, now: int) -> None:
        """Tell whoever asked."""
        if before != now and self.is_mounted:
            self.post_message(self.Changed(self.value))

    def render(self) -> str:
        """All words, the chosen one marked."""
        return " ".join(
            f"\\[{word}]" if index == self.place else f" {word} "
            for index, word in enumerate(self._words)
        )

    def action_step(self, by: int) -> None:
        """The next word, around the end."""
        self.place = (self.place + by) % len(self._words)

    @on(events.Click)
    def _click(self, event: events.Click) -> None:
        at = 0
        for index, word in enumerate(self._words):
            at += len(word) + 3
            if event.x < at:
                self.place = index
                return
