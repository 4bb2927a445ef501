"""What `Ctrl-]` opens over a guest's screen: the keys that are ours, one letter each."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

ENTRIES: Final = (
    (".", "leave", "Leave"),
    ("]", "bracket", "Send a real Ctrl-]"),
    ("d", "delete", "Send Ctrl-Alt-Delete"),
    ("f", "function", "Send Ctrl-Alt-F1 to F12: then its number"),
    ("p", "paste", "Type the text that is pasted next"),
    ("k", "layout", "Keyboard layout of the guest"),
    ("c", "copy", "Copy the screen's text"),
    ("s", "shot", "Save a screenshot"),
    ("z", "zoom", "Zoom: all of it, or one pixel for one"),
    ("+", "closer", "Closer; Ctrl and the wheel, too"),
    ("-", "farther", "Farther; the arrows move what is shown"),
    ("m", "mouse", "Mouse to the guest, on or off"),
    ("r", "control", "Look on only, or take the keyboard"),
    ("o", "viewer", "Open it in a viewer"),
)
"""Key, what it does, and how it is said."""
ARROWS: Final = ("left", "right", "up", "down")
_NAMES: Final = {".": "full_stop", "]": "right_square_bracket", "+": "plus", "-": "minus"}


class LeaderScreen(ModalScreen[str]):
    """One letter deep; keys go nowhere until it is closed."""

    CSS_PATH = "../styles/live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                _NAMES.get(key, key),
                f"choose('{what}')",
                show=False,
            )
            for key, what, _ in ENTRIES
        ),
        *(Binding(arrow, f"choose('{arrow}')", show=False, priority=True) for arrow in ARROWS),
        Binding("ctrl+right_square_bracket", "choose('bracket')", show=False),
        Binding("escape,q", "choose('')", show=False),
    ]

    def __init__(self, name: str, offered: frozenset[str]) -> None:
        """Offer some of the entries; the others are dimmed."""
        super().__init__()
        self._machine = name
        self._offered = offered

    def compose(self) -> ComposeResult:
        """The letters."""
        with Vertical(classes="dialog"):
            yield Static(self._machine, classes="title", markup=False)
            yield OptionList(
                *(
                    Option(f"{key}  {label}", id=what, disabled=what not in self._offered)
                    for key, what, label in ENTRIES
                ),
                markup=False,
            )

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.action_choose(event.option.id or "")

    def action_choose(self, what: str) -> None:
        """Close, and do it."""
        if not what or what in self._offered or what in ARROWS:
            self.dismiss(what)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Arrows move what is shown, where not all of it is; else they go through the menu."""
        return "pan" in self._offered if parameters and parameters[0] in ARROWS else True
