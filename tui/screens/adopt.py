"""QEMUs that somebody else started on this host: which there are, and taking one in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from broker import human
from broker.model import FoundQemu


class AdoptScreen(ModalScreen[int]):
    """Dismissed with the process id of the one to adopt, or None."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close", id="adopt.close")
    ]

    def __init__(self, found: Sequence[FoundQemu]) -> None:
        super().__init__()
        self._found = found

    def compose(self) -> ComposeResult:
        """A line per QEMU; those that cannot be adopted say why."""
        with Vertical(classes="dialog large"):
            yield Static("QEMUs that run on this host", classes="title")
            if self._found:
                options = [
                    Option(line_of(one), id=str(one.pid), disabled=bool(one.why_not or one.machine))
                    for one in self._found
                ]
                yield OptionList(*options, compact=True, markup=False)
            else:
                yield Static("None runs that you may see.", classes="names")
            yield Static(
                "Enter takes one into the list, to see, open and stop. Esc closes.",
                classes="consequence",
            )

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(event.option_id or 0))

    def action_close(self) -> None:
        """Adopt none."""
        self.dismiss(None)


def line_of(one: FoundQemu) -> str:
    """Its name, process and screen, or why it cannot be adopted."""
    name = human.one_line(one.name) or "(without a name)"
    says = f"in the list as {one.machine}" if one.machine else one.why_not or one.screen
    return f"{name:<20} {one.pid:>7}  {human.one_line(says)}"
