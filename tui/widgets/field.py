"""A line one types into; it does not blink, so that a still screen sends nothing."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input

_ACTIONS: Final = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
    if key != "enter"
}
"""What keys do to what is written, such as backspace."""


class Field(Input):
    """One line high; typing goes on where the text ends."""

    virtual_size = Reactive(Size(0, 0))
    """What is written may be wider than what is seen; unlike Textual's, no screen is laid out anew
    for that, since no field is as wide as its text."""

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        id: str | None = None,  # noqa: A002 - Textual's name for it
    ) -> None:
        super().__init__(value, placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        """A burst of letters and backspaces counts in its order.

        Textual looks for a binding's action only once the key has been up to the app and back, and
        by then the letters behind it are written.
        """
        if (action := _ACTIONS.get(event.key)) is not None:
            event.stop()
            event.prevent_default()
            await self.run_action(action)
