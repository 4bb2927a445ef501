"""A person's keyboard as a guest's, key for key: where a terminal tells presses and releases.

A key is passed on by its place, as any viewer does, so what it writes is the guest's own affair.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tui.driver import GuestKey
from tui.live.typed import NAMED, Typed

CTRL: Final = 4
_PLACES: Final = frozenset("`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./<")
"""What the keys of a US keyboard write alone, and the one beside Shift that others have."""
_SIDES: Final = {"shift": "shift", "control": "ctrl", "alt": "alt", "super": "meta_l"}
_KEYPAD: Final = (
    *(f"kp_{number}" for number in range(10)),
    "kp_decimal", "kp_divide", "kp_multiply", "kp_subtract", "kp_add", "kp_enter", "kp_equals",
    "kp_comma", "kp_4", "kp_6", "kp_8", "kp_2", "kp_9", "kp_3", "kp_7", "kp_1", "kp_0",
    "kp_decimal",
)  # fmt: skip
"""From 57399 on, with and then without Num Lock. Source: the protocol's functional key codes."""
_FIRST_OF_KEYPAD: Final = 57399
_OTHERS: Final = {
    "caps_lock": "caps_lock", "scroll_lock": "scroll_lock", "num_lock": "num_lock",
    "print_screen": "print", "pause": "pause", "menu": "compose", "kp_begin": "kp_5",
    "iso_level3_shift": "alt_r",
    **{f"left_{side}": key for side, key in _SIDES.items()},
    **{f"right_{side}": f"{key.removesuffix('_l')}_r" for side, key in _SIDES.items()},
}  # fmt: skip
"""Textual's names of keys that old terminals do not tell, and QEMU's."""


@dataclass(frozen=True, slots=True)
class Move:
    """A guest's key goes down, or up."""

    key: str
    down: bool


class Keyboard:
    """Which keys are held down."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], str] = {}

    def heard(self, key: GuestKey) -> Move | Typed | None:
        """What that means to the guest.

        A release is one of what was pressed, whatever has become of the modifiers; one of a key
        that was not pressed means nothing.
        """
        which = (key.name, key.code)
        if not key.down:
            name = self._held.pop(which, None)
            return Move(name, down=False) if name else None
        name = _place(key)
        if not name:
            return Typed(text=key.text) if key.text else None
        self._held[which] = name
        return Move(name, down=True)

    def let_go(self) -> list[Move]:
        """Have none held down; the last one goes up first."""
        moves = [Move(name, down=False) for name in reversed(self._held.values())]
        self._held.clear()
        return moves


def is_leader(key: GuestKey) -> bool:
    """Whether it is Ctrl-], or Ctrl and the key that is there on a US keyboard."""
    return key.down and bool(key.modifiers & CTRL) and ord("]") in (key.code, key.base)


def _place(key: GuestKey) -> str:
    """QEMU's name of the key; empty when there is none in that place."""
    on_pad = key.code - _FIRST_OF_KEYPAD
    if 0 <= on_pad < len(_KEYPAD):
        return _KEYPAD[on_pad]
    if key.name:
        return NAMED.get(key.name) or _OTHERS.get(key.name, "")
    char = chr(key.base or key.code)
    if char == " ":
        return "spc"
    return char if char in _PLACES else ""
