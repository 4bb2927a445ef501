"""All of stderr, and the exit codes.

Nothing else of the command line writes to stderr (the log goes there through `broker.logs`).
Notes are silenced by `-q`; errors never are. With `--json` each line is a JSON object.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import IntEnum
from typing import Final, TextIO

from broker.errors import (
    Ambiguous,
    BrokerError,
    NotFound,
    Refused,
    Unreachable,
    UsageError,
)
from broker.human import one_line


class Exit(IntEnum):
    """What a command's exit code means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    REFUSED = 5
    INTERRUPTED = 130


EXIT_WORDS: Final = {
    Exit.DONE: "done",
    Exit.FAILED: "failed",
    Exit.USAGE: "wrong usage or configuration",
    Exit.NOT_FOUND: "not found, or the name is ambiguous",
    Exit.UNREACHABLE: "something does not answer",
    Exit.REFUSED: "refused",
    Exit.INTERRUPTED: "interrupted",
}

EXITS: Final[tuple[tuple[type[BaseException], Exit], ...]] = (  # first match wins
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (UsageError, Exit.USAGE),
    (NotFound, Exit.NOT_FOUND),
    (Unreachable, Exit.UNREACHABLE),
    (Refused, Exit.REFUSED),
    (BrokerError, Exit.FAILED),
)


def exit_for(problem: BaseException) -> Exit:
    """The exit code of a problem; what nobody foresaw is a failure."""
    return next((code for kind, code in EXITS if isinstance(problem, kind)), Exit.FAILED)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may be there; a stream that was closed before we started is None."""
    return stream is not None and stream.isatty()


def told_by(problem: BaseException) -> BrokerError | None:
    """The first error for people in a group of errors, when it holds nothing else."""
    if isinstance(problem, BrokerError):
        return problem
    if not isinstance(problem, ExceptionGroup):
        return None
    told = [told_by(inner) for inner in problem.exceptions]
    return told[0] if None not in told else None


def error_document(problem: BrokerError) -> dict[str, object]:
    """An error as the object that `--json` prints; the keys are part of the interface."""
    document: dict[str, object] = {
        "error": problem.code,
        "what": problem.what,
        "fix": problem.fix,
    }
    if isinstance(problem, Ambiguous):
        document["candidates"] = list(problem.candidates)
    if isinstance(problem, Refused):
        document["reason"] = problem.reason
    return document


class Talk:
    """What is said to the person, on stderr.

    Attributes:
        quiet: Notes are swallowed.
        json: Errors are JSON objects.
    """

    def __init__(
        self, stream: TextIO | None = None, *, quiet: bool = False, json: bool = False
    ) -> None:
        self._stream = stream
        self.quiet = quiet
        self.json = json
        self._noted: set[str] = set()

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may be watching."""
        return is_terminal(self._stream or sys.stderr)

    def note(self, text: str) -> None:
        """Say something worth knowing; silent under `-q`."""
        if self.quiet:
            return
        if self.json:
            import json

            self._print(json.dumps({"note": text}, ensure_ascii=False))
        else:
            self._print(f"broker: {one_line(text)}")

    def note_once(self, text: str) -> None:
        """The same, unless it was said so before."""
        if text not in self._noted:
            self._noted.add(text)
            self.note(text)

    def help(self, text: str) -> None:
        """Print a help page as talk, because what was typed asked for nothing."""
        self._print(text.rstrip("\n"))

    def problem(self, problem: BrokerError) -> None:
        """Say what went wrong and what to do about it."""
        if self.json:
            import json

            self._print(json.dumps(error_document(problem), ensure_ascii=False))
            return
        self._print(f"broker: {_sentence(problem.what)}")
        if problem.fix:
            self._print(f"        {_sentence(problem.fix)}")

    def bug(self, problem: Exception) -> None:
        """Say that the program itself is at fault; the traceback goes to the log, once."""
        self.problem(Bug(problem))

    def ask(self, question: str) -> str:
        """Put a question and read one line from stdin; only for a terminal, and beside no loop."""
        self._write(question)
        return sys.stdin.readline().strip()

    async def asked(self, question: str) -> str:
        """The same on a loop, which Ctrl+C and SIGTERM reach while nobody answers."""
        from broker.cli.stdin import readable

        self._write(question)
        await readable(sys.stdin.fileno())
        return sys.stdin.readline().strip()

    def _print(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        """Say it, if anybody can hear it: a closed stderr must not hide the exit code."""
        stream = self._stream or sys.stderr
        if stream is not None:
            with suppress(OSError):
                stream.write(text)
                stream.flush()


class Bug(BrokerError):
    """Something that nobody foresaw."""

    code = "internal"

    def __init__(self, problem: Exception) -> None:
        super().__init__(
            f"{type(problem).__name__}: {problem}",
            fix="This is a fault in broker; run it again with -vv and report what it prints",
        )


def _sentence(text: str) -> str:
    """Text from elsewhere made safe for a terminal; a message of several lines keeps them."""
    return "\n        ".join(one_line(line) for line in text.splitlines()) or one_line(text)
