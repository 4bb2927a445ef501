"""What a look showed: for `broker doctor`, `broker smoke`, and the dot beside a console."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

ENDS_SOON: Final = timedelta(days=14)
"""A certificate is renewed thirty days before its end, so with less left somebody has to look."""


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


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself.

    Attributes:
        subject: In SPICE's notation, as a .vv file's `host-subject` has it.
        names: Host names and addresses it is good for.
        issuer: Who signed it, in the same notation.
        fingerprint: SHA-256 of the whole certificate, `AB:CD:…`.
        not_before: From when it is good.
        not_after: Until when.
    """

    subject: str
    names: tuple[str, ...]
    issuer: str
    fingerprint: str
    not_before: datetime
    not_after: datetime

    def judged(self, now: datetime) -> Finding:
        """Whether it is good now, and for how long."""
        anew = "End the proxy and start it again: a new one is made then"
        left = self.not_after - now
        if now < self.not_before:
            return broken("it is not good yet", "Set this host's clock")
        if left <= timedelta(0):
            return broken("it has ended: viewers refuse it", anew)
        words = f"good for {left.days} more days" if left.days else "ends today"
        return odd(words, anew) if left < ENDS_SOON else fine(words)
