"""How a value reads: bytes, ages, times, shortened secrets. Text only, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BLANK = "\u115f\u1160\u3164\uffa0\ufffe\uffff"
"""Hangul's fillers, which look like nothing, and what is no character."""
_JOINING = "\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"
"""What makes one picture of several signs, or another of one: joiners, selectors, skin tones, tags.
Terminals disagree on how wide that is (xterm: all of its parts, kitty: two cells, tmux: depends),
so whoever counts cells counts wrong somewhere; of the parts alone the width is known."""
_UNSURE = re.compile(f"[{_JOINING}]")
_ODD = re.compile(f"[{_BLANK}]")


def size(count: int) -> str:
    """Bytes as people read them, decimal units: `0 B`, `9.4 kB`, `120 MB`."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def age(seconds: float) -> str:
    """A duration in its two largest units: `8s`, `4m12s`, `2h05m`, `3d04h`."""
    whole = max(0, int(seconds))
    minutes, secs = divmod(whole, 60)
    hours, mins = divmod(minutes, 60)
    days, hrs = divmod(hours, 24)
    if days:
        return f"{days}d{hrs:02d}h"
    if hours:
        return f"{hours}h{mins:02d}m"
    if minutes:
        return f"{minutes}m{secs:02d}s"
    return f"{secs}s"


def counted(count: int, noun: str) -> str:
    """`1 session`, `3 sessions`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def utc(moment: datetime) -> str:
    """An aware time as RFC 3339 in UTC, whole seconds: `2026-11-21T08:15:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hint(secret: str) -> str:
    """The first four characters of a token, for logs; nothing of short secrets."""
    return f"{secret[:4]}…" if len(secret) >= 16 else "…"


def one_line(text: str) -> str:
    """Text from elsewhere made safe for one line of a terminal: control characters become `�`.

    What joins several signs into one goes, so that every terminal draws as many cells as we count.
    """
    safe = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    if safe.isascii():
        return safe
    return _ODD.sub("\N{REPLACEMENT CHARACTER}", _UNSURE.sub("", safe))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean tls_verify?` when something known is near, else the empty string."""
    near = nearest(word, known)
    return f"Did you mean {near}?" if near else ""


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """What is known and most like a word; None when nothing is as like as that (1 is the same)."""
    import difflib  # here, because it is needed only on the way to an error

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)
    return near[0] if near else None
