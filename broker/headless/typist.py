"""Text as keys of a US keyboard, in the codes that SPICE sends."""

from __future__ import annotations

from typing import Final

from broker.spice.wire import scancode
from broker.vm.keyboard import chords
from broker.vm.layouts import KEYS

_ROWS: Final = (0x29, 0x10, 0x1E, 0x2C)
"""Where the keys of each row begin, in PC XT set 1."""
_OTHERS: Final = {
    "backslash": 0x2B,
    "less": 0x56,
    "spc": 0x39,
    "ret": 0x1C,
    "tab": 0x0F,
    "shift": 0x2A,
}


def _codes() -> dict[str, int]:
    codes = {}
    for begin, row in zip(_ROWS, KEYS, strict=True):
        first, *rest = row
        codes[first] = begin
        start = 0x02 if begin == _ROWS[0] else begin + 1
        codes |= {key: start + place for place, key in enumerate(rest)}
    codes |= _OTHERS
    return {key: scancode(code) for key, code in codes.items()}


_CODES: Final = _codes()


def keys_for(text: str) -> list[list[int]]:
    """The keys to press together for each character, for a guest with a US layout.

    Raises:
        UsageError: A character has no place on that keyboard.
    """
    return [[_CODES[key] for key in chord] for chord in chords(text, "us")]
