"""What is on the screen, as text: a line of characters and a line of style letters per row.

Blind to where segments begin and to the colour of blanks, so that only what can be seen counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from rich.style import Style
from textual._context import visible_screen_stack
from textual.strip import Strip

from tui.app import BrokerApp

_LINE = re.compile(r"(?<=\", line )\d+")
GOLDEN = Path(__file__).parent / "golden"


def text(app: BrokerApp) -> str:
    """The characters alone."""
    return "\n".join(strip.text.rstrip() for strip in strips(app))


def strips(app: BrokerApp) -> list[Strip]:
    """The rows.

    Who renders says what lies behind a dialog; else that is blank, and is kept so.
    """
    visible_screen_stack.set(app._background_screens)
    return app.screen._compositor.render_strips()


def dump(app: BrokerApp) -> str:
    """Characters and styles, with a legend of the styles.

    The last style of a line goes on to its end, and what repeats the lines above is counted.
    """
    letters: dict[tuple[object, ...], str] = {}
    rows: list[tuple[str, str]] = []
    for strip in strips(app):
        characters, styles = "", ""
        for piece, style, _ in strip:
            for character in piece:
                look = _look(character, style)
                characters += character
                styles += letters.setdefault(look, _letter(len(letters)))
        rows.append((characters.rstrip(), styles.rstrip(styles[-1:]) + styles[-1:]))
    lines: list[str] = []
    for row, same in groupby(rows):
        lines += [f"|{row[0]}", f" {row[1]}"]
        if more := len(list(same)) - 1:
            lines.append(f"  and {more} more like it")
    legend = [f"{letter} = {' '.join(map(str, look))}" for look, letter in letters.items()]
    return "\n".join([*lines, *legend, ""])


def legend(app: BrokerApp) -> str:
    """The styles that are on the screen."""
    return "\n".join(line for line in dump(app).splitlines() if line[1:4] == " = ")


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


def check(shown: BrokerApp | Mapping[str, str], name: str) -> None:
    """Compare with a golden file; `UPDATE_GOLDEN=1` writes it.

    Args:
        shown: The app as it is, or dumps by what they are looks at.
    """
    looks = {"": dump(shown)} if isinstance(shown, BrokerApp) else shown
    path = GOLDEN / f"{name}.txt"
    now = "".join(f"== {look}\n{dumped}" for look, dumped in looks.items())
    now = _LINE.sub(lambda found: "0" * len(found[0]), now)  # a traceback's move with each change
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8"), f"{path.name}: UPDATE_GOLDEN=1 if it is right"
