"""Keys of this terminal as keys of a guest's keyboard. Pure.

A terminal tells characters and a few names, and no releases: so a key is sent as a whole
combination, and a character as whatever types it on the guest's layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.keys import _character_to_key

MODIFIERS: Final = {"ctrl": "ctrl", "alt": "alt", "shift": "shift", "super": "meta_l"}
NAMED: Final = {
    "enter": "ret", "escape": "esc", "backspace": "backspace", "tab": "tab", "space": "spc",
    "delete": "delete", "insert": "insert", "home": "home", "end": "end", "pageup": "pgup",
    "pagedown": "pgdn", "up": "up", "down": "down", "left": "left", "right": "right",
    **{f"f{number}": f"f{number}" for number in range(1, 13)},
}  # fmt: skip
"""Textual's names of keys, and QEMU's."""


_CHARACTERS: Final = {_character_to_key(chr(code)): chr(code) for code in range(32, 127)}
"""Textual's names of keys that write a character of ASCII, and that character."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What a key means to a guest: a character by its layout, or a combination of keys."""

    text: str = ""
    chord: str = ""


def typed(key: str, character: str | None) -> Typed | None:
    """What one key of a terminal means; None when no guest's keyboard has such a key.

    Args:
        key: Textual's name of it, such as `ctrl+c`, `a`, `F5` or `left_square_bracket`.
        character: What it writes.
    """
    *before, base = key.split("+")
    if set(before) <= {"shift"} and base not in NAMED and character and character.isprintable():
        return Typed(text=character)
    modifiers = [MODIFIERS.get(name, "") for name in before]
    name = NAMED.get(base) or _plain(base, modifiers)
    if not name or not all(modifiers):
        return None
    return Typed(chord="-".join([*modifiers, name]))


def _plain(base: str, modifiers: list[str]) -> str:
    """A key with a character on it, as a US keyboard has it; capitals take shift along."""
    char = character_of(base)
    if char == "@":  # what ctrl+space sends
        return "spc"
    if len(char) == 1 and char.isascii() and char.isupper():
        modifiers.append("shift")
        return char.lower()
    return char if len(char) == 1 and char.isascii() and char.isprintable() else ""


def character_of(key: str) -> str:
    """What a key without modifiers writes; nothing when its name says none."""
    return _CHARACTERS.get(key, key if len(key) == 1 else "")
