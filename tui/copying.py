"""Text to the clipboard of whoever looks at the terminal."""

from __future__ import annotations

from typing import Any, Final

from textual.app import App

HOW_SECONDS: Final = 15.0
"""How long the way to copy stays: it is done while one reads it."""


def copy(app: App[Any], text: str) -> None:
    """Have the terminal take it, over ssh too (OSC 52), and say so; a browser's would not."""
    if app.is_web:
        app.notify(
            "In a browser, select the text with the mouse and Shift held, and copy that",
            title="Not copied",
            severity="warning",
            timeout=HOW_SECONDS,
        )
        return
    app.copy_to_clipboard(text)
    app.notify("Sent to the terminal's clipboard", title="Copied")
