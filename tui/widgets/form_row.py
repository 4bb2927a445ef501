"""One line of a form: what it is called, what was chosen or typed, and what is wrong with it."""

from __future__ import annotations

from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from tui.forms import IN_VARIABLE, NONE, TYPED, Filled, Kind, Spec
from tui.widgets.choice import Choice
from tui.widgets.field import Field

_HINTS: Final = {TYPED: "", "file": "a file that holds it", IN_VARIABLE: "a variable's name"}
KEPT: Final = "kept; type to replace"


class FormRow(Vertical):
    """A field of a form."""

    class Changed(Message):
        """Something else is in it now."""

        def __init__(self, row: FormRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, spec: Spec, held: Filled) -> None:
        super().__init__(id=f"row-{spec.key}")
        self.spec = spec
        self.touched = False
        """Somebody changed it."""
        self._begun = held

    def compose(self) -> ComposeResult:
        """A line, and under it room for a mistake."""
        spec, held = self.spec, self._begun
        with Horizontal(classes="field"):
            yield Label(f"{spec.title}{' *' if spec.needed else ''}")
            if spec.kind not in (Kind.FLAG, Kind.CHOICE):
                field = Field(held.text, placeholder=self._hint(held.way), id=f"{spec.key}-field")
                field.password = self._hides(held.way)
                field.display = held.way != NONE
                yield field
            if spec.words:
                choice = Choice(spec.words, id=f"{spec.key}-choice")
                choice.choose(held.way or spec.words[0])
                choice.set_class(spec.kind is Kind.SECRET, "-way")
                yield choice
        yield Static("", classes="wrong", markup=False)

    @property
    def held(self) -> Filled:
        """What is in it."""
        way = self.query_one(Choice).value if self.spec.words else ""
        fields = self.query(Field)
        return Filled(fields.first().value if fields else "", way, self._begun.kept)

    def put(self, text: str) -> None:
        """Have that in it."""
        self.query_one(Field).value = text

    def say(self, wrong: str) -> None:
        """What is wrong; nothing when all is well."""
        line = self.query_one(".wrong", Static)
        line.update(wrong)
        line.set_class(bool(wrong), "-said")

    def begin(self) -> None:
        """To its first part. The next key may be here already."""
        first = self.query_one(Choice) if not self.query(Field) else self.query_one(Field)
        self.screen.set_focus(first)

    def _hides(self, way: str) -> bool:
        return self.spec.kind is Kind.SECRET and way == TYPED

    def _hint(self, way: str) -> str:
        if self._begun.kept and way in ("", TYPED):
            return KEPT
        return _HINTS.get(way) or self.spec.default

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        event.stop()
        self.touched = True
        for field in self.query(Field):
            field.placeholder = self._hint(event.value)
            field.password = self._hides(event.value)
            field.display = event.value != NONE
        self.post_message(self.Changed(self))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._begun.text:
            self.touched = True
        self.post_message(self.Changed(self))
