"""All of stdout, and the files that a command writes for a person.

stdout is data: a table for people, or with `--json` one document with stable keys.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from broker.errors import BrokerError, UsageError
from broker.human import one_line
from broker.typed_path import is_directory

_WIDE_FROM = 0x1100
"""No character below takes two cells, so most text needs no table to be measured."""
_SHORTEST_COLUMN = 8
_COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}


class CannotWrite(BrokerError):
    """A file could not be written; nothing was changed."""

    code = "cannot-write"


class Output:
    """What goes to stdout.

    Attributes:
        json: Documents are wanted, not tables.
        is_terminal: Somebody reads along: tables are cut to the width and may have colour.
    """

    def __init__(
        self, stream: TextIO | None = None, *, json: bool = False, width: int | None = None
    ) -> None:
        self._stream = stream
        self.json = json
        target = stream or sys.stdout
        self.is_terminal = target is not None and target.isatty()
        self._width = width

    @property
    def width(self) -> int | None:
        """Cells of a line; None when nobody watches, and lines may be as long as they like."""
        return (self._width or _terminal_width()) if self.is_terminal else None

    def text(self, text: str) -> None:
        """Text as it is, newline added when it lacks one."""
        self.exactly(text if text.endswith("\n") else f"{text}\n")

    def exactly(self, text: str) -> None:
        """These characters and no others; `-o -` gives the same bytes as `-o FILE`.

        Raises:
            CannotWrite: stdout is closed, or its disk is full.
            BrokenPipeError: Whoever read it has left; `main` knows what to do.
        """
        stream = self._stream or sys.stdout
        if stream is None:
            raise CannotWrite("stdout is closed", fix="Leave it open, or send it to a file")
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as exc:
            drop_stdout()
            raise CannotWrite(
                f"stdout cannot be written ({exc.strerror})", fix="Make room, or send it elsewhere"
            ) from exc

    def raw(self, content: bytes) -> None:
        """Bytes as they are; raises as `exactly`."""
        stream = self._stream or sys.stdout
        binary = getattr(stream, "buffer", None)
        if binary is None:
            self.exactly(content.decode("utf-8", "replace"))
            return
        try:
            stream.flush()
            binary.write(content)
            binary.flush()
        except BrokenPipeError:
            raise
        except OSError as exc:
            drop_stdout()
            raise CannotWrite(
                f"stdout cannot be written ({exc.strerror})", fix="Make room, or send it elsewhere"
            ) from exc

    def document(self, document: object) -> None:
        """One JSON document, readable when somebody reads it."""
        import json

        self.text(json.dumps(document, ensure_ascii=False, indent=2 if self.is_terminal else None))

    def line(self, document: object) -> None:
        """One JSON object on one line, for documents that come one after another."""
        import json

        self.text(json.dumps(document, ensure_ascii=False))

    def table(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        colours: tuple[int, Mapping[str, str]] = (0, {}),
    ) -> None:
        """Columns for people; see `table_lines`."""
        self.text("\n".join(self.table_lines(headings, rows, colours=colours)))

    def table_lines(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        colours: tuple[int, Mapping[str, str]] = (0, {}),
    ) -> list[str]:
        """Lines of columns. Never cut when nobody watches, so that `grep` finds all of it.

        Args:
            colours: A column, and the colour of a cell there by the first word in it.
        """
        cells = [[one_line(cell) for cell in row] for row in rows]
        widths = [max(map(cell_width, column)) for column in zip(headings, *cells, strict=True)]
        if (limit := self.width) is not None:
            widths = fit(widths, limit - 2 * (len(widths) - 1))
        lines = [self.paint("bold", "  ".join(map(_cell, headings, widths)).rstrip())]
        column, by_word = colours
        for row in cells:
            fitted = [_cell(cell, width) for cell, width in zip(row, widths, strict=True)]
            word = row[column].partition(" ")[0].rstrip(":")
            if word in by_word:
                fitted[column] = self.paint(by_word[word], fitted[column])
            lines.append("  ".join(fitted).rstrip())
        return lines

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Names and values, one a line, values in a column; empty values are left out."""
        kept = [(name, one_line(value)) for name, value in facts if value]
        indent = max((len(name) for name, _ in kept), default=0) + 2
        for name, value in kept:
            self.text(f"{name:<{indent}}{value}")

    def paint(self, colour: str, text: str) -> str:
        """Text in a colour, only for a terminal that wants it."""
        wanted = self.is_terminal and not os.environ.get("NO_COLOR")
        if not wanted or os.environ.get("TERM") == "dumb":
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def drop_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not trip at its exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _terminal_width() -> int:
    import shutil  # here, because it costs more than all the rest and only terminals need it

    return shutil.get_terminal_size().columns


def cell_width(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        _char_width(char, unicodedata.east_asian_width, unicodedata.combining) for char in text
    )


def _char_width(
    char: str, east_asian_width: Callable[[str], str], combining: Callable[[str], int]
) -> int:
    if ord(char) >= _WIDE_FROM and east_asian_width(char) in "WF":
        return 2
    return 0 if combining(char) else 1


def fit(widths: Sequence[int], room: int) -> list[int]:
    """Widths that add up to at most `room`, taken from the widest columns first."""
    fitted = list(widths)
    surplus = sum(fitted) - room
    while surplus > 0 and max(fitted, default=0) > _SHORTEST_COLUMN:
        widest = fitted.index(max(fitted))
        fitted[widest] -= 1
        surplus -= 1
    return fitted


def _cell(text: str, width: int) -> str:
    if cell_width(text) <= width:
        return text + " " * (width - cell_width(text))
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…" + " " * (width - 1 - cell_width(text))


def write_private(
    path: Path,
    content: str | bytes,
    *,
    may_replace: Callable[[Path], bool],
    refusal: str = "exists",
) -> None:
    """Write a file that only we can read, whole or not at all.

    A symbolic link is never followed, and nothing but a regular file is ever replaced.

    Args:
        may_replace: Asked when a regular file of that name is there already.
        refusal: What is said of a file that may not be replaced.

    Raises:
        UsageError: Something is in the way that must not be replaced.
        CannotWrite: The directory is missing or not ours, the disk is full, …; nothing changed.
    """
    from broker import private_file

    replaces = may_write(path, may_replace, refusal)
    try:
        private_file.write(path, content, replace=replaces, durable=True)
    except FileExistsError as exc:
        raise _in_the_way(path, "was made by somebody else meanwhile") from exc
    except OSError as exc:
        raise _cannot_write(path, exc) from exc


def write_new(path: Path, content: bytes) -> Path:
    """Write a file as `write_private` does, with a number behind its name where that is taken.

    Returns:
        Where it is.

    Raises:
        CannotWrite: As there.
    """
    from broker import private_file

    try:
        return private_file.write_new(path, content, durable=True)
    except OSError as exc:
        raise _cannot_write(path, exc) from exc


def may_write(path: Path, may_replace: Callable[[Path], bool], refusal: str = "exists") -> bool:
    """Whether a file is there that may be replaced; False when nothing is there.

    Raises:
        UsageError: Something is in the way that must not be replaced.
        CannotWrite: There is no such directory, or one cannot even look.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError as exc:
        if not is_directory(path.parent):
            raise _cannot_write(path, exc) from exc
        return False
    except OSError as exc:
        raise _cannot_write(path, exc) from exc
    if stat.S_ISLNK(kind):
        fix = "Give another name, or remove the link"
        raise UsageError(f"{path} is a symbolic link, and is not followed", fix=fix)
    if not stat.S_ISREG(kind):
        raise UsageError(f"{path} is not a regular file", fix="Use `-o -` for stdout")
    if not may_replace(path):
        raise _in_the_way(path, refusal)
    return True


def _in_the_way(path: Path, what: str) -> UsageError:
    return UsageError(f"{path} {what}", fix="Give another name, or remove it")


def _cannot_write(path: Path, exc: OSError) -> CannotWrite:
    return CannotWrite(f"{path} cannot be written ({exc.strerror})", fix=_fix_for(exc))


def _fix_for(problem: OSError) -> str:
    match problem.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "Make the directory first, or name another with -o"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "Write it elsewhere: -o FILE, or to stdout: -o -"
        case errno.ENOSPC | errno.EDQUOT:
            return "Make room on that disk, or write it elsewhere with -o FILE"
        case errno.ENAMETOOLONG:
            return "Give a shorter name with -o FILE"
        case _:
            return "Write it elsewhere with -o FILE"
