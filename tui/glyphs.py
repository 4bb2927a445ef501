"""Marks that go with words. Ambiguous-width marks need a locale that draws them one cell wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of marks; each is one cell wide."""

    on: str
    half: str
    off: str
    bad: str
    busy: str
    faint: str
    brand: str
    cursor: str
    none: str
    dots: str


UNICODE: Final = Glyphs("●", "◐", "○", "✗", "↻", "◌", "◈", "▌", "·", "…")
ASCII: Final = Glyphs("*", "=", "-", "!", "~", "?", "#", ">", ".", "~")
