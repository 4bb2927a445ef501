"""One thing a person can do, and the keys that do it now."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from textual.binding import Binding

_NAMES: Final = {
    "enter": "⏎",
    "escape": "Esc",
    "plus": "+",
    "minus": "-",
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "space": "Space",
    "asterisk": "*",
    "comma": ",",
    "full_stop": ".",
    "exclamation_mark": "!",
    "backspace": "Bksp",
    "left": "←",
    "right": "→",
    "delete": "Del",
    "tab": "Tab",
    "up": "↑",
    "down": "↓",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
}


class Act(NamedTuple):
    """One thing a person can do.

    Attributes:
        id: `area.verb`, stable.
        action: Textual's action string.
        key: Comma-separated keys; the first one is shown.
        label: A word or two, for the hint bar and the palette.
        help: A sentence, for the palette, the help screen and the docs.
        show: In the hint bar; all are in the help.
        needs: Acts on the selected row, so the palette offers it per row.
    """

    id: str
    action: str
    key: str
    label: str
    help: str
    show: bool = True
    priority: bool = False
    needs: bool = False

    @property
    def key_now(self) -> str:
        """Its keys, as the person wants them."""
        return REMAPPED.get(self.id, self.key)

    def binding(self) -> Binding:
        """Textual's form of it."""
        return Binding(
            self.key_now,
            self.action,
            self.label,
            show=self.show,
            priority=self.priority,
            tooltip=self.help,
            id=self.id,
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, as people read them."""
        return tuple(display(key) for key in self.key_now.split(","))

    @property
    def sign(self) -> str:
        """The first of them: what messages and hints name."""
        return self.keys[0]


REMAPPED: dict[str, str] = {}
"""Other keys, by id; `keymap` fills it."""


_VERB: Final = re.compile(r"(?:verb|choose)\('(\w+)'\)")


def verb_of(act: Act) -> str:
    """The verb that an act does to a machine (`allowed.why_not`); empty where it does none."""
    found = _VERB.fullmatch(act.action)
    return found[1] if found else ""


def display(key: str) -> str:
    """A key as people read it: `⏎`, `Esc`, `^p`, `G`."""
    if key.startswith("ctrl+"):
        return f"^{key.removeprefix('ctrl+')}"
    if key.startswith("shift+"):
        return f"Shift-{display(key.removeprefix('shift+'))}"
    if key[:1] == "f" and key[1:].isdecimal():
        return key.upper()
    return _spelt.get(key) or _NAMES.get(key, key)


_spelt: dict[str, str] = {}


def spell(*, out: bool) -> None:
    """Whether keys that have a sign are written as words: where only ASCII can be drawn."""
    _spelt.clear()
    if out:
        _spelt.update({key: key.capitalize() for key in ("enter", "up", "down", "left", "right")})
