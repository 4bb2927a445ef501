"""Lines, corners and arrows in ASCII, for terminals that draw others two cells wide, or not at all.

Marks of ours have a set of their own (`glyphs`); this is for what Textual draws: borders, the ends
of scrollbars, what was cut off. A cell stays a cell.
"""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ASCII: Final = str.maketrans(
    {
        **dict.fromkeys("─━▔▀", "-"),
        **dict.fromkeys("│┃▌▐▎▊▏▕┆┊", "|"),
        **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝", "+"),
        **dict.fromkeys("▁▂▃▄▅▆▇", "_"),
        "█": "#",
        "…": "~",
        "•": "*",
        "↑": "^",
        "↓": "v",
        "→": ">",
        "←": "<",
    }
)


class Plain(LineFilter):
    """Draws with what every terminal has."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same, cell by cell."""
        return [
            Segment(text if text.isascii() else text.translate(_ASCII), style, control)
            for text, style, control in segments
        ]
