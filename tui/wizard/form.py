"""The fields of one group, each with room under it for what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Label, Static

from broker import human
from tui.widgets.choice import Choice
from tui.widgets.field import Field
from tui.wizard.items import Document, Item


class GroupForm(VerticalScroll, can_focus=False):
    """Shows a document and tells what a person makes of it; never changes it."""

    class Typed(Message):
        """A field says something else."""

        def __init__(self, item: Item, text: str) -> None:
            super().__init__()
            self.item = item
            self.text = text

    def __init__(self, items: Sequence[Item], *, editing: bool, hints: Mapping[str, str]) -> None:
        """These fields; `editing` holds those that are not to be changed, `hints` replaces some."""
        super().__init__()
        self._items = {item.id: item for item in items}
        self._editing = editing
        self._hints = hints
        self._shown: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """A line per field."""
        for item in self._items.values():
            with Horizontal(classes="field"):
                yield Label(item.label)
                if item.words:
                    yield Choice(item.words, id=item.id)
                else:
                    held = self._editing and not item.edits
                    hint = self._hints.get(item.id, item.hint)
                    field = Field(id=item.id, placeholder=hint)
                    field.disabled = held
                    yield field
            yield Static("", id=f"{item.id}-wrong", classes="wrong", markup=False)

    def on_mount(self) -> None:
        """Follow the choices."""
        for choice in self.query(Choice):
            self.watch(choice, "place", partial(self._chosen, choice), init=False)

    def show(self, document: Document) -> None:
        """What the document says."""
        for item in self._items.values():
            text = self._shown[item.id] = item.read(document)
            if item.words:
                self.query_one(f"#{item.id}", Choice).choose(text)
            else:
                self.query_one(f"#{item.id}", Input).value = text

    def tell(self, wrong: Mapping[str, str]) -> None:
        """What is wrong, by field."""
        for id_ in self._items:
            line = self.query_one(f"#{id_}-wrong", Static)
            text = wrong.get(id_, "")
            line.update(human.one_line(text) if text else "")
            line.set_class(bool(text), "-said")

    def untold(self) -> list[tuple[Item, str]]:
        """What fields say by now that was not told yet."""
        found = []
        for item in self._items.values():
            if item.words:
                text = self.query_one(f"#{item.id}", Choice).value
            else:
                text = self.query_one(f"#{item.id}", Input).value
            if self._shown.get(item.id) != text:
                self._shown[item.id] = text
                found.append((item, text))
        return found

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._said(event.input.id or "", event.value)

    def _chosen(self, choice: Choice) -> None:
        self._said(choice.id or "", choice.value)

    def _said(self, id_: str, text: str) -> None:
        if self._shown.get(id_) != text:
            self._shown[id_] = text
            self.post_message(self.Typed(self._items[id_], text))
