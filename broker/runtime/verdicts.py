"""The firewall's verdicts on their way into the audit log: counted, never one row per message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from broker.events import Event, Kind, of_session
from broker.model import Session, SessionId
from broker.proxy.gate import Judged

ROW_EVERY = 10.0
"""Seconds between two rows about the same verdict on the same channel of the same session."""

KINDS_SHOWN = 6
"""Kinds of message that one row names."""


@dataclass(slots=True)
class _Pending:
    session: Session
    counts: Counter[str] = field(default_factory=Counter)
    told_at: float | None = None


class VerdictLog:
    """Collects verdicts and says when a row is due.

    Args:
        monotonic: Seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._pending: dict[tuple[SessionId, str, str], _Pending] = {}

    def add(self, session: Session, notice: Judged) -> None:
        """Take note; the session may end before its row is due."""
        key = (notice.session, notice.channel, notice.verdict)
        pending = self._pending.setdefault(key, _Pending(session))
        pending.counts.update(dict(notice.messages))

    def due(self, at: datetime, *, all_of_it: bool = False) -> Iterator[Event]:
        """The rows to be written now.

        Args:
            at: The time of day.
            all_of_it: Nobody will ask again.
        """
        now = self._monotonic()
        for key, pending in tuple(self._pending.items()):
            waits = pending.told_at is not None and now - pending.told_at < ROW_EVERY
            if pending.counts and (all_of_it or not waits):
                yield _row(pending, at, channel=key[1], verdict=key[2])
                pending.counts.clear()
                pending.told_at = now
            elif not waits:
                del self._pending[key]


def _row(pending: _Pending, at: datetime, *, channel: str, verdict: str) -> Event:
    total = pending.counts.total()
    many = "1 message" if total == 1 else f"{total} messages"
    kinds = [f"{name} {count}" for name, count in pending.counts.most_common(KINDS_SHOWN)]
    if more := len(pending.counts) - len(kinds):
        kinds.append(f"and {more} kinds more")
    match verdict:
        case "dropped":
            kind, words, reason = Kind.MESSAGE_DROPPED, "dropped by policy", "policy"
        case "warned":
            kind, words = Kind.MESSAGE_WARNED, "let by that the firewall would refuse"
            reason = "firewall"
        case _:
            kind, words, reason = Kind.MESSAGE_REFUSED, "refused", "firewall"
    text = f"{channel}: {many} {words} ({', '.join(kinds)})"
    event = Event(at, kind, text, reason=reason, verdict=verdict, channel=channel)
    return of_session(event, pending.session)
