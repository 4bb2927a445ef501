"""A line one types into; it does not blink, so that a still screen sends nothing."""

from __future__ import annotations

from textual.widgets import Input


class Field(Input):
    """One line high; typing goes on where the text ends."""

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        id: str | None = None,  # noqa: A002 - Textual's name for it
    ) -> None:
        super().__init__(value, placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self.cursor_blink = False
