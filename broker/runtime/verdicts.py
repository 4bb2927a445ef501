"""The firewall's verdicts on their way into the audit log: counted, never one row per message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from broker.events import Kind
from broker.model import Session, SessionId
from broker.proxy.gate import Judged

ROW_EVERY = 10.0
"""Seconds between two rows about the same verdict on the same channel of the same session."""

KINDS_SHOWN = 6
"""Kinds of message that one row names."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of the audit log says."""

    session: Session
    kind: Kind
    text: str
    reason: str


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

    def due(self, *, all_of_it: bool = False) -> Iterator[Row]:
        """The rows to be written now.

        Args:
            all_of_it: Nobody will ask again.
        """
        now = self._monotonic()
        for key, pending in tuple(self._pending.items()):
            waits = pending.told_at is not None and now - pending.told_at < ROW_EVERY
            if pending.counts and (all_of_it or not waits):
                yield _row(pending, channel=key[1], verdict=key[2])
                pending.counts.clear()
                pending.told_at = now
            elif not waits:
                del self._pending[key]


def _row(pending: _Pending, *, channel: str, verdict: str) -> Row:
    total = pending.counts.total()
    many = "1 message" if total == 1 else f"{total} messages"
    kinds = [f"{name} {count}" for name, count in pending.counts.most_common(KINDS_SHOWN)]
    if more := len(pending.counts) - len(kinds):
        kinds.append(f"and {more} kinds more")
    which = f"{channel}: {many} {{}} ({', '.join(kinds)})"
    match verdict:
        case "dropped":
            return Row(
                pending.session, Kind.MESSAGE_DROPPED, which.format("dropped by policy"), "policy"
            )
        case "warned":
            words = "let by that the firewall would refuse"
            return Row(pending.session, Kind.MESSAGE_WARNED, which.format(words), "firewall")
        case _:
            return Row(pending.session, Kind.MESSAGE_REFUSED, which.format("refused"), "firewall")
