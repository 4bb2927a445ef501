"""Keys for a guest: single combinations by name, and whole texts by a keyboard layout.

QEMU's `send-key` is used, which presses and releases by itself: a broker that is killed in the
middle leaves no key down. QEMU queues what it cannot deliver yet and drops what does not fit, so
we wait out the time that a few keys take before we send more.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final

from broker.errors import UsageError
from broker.human import did_you_mean
from broker.vm import layouts
from broker.vm.asking import Asker
from broker.vm.layouts import Chord
from broker.vm.monitor import Command

KEYS: Final = frozenset(
    f"""
    shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab
    q w e r t y u i o p bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe
    grave_accent backslash z x c v b n m comma dot slash asterisk spc caps_lock num_lock
    scroll_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_decimal sysrq
    kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 less print home pgup pgdn end left up down
    right insert delete stop again props undo front copy open paste find cut lf help meta_l meta_r
    compose pause ro hiragana henkan yen muhenkan katakanahiragana kp_comma kp_equals power sleep
    wake audionext audioprev audiostop audioplay audiomute volumeup volumedown mediaselect mail
    calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks lang1 lang2
    {" ".join(f"f{number}" for number in range(1, 13))}
    """.split()
)
"""QEMU's names of keys. Source: QEMU's qapi/ui.json, QKeyCode, as of 7.2."""

ALIASES: Final = {
    "control": "ctrl", "strg": "ctrl", "del": "delete", "ins": "insert", "escape": "esc",
    "enter": "ret", "return": "ret", "space": "spc", "bs": "backspace", "altgr": "alt_r",
    "win": "meta_l", "super": "meta_l", "meta": "meta_l", "cmd": "meta_l", "pageup": "pgup",
    "pagedown": "pgdn", "sysreq": "sysrq", "printscreen": "print", "capslock": "caps_lock",
    "numlock": "num_lock", "scrolllock": "scroll_lock", "break": "pause", "period": "dot",
    "[": "bracket_left", "]": "bracket_right", ";": "semicolon", "'": "apostrophe", "`":
    "grave_accent", "\\": "backslash", ",": "comma", ".": "dot", "/": "slash", "-": "minus",
    "=": "equal", "<": "less", "*": "asterisk",
}  # fmt: skip
"""Names that people use, and the characters on keys of a US keyboard."""

MAX_TOGETHER: Final = 8
_AT_ONCE: Final = 16
"""Chords sent in one breath; QEMU's queue of 1024 holds far more, an impatient person does not."""
_MODIFIERS: Final = re.compile(r"(?<=[^-+])[-+]")


def chord(text: str) -> Chord:
    """The keys of a combination such as `ctrl-alt-delete`, `ctrl+c`, `f2` or `ctrl--`.

    Raises:
        UsageError: A key is unknown, or there are too many.
    """
    words = _MODIFIERS.split(text)
    keys = tuple(ALIASES.get(word.lower(), word.lower()) for word in words)
    for word, key in zip(words, keys, strict=True):
        if key not in KEYS:
            near = did_you_mean(key, sorted(KEYS | ALIASES.keys()))
            raise UsageError(
                f"{word!r} in {text!r} is not a key",
                fix=near
                or "Keys have names such as ctrl, alt, delete, f2, enter; "
                "text is typed with: broker vm type",
            )
    if len(keys) > MAX_TOGETHER:
        raise UsageError(f"{text!r} is {len(keys)} keys at once; {MAX_TOGETHER} are the most")
    return keys


def chords(text: str, layout: str, *, secret: bool = False) -> list[Chord]:
    """What to press for a text on a keyboard of that layout.

    Args:
        secret: Errors do not show what is in the text.

    Raises:
        UsageError: A character is not on it, or there is no such layout.
    """
    table = layouts.layout(layout)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for at, character in enumerate(text, 1):
        if character not in table:
            raise _cannot_type(character, at, layout, secret=secret)
    return list(itertools.chain.from_iterable(table[character] for character in text))


def _cannot_type(character: str, at: int, layout: str, *, secret: bool) -> UsageError:
    shown = f"Character {at}" + ("" if secret else f", {character!r},")
    others = [name for name in layouts.names() if character in layouts.layout(name)]
    fix = f"If the guest has one of these layouts, say so with --layout: {', '.join(others)}"
    return UsageError(
        f"{shown} is not on a keyboard of layout {layout}, so nothing was typed",
        fix=fix if others and not secret else "Say with --layout what the guest's keyboard is",
    )


async def press(asker: Asker, pressed: Iterable[Chord], *, pace: float) -> int:
    """Press combinations one after the other; how many. Returns when the last was released.

    Args:
        pace: Seconds between one key going down and the next, and the same for their release.

    Raises:
        Refused: The guest is held; asked anew every few keys.
        MonitorGone, VmUnresponsive, CommandRefused: As `Asker.ask`.
    """
    waiting = list(pressed)
    for batch in _batches(waiting):
        await asker.check_it_hears()
        await asker.ask(*(_send_key(keys, pace) for keys in batch))
        # QEMU says nothing when keys have gone; this is how long it takes over them.
        await asyncio.sleep(sum(len(keys) for keys in batch) * 2 * pace)
    return len(waiting)


def _batches(pressed: Sequence[Chord]) -> Iterable[Sequence[Chord]]:
    return (pressed[at : at + _AT_ONCE] for at in range(0, len(pressed), _AT_ONCE))


def _send_key(keys: Chord, pace: float) -> Command:
    codes = [{"type": "qcode", "data": key} for key in keys]
    return Command("send-key", {"keys": codes, "hold-time": max(1, round(pace * 1000))})
