"""This terminal, lent to a guest: every byte passes as it is, and it is given back as it was.

Given back also when we are killed; see `broker.giveback`.
"""

from __future__ import annotations

import contextlib
import os
import re
import termios
import tty
from types import TracebackType
from typing import Final, Self

from broker import giveback

_RESETS: Final = r"\033[0m\033[?25h\033[?7h\033[?1000;1002;1003;1006;2004l\033>\r\n"
_SETS: Final = re.compile(rb"\x1b\[\?([\d;]{1,40})([hl])")
_LONGEST_SET: Final = 45
_ON_BY_DEFAULT: Final = frozenset({7, 25})
"""Private modes of a terminal that are on: wrapping, and showing the cursor."""
_MAKES_IT_ANSWER: Final = re.compile(
    rb"\x05"  # ENQ
    rb"|\x1b\[[?>=]?[\d;]*[cntx]"  # reports of position, kind, size; `t` also resizes the window
    rb"|\x1b\[\?[\d;$]*[up]"
    rb"|\x1b[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, colours, clipboards
    rb"|\x1bZ"
)
"""Source: XTerm Control Sequences, the parts that begin with "Request" and "Report"."""


class LentTerminal:
    """The terminal on stdin and stdout, raw while the block runs."""

    def __init__(self, input_fd: int = 0, output_fd: int = 1) -> None:
        self._input = input_fd
        self._output = output_fd
        self._before = termios.tcgetattr(input_fd)
        self._kept = contextlib.ExitStack()
        self._modes = Modes()

    def __enter__(self) -> Self:
        """Make it raw."""
        self._kept.enter_context(giveback.kept(self._input, _RESETS))
        tty.setraw(self._input, termios.TCSANOW)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back, what was typed and not read thrown away."""
        with contextlib.suppress(OSError):
            os.write(self._output, self._modes.undo() + b"\r\n")
        with contextlib.suppress(OSError, termios.error):  # a terminal that is gone
            termios.tcsetattr(self._input, termios.TCSANOW, self._before)
            termios.tcflush(self._input, termios.TCIFLUSH)
        self._kept.close()

    def show(self, data: bytes) -> None:
        """Write, all of it; blocks while the terminal is busy.

        Raises:
            OSError: It is gone.
        """
        self._modes.see(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._output, view) :]


class Modes:
    """Which of a terminal's modes a guest has changed, so that they can be changed back."""

    def __init__(self) -> None:
        self._changed: set[int] = set()
        self._rest = b""

    def see(self, data: bytes) -> None:
        """Take note of what is shown."""
        data = self._rest + data
        for found in _SETS.finditer(data):
            for mode in {int(number) for number in found[1].split(b";") if number}:
                if (found[2] == b"h") is (mode in _ON_BY_DEFAULT):
                    self._changed.discard(mode)
                else:
                    self._changed.add(mode)
        begun = data.rfind(b"\x1b", -_LONGEST_SET)
        self._rest = data[begun:] if begun >= 0 and not _SETS.match(data, begun) else b""

    def undo(self) -> bytes:
        """What to show so that the terminal is as before: plain letters, its own keypad, modes."""
        turns = [(mode, "h" if mode in _ON_BY_DEFAULT else "l") for mode in sorted(self._changed)]
        return "".join(["\x1b[0m\x1b>", *(f"\x1b[?{mode}{to}" for mode, to in turns)]).encode()


def harmless(log: bytes) -> bytes:
    """What was said long ago, without what would make a terminal answer now, as if typed."""
    return _MAKES_IT_ANSWER.sub(b"", log)
