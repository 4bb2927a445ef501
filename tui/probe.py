"""What this terminal can do, asked once, before Textual has it: later an answer would be keys.

The question goes out first and its answer is read when the heavy imports are done, so asking costs
no time. All that was typed meanwhile is handed on.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

QUESTION: Final = b"\x1b[?u\x1b[c"
"""Its keyboard's flags, and then what every terminal answers: who it is (DA1).

Source: the kitty keyboard protocol, "Detection of support for this protocol"."""
ANSWER_SECONDS: Final = 1.0
"""From the question on, so that a long way to the terminal or a busy host is no matter; one that is
slower is taken for one that can nothing more. All but the dumbest answer."""
_MOST: Final = 4096
_FLAGS: Final = re.compile(rb"\x1b\[\?\d+u")
_WHO: Final = re.compile(rb"\x1b\[\?[\d;]*c")


class Answers(NamedTuple):
    """What it said.

    Attributes:
        kitty_keys: It can tell presses, releases and modifiers alone.
        typed: What a person has typed meanwhile.
    """

    kitty_keys: bool = False
    typed: bytes = b""


def understood(heard: bytes) -> Answers:
    """What a terminal has said, keys in between."""
    typed = _WHO.sub(b"", _FLAGS.sub(b"", heard))
    return Answers(_FLAGS.search(heard) is not None, typed)


class Asked:
    """A question that is under way; `answers` ends it."""

    def __init__(self, keyboard: int) -> None:
        self._keyboard = keyboard
        self._until = time.monotonic() + ANSWER_SECONDS

    def answers(self) -> Answers:
        """Wait for what is left of the time, at most."""
        heard = b""
        while _WHO.search(heard) is None and len(heard) < _MOST:
            left = max(0.0, self._until - time.monotonic())
            if not select.select([self._keyboard], [], [], left)[0]:
                break
            more = os.read(self._keyboard, _MOST)
            if not more:
                break
            heard += more
        return understood(heard)


@contextlib.contextmanager
def asking(keyboard: int = 0, screen: int = 2) -> Iterator[Asked]:
    """Ask; nothing that comes is echoed while the block runs.

    Raises:
        OSError, termios.error: There is no terminal (any more).
    """
    before = termios.tcgetattr(keyboard)
    quiet = termios.tcgetattr(keyboard)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(keyboard, termios.TCSANOW, quiet)
    try:
        os.write(screen, QUESTION)
        yield Asked(keyboard)
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
