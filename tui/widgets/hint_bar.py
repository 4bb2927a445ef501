"""The last line: what can be pressed here and now."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen
from textual.widgets import Input

from tui import keys
from tui.act import display
from tui.widgets.line import Line, Piece


class HintBar(Line):
    """Keys of the screen, dimmed where they cannot be used now; quit and help stay.

    Textual's Footer cuts off what does not fit, `?` first; this one leaves out whole hints.
    """

    def __init__(self, dimmed: Callable[[keys.Act], bool]) -> None:
        """Show hints; `dimmed` tells which cannot be used on the selected row."""
        super().__init__()
        self._dimmed = dimmed

    def on_mount(self) -> None:
        """Follow the bindings: they change with the focus and with the selected row."""
        self.screen.bindings_updated_signal.subscribe(self, self._update)

    def _update(self, _: Screen[object]) -> None:
        self.refresh()

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """Hints in the order of the screen's own list, then the app's; while one types, of that."""
        if isinstance(self.screen.focused, Input):
            return [
                Piece(f" {display('enter')}", "key", keep=1),
                Piece(" To the list ", keep=1),
                Piece(f" {display('ctrl+u')}", "key", keep=0),
                Piece(" Empty it ", keep=0),
            ], []
        here = {
            active.binding.id: active.node
            for active in self.screen.active_bindings.values()
            if active.binding.id in keys.BY_ID and active.binding.show
        }
        pinned = keys.PINNED
        if keys.CLOSE.id in here:  # it has the key that quits elsewhere
            pinned = (keys.CLOSE, keys.HELP)
            here.pop(keys.QUIT.id, None)
        left: list[Piece] = []
        right: list[Piece] = []
        for place, (id_, node) in enumerate(here.items()):
            act = keys.BY_ID[id_ or ""]
            key_tone, label_tone = ("dim", "dim") if self._dimmed(act) else ("key", "text")
            action = ("screen." if isinstance(node, Screen) else "app.") + act.action
            keep = 1 if act in pinned else -place
            hint = [
                Piece(f" {act.sign}", key_tone, action, keep),
                Piece(f" {act.label} ", label_tone, action, keep),
            ]
            (right if act in pinned else left).extend(hint)
        return left, right
