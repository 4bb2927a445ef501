"""Where each character is on a keyboard of each layout: what to press so that a guest reads it.

QEMU sends keys, not characters; which character a key gives is the guest's affair. So a text can
only be typed for a guest whose layout is known.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

from broker.errors import UsageError
from broker.human import did_you_mean

Chord = tuple[str, ...]
"""Keys pressed together, by QEMU's names, in the order they go down."""

KEYS: Final = (
    ["grave_accent", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "minus", "equal"],
    ["q", "w", "e", "r", "t", "y", "u", "i", "o", "p", "bracket_left", "bracket_right"],
    ["a", "s", "d", "f", "g", "h", "j", "k", "l", "semicolon", "apostrophe", "backslash"],
    ["z", "x", "c", "v", "b", "n", "m", "comma", "dot", "slash", "less"],
)
"""The keys of a row of layouts.txt, by their places on a US keyboard; `less` is beside Shift."""

LEVELS: Final[tuple[Chord, ...]] = ((), ("shift",), ("alt_r",))
EVERYWHERE: Final[Mapping[str, tuple[Chord, ...]]] = {
    " ": (("spc",),),
    "\n": (("ret",),),
    "\t": (("tab",),),
}
NAMES: Final = {"gb": "uk", "en-us": "us", "en-gb": "uk", "sv": "se", "nb": "no", "da": "dk"}
"""Other names of layouts."""
_NOTHING: Final = "␣"
_DEAD: Final = {"ˆ": "\u0302", "ˋ": "\u0300", "ˊ": "\u0301", "˜": "\u0303", "⸚": "\u0308"}  # noqa: RUF001 - marks of layouts.txt
"""A dead key's mark → the accent it puts on the letter that follows."""
_ALONE: Final = {"ˆ": "^", "ˋ": "`", "˜": "~"}  # noqa: RUF001 - marks of layouts.txt
"""What dead keys give with a space. Others give one thing on Linux and another on Windows."""
_LATIN_1: Final = 0xFF
"""Beyond it systems differ in what a dead key and a letter make."""


def names() -> tuple[str, ...]:
    """The layouts there are."""
    return tuple(_tables())


def layout(name: str) -> Mapping[str, tuple[Chord, ...]]:
    """What to press for each character, one chord after the other.

    Raises:
        UsageError: There is no such layout; the nearest is offered.
    """
    known = _tables()
    wanted = NAMES.get(name.lower(), name.lower())
    if wanted not in known:
        raise UsageError(
            f"{name!r} is not a keyboard layout that broker knows",
            fix=did_you_mean(wanted, known) or f"Layouts are: {', '.join(known)}",
        )
    return _characters(wanted)


@functools.cache
def _tables() -> dict[str, tuple[tuple[str, ...], ...]]:
    """layouts.txt, read: the cells of each row of each layout."""
    text = resources.files("broker.vm").joinpath("layouts.txt").read_text("utf-8")
    tables: dict[str, tuple[tuple[str, ...], ...]] = {}
    for part in text.split("\n[")[1:]:
        name, _, rows = part.partition("]\n")
        tables[name] = tuple(tuple(row.split()) for row in rows.splitlines() if row)
    return tables


@functools.cache
def _characters(name: str) -> Mapping[str, tuple[Chord, ...]]:
    direct: dict[str, Chord] = {}
    for character, chord in _cells(name):
        direct.setdefault(character, chord)
    made: dict[str, tuple[Chord, ...]] = {
        **EVERYWHERE,
        **{char: (chord,) for char, chord in direct.items() if char not in _DEAD},
    }
    for character, chord in tuple(direct.items()):
        upper = character.upper()
        if chord[:1] == ("alt_r",) and character.isalpha() and len(upper) == 1:
            made.setdefault(upper, (("shift", *chord),))
    for dead, accent in _DEAD.items():
        if dead not in direct:
            continue
        if dead in _ALONE:
            made.setdefault(_ALONE[dead], (direct[dead], ("spc",)))
        for letter in [char for char in made if char.isascii() and char.isalpha()]:
            both = unicodedata.normalize("NFC", letter + accent)
            if len(both) == 1 and ord(both) <= _LATIN_1:
                made.setdefault(both, (direct[dead], *made[letter]))
    return made


def _cells(name: str) -> Iterator[tuple[str, Chord]]:
    """Every character with its chord, the easier to press first."""
    table = _tables()[name]
    for level, held in enumerate(LEVELS):
        for keys, row in zip(KEYS, table, strict=True):
            for key, cell in zip(keys, row, strict=True):
                if level < len(cell) and cell[level] != _NOTHING:
                    yield cell[level], (*held, key)
