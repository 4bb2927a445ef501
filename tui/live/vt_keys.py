"""Keys of this terminal as what a terminal of the VT family sends. Pure."""

from __future__ import annotations

from typing import Final

from tui.live.typed import character_of

_SENT: Final = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H",
    "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "insert": "\x1b[2~",
    "delete": "\x1b[3~", "escape": "\x1b", "enter": "\r", "tab": "\t", "backspace": "\x7f",
    "shift+tab": "\x1b[Z", "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS",
    "f5": "\x1b[15~", "f6": "\x1b[17~", "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~",
    "f10": "\x1b[21~", "f11": "\x1b[23~", "f12": "\x1b[24~",
}  # fmt: skip
"""Source: XTerm Control Sequences, PC-style function keys."""
_CURSOR: Final = frozenset({"up", "down", "right", "left", "home", "end"})


def sent(key: str, character: str | None, *, application_cursor: bool = False) -> str:
    """What a key sends; nothing when a terminal has no such key.

    Args:
        key: Textual's name of it.
        character: What it writes.
        application_cursor: DECCKM is set.
    """
    *modifiers, base = key.split("+")
    if key in _SENT:
        code = _SENT[key]
        return f"\x1bO{code[2:]}" if application_cursor and base in _CURSOR else code
    escape = "\x1b" if "alt" in modifiers else ""
    if "ctrl" in modifiers:
        char = character_of(base).upper().replace(" ", "@")
        return f"{escape}{chr(ord(char) & 0x1F)}" if len(char) == 1 and "?" < char < "`" else ""
    if base in _SENT and escape:
        return escape + _SENT[base]
    char = character or character_of(base)
    return f"{escape}{char}" if len(char) == 1 else ""
