"""The line one types a filter into, and how many rows it leaves."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.cells import cell_len
from textual import events, on
from textual._time import get_time
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

from tui.widgets.field import Field

LAGS_SECONDS: Final = 0.01
"""A letter that waited longer is one of a burst: the list follows once, behind the last."""


class FilterInput(Field):
    """Enter, down and escape go back to the list, with whatever was typed behind them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,down,enter", "leave", "To the list", show=False, id="filter.leave")
    ]

    def action_leave(self) -> None:
        """Give the focus back."""
        self._leave()

    def _leave(self) -> None:
        leave = getattr(self.screen, "leave_filter", None)
        if leave is not None:
            leave()

    async def _on_key(self, event: events.Key) -> None:
        if self.screen.focused is not self:  # `has_focus` lags behind
            # Typed in one burst with the key that left: it is meant for the list.
            event.stop()
            event.prevent_default()
            if await self.app._check_bindings(event.key, priority=True):
                return  # the app let it pass as a letter, when this still had the focus
            if self.screen.focused is not None:
                self.screen.focused._forward_event(events.Key(event.key, event.character))
        elif event.key in ("escape", "down", "enter"):
            event.stop()
            event.prevent_default()
            self._leave()
        else:
            await super()._on_key(event)
            self.call_next(self._settle, event)  # when Textual's Input has written the letter

    def _settle(self, key: events.Key) -> None:
        """Have the list follow before this letter is painted: both are one picture then."""
        settle = getattr(self.screen, "settle", None)
        if settle is not None and get_time() - key.time < LAGS_SECONDS:
            settle()


class FilterBar(Horizontal):
    """`/`, an input, a count."""

    class Changed(Message):
        """Another filter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

        def can_replace(self, message: Message) -> bool:
            """Only the newest text matters."""
            return isinstance(message, FilterBar.Changed)

    def __init__(self, example: str) -> None:
        """Offer `example` while it is empty."""
        super().__init__()
        self._example = example
        self._room = 0
        self._said = ""

    def compose(self) -> ComposeResult:
        """A prompt, an input, a count."""
        yield Label("/", classes="prompt")
        yield FilterInput(placeholder=self._example)
        yield Label("", classes="count", markup=False)

    @property
    def input(self) -> Input:
        """Where one types."""
        return self.query_one(FilterInput)

    @property
    def text(self) -> str:
        """The filter as typed."""
        return self.input.value

    def write(self, text: str) -> None:
        """Put another filter there."""
        self.input.value = text

    def count(self, text: str) -> None:
        """Say how many rows are left."""
        if text == self._said:
            return
        self._said = text
        label = self.query_one(".count", Label)
        grows = (room := cell_len(text)) > self._room
        if grows:  # it never shrinks: each layout costs as much as painting the whole screen
            self._room = room
            label.styles.min_width = room + label.gutter.width
        label.update(text, layout=grows)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))
