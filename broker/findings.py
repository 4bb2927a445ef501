"""What a look showed: for `broker doctor`, `broker smoke`, and the dot beside a console."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How a step went."""

    OK = "ok"
    WARN = "warn"
    """Odd, or missing, but nothing is broken by it."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look showed.

    Attributes:
        words: The fact, without a final period.
        fix: What to do about it; empty when all is well.
    """

    mark: Mark
    words: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was taken.

    Attributes:
        seconds: How long the look took.
    """

    name: str
    finding: Finding
    seconds: float


def fine(words: str) -> Finding:
    """All is well."""
    return Finding(Mark.OK, words)


def odd(words: str, fix: str) -> Finding:
    """Something is missing that one can do without."""
    return Finding(Mark.WARN, words, fix)


def broken(words: str, fix: str) -> Finding:
    """No viewer gets past this."""
    return Finding(Mark.FAIL, words, fix)
