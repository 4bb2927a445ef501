"""Texts and keys by name, in the codes that SPICE sends."""

from __future__ import annotations

from typing import Final

from broker.errors import UsageError
from broker.spice.wire import scancode
from broker.vm.keyboard import chord, chords
from broker.vm.layouts import KEYS

_ROWS: Final = (0x29, 0x10, 0x1E, 0x2C)
"""Where the keys of each row begin, in PC XT set 1."""
_OTHERS: Final = {
    "esc": 0x01, "backspace": 0x0E, "tab": 0x0F, "ret": 0x1C, "ctrl": 0x1D, "shift": 0x2A,
    "backslash": 0x2B, "shift_r": 0x36, "asterisk": 0x37, "kp_multiply": 0x37, "alt": 0x38,
    "spc": 0x39, "caps_lock": 0x3A, "num_lock": 0x45, "scroll_lock": 0x46, "kp_7": 0x47,
    "kp_8": 0x48, "kp_9": 0x49, "kp_subtract": 0x4A, "kp_4": 0x4B, "kp_5": 0x4C, "kp_6": 0x4D,
    "kp_add": 0x4E, "kp_1": 0x4F, "kp_2": 0x50, "kp_3": 0x51, "kp_0": 0x52, "kp_decimal": 0x53,
    "sysrq": 0x54, "less": 0x56, "f11": 0x57, "f12": 0x58,
    **{f"f{number}": 0x3A + number for number in range(1, 11)},
}  # fmt: skip
"""By QEMU's names. Source: PC XT set 1, as in QEMU's qapi/ui.json and its keymaps."""
_EXTENDED: Final = {
    "kp_enter": 0x1C, "ctrl_r": 0x1D, "kp_divide": 0x35, "print": 0x37, "alt_r": 0x38,
    "home": 0x47, "up": 0x48, "pgup": 0x49, "left": 0x4B, "right": 0x4D, "end": 0x4F,
    "down": 0x50, "pgdn": 0x51, "insert": 0x52, "delete": 0x53, "meta_l": 0x5B, "meta_r": 0x5C,
    "compose": 0x5D,
}  # fmt: skip


def _codes() -> dict[str, int]:
    codes = {}
    for begin, row in zip(_ROWS, KEYS, strict=True):
        first, *rest = row
        codes[first] = begin
        start = 0x02 if begin == _ROWS[0] else begin + 1
        codes |= {key: start + place for place, key in enumerate(rest)}
    codes |= _OTHERS
    plain = {key: scancode(code) for key, code in codes.items()}
    return plain | {key: scancode(code, extended=True) for key, code in _EXTENDED.items()}


_CODES: Final = _codes()


def keys_for(text: str, layout: str = "us") -> list[list[int]]:
    """The keys to press together for each character, for a guest with that layout.

    Raises:
        UsageError: A character has no place on that keyboard, or there is no such layout.
    """
    return [[_CODES[key] for key in each] for each in chords(text, layout)]


def chord_for(text: str) -> list[int]:
    """The keys of a combination such as `ctrl-alt-delete`.

    Raises:
        UsageError: There is no such key, or SPICE has no code for it.
    """
    keys = chord(text)
    for key in keys:
        if key not in _CODES:
            raise UsageError(f"{key} cannot be sent by SPICE", fix="Leave that key out")
    return [_CODES[key] for key in keys]
