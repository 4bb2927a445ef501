"""A line editor with a history that lasts; GNU readline does the work."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, TracebackType
from typing import Final, Self

from broker.config.locations import Locations

readline: ModuleType | None
try:
    readline = import_module("readline")
except ImportError:  # a Python without it: lines come, history does not
    readline = None

HISTORY_LINES: Final = 1000
_SECRET: Final = re.compile(r"passw|secret|\bkey", re.IGNORECASE)
"""Such lines are not kept: a password may be in one."""


class Prompt:
    """Asks a person at the terminal for lines.

    Args:
        text: What stands before the cursor.
        words: What Tab offers for the first word; asked for once, when it is first needed.
    """

    def __init__(self, text: str, words: Callable[[], list[str]]) -> None:
        self._text = text
        self._words = words
        self._known: list[str] | None = None
        self._file = Locations.from_env().state_dir / "monitor-history"

    def __enter__(self) -> Self:
        """Bring back what was typed before."""
        if readline is not None:
            with contextlib.suppress(OSError):
                readline.read_history_file(self._file)
            readline.set_auto_history(False)
            readline.set_history_length(HISTORY_LINES)
            readline.set_completer_delims(" ")
            readline.set_completer(self._complete)
            readline.parse_and_bind("tab: complete")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what was typed, for us alone."""
        if readline is not None:
            with contextlib.suppress(OSError):
                self._file.touch(mode=0o600)
                readline.write_history_file(self._file)
            readline.set_completer(None)

    def line(self) -> str | None:
        """The next line; None at Ctrl-D. Ctrl-C gives an empty one."""
        try:
            line = input(self._text)
        except EOFError:
            print()  # noqa: T201 - to the terminal, where Ctrl-D left the cursor behind the prompt
            return None
        except KeyboardInterrupt:
            print()  # noqa: T201 - as above
            return ""
        if readline is not None and line.strip() and not _SECRET.search(line):
            readline.add_history(line)
        return line

    def _complete(self, begun: str, number: int) -> str | None:
        if readline is None or readline.get_begidx() != 0:
            return None
        if self._known is None:
            self._known = self._words()
        fitting = [f"{word} " for word in self._known if word.startswith(begun)]
        return fitting[number] if number < len(fitting) else None
