"""What is on the screen, as text: a line of characters and a line of style letters per row.

Blind to where segments begin and to the colour of blanks, so that only what can be seen counts.
"""

from __future__ import annotations

import os
from pathlib import Path

from rich.style import Style

from tui.app import BrokerApp

GOLDEN = Path(__file__).parent / "golden"


def text(app: BrokerApp) -> str:
    """The characters alone."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def dump(app: BrokerApp) -> str:
    """Characters and styles, with a legend of the styles."""
    letters: dict[tuple[object, ...], str] = {}
    lines: list[str] = []
    for strip in app.screen._compositor.render_strips():
        characters, styles = "", ""
        for piece, style, _ in strip:
            for character in piece:
                look = _look(character, style)
                characters += character
                styles += letters.setdefault(look, _letter(len(letters)))
        lines += [f"|{characters.rstrip()}", f" {styles.rstrip(letters.get(_BLANK, ' '))}"]
    legend = [f"{letter} = {' '.join(map(str, look))}" for look, letter in letters.items()]
    return "\n".join([*lines, *legend, ""])


_BLANK = ("blank",)


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else chr(ord("A") + place - 26)


def _look(character: str, style: Style | None) -> tuple[object, ...]:
    if style is None:
        return _BLANK
    background = style.bgcolor.name if style.bgcolor else "default"
    if character == " " and not (style.reverse or style.underline):
        return ("blank", background)
    colour = style.color.name if style.color else "default"
    marks = [
        mark for mark in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, mark)
    ]
    return (colour, "on", background, *marks)


def check(app: BrokerApp, name: str) -> None:
    """Compare with the golden file; `UPDATE_GOLDEN=1` writes it."""
    path = GOLDEN / f"{name}.txt"
    now = dump(app)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8"), f"{path.name}: UPDATE_GOLDEN=1 if it is right"
