"""Marks that go with words. Ambiguous-width marks need a locale that draws them one cell wide."""

from __future__ import annotations

import os
from typing import Final, NamedTuple


class Glyphs(NamedTuple):
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
    up: str
    down: str
    mark: str


UNICODE: Final = Glyphs("●", "◐", "○", "✗", "↻", "◌", "◈", "▌", "·", "…", "▲", "▼", "✓")
ASCII: Final = Glyphs("*", "=", "-", "!", "~", "?", "#", ">", ".", "~", "^", "v", "+")


def for_locale() -> Glyphs:
    """The marks this locale can draw one cell wide; ascii in `C` and where East Asian."""
    name = next((v for v in map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG")) if v), "C")
    language, _, encoding = name.partition(".")
    utf8 = encoding.lower().replace("-", "").startswith("utf8")
    return UNICODE if utf8 and language[:2] not in ("ja", "ko", "zh") else ASCII


def chosen(name: str) -> Glyphs:
    """`unicode`, `ascii`, or what the locale can draw."""
    return {"unicode": UNICODE, "ascii": ASCII}.get(name) or for_locale()
