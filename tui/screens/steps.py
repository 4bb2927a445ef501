"""What a look into a source found, step by step, and whether to go on in spite of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from broker import human
from broker.findings import Mark, Step
from tui.glyphs import Glyphs


class StepsScreen(ModalScreen[bool]):
    """Dismissed with whether the entry is to be written although a step failed."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "anyway", "Write anyway", id="steps.anyway"),
        Binding("escape,q,enter", "close", "Close", id="steps.close"),
    ]

    def __init__(
        self, name: str, steps: Sequence[Step], glyphs: Glyphs, *, anyway: bool = False
    ) -> None:
        super().__init__()
        self._name_of = human.one_line(name)
        self._steps = steps
        self._glyphs = glyphs
        self._may = anyway

    def compose(self) -> ComposeResult:
        """A line per step; what to do about the one that failed."""
        well = not any(step.finding.mark is Mark.FAIL for step in self._steps)
        with Vertical(classes="dialog"):
            title = f"{self._name_of} {'answers' if well else 'does not work as it is'}"
            yield Static(title, classes="title", markup=False)
            with VerticalScroll(classes="steps", can_focus=False):
                yield Static(steps_text(self._steps, self._glyphs), classes="names")
            with Horizontal(classes="buttons"):
                if self._may:
                    yield Button("Write anyway  w", id="anyway", variant="error", compact=True)
                yield Button("Back  Esc", id="close", compact=True)

    def on_mount(self) -> None:
        """The safe answer first."""
        self.set_focus(self.query_one("#close", Button))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "anyway")

    def action_anyway(self) -> None:
        """Write it all the same."""
        if self._may:
            self.dismiss(True)

    def action_close(self) -> None:
        """Write nothing."""
        self.dismiss(False)


def steps_text(steps: Sequence[Step], glyphs: Glyphs) -> Text:
    """Steps as people read them."""
    text = Text()
    for step in steps:
        finding = step.finding
        mark = {Mark.OK: glyphs.on, Mark.WARN: glyphs.half, Mark.FAIL: glyphs.bad}[finding.mark]
        word = {Mark.OK: "", Mark.WARN: "odd: ", Mark.FAIL: "broken: "}[finding.mark]
        text.append(f"{mark} {step.name}  ", "bold")
        text.append(f"{word}{human.one_line(finding.words)}\n")
        if finding.fix:
            text.append(f"  Fix: {human.one_line(finding.fix)}\n")
    return text
