"""The audit log: lines that are written, and told to the process's own log as well."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from broker.events import Event
from broker.store import queries, rows

log = logging.getLogger(__name__)


def add(db: Connection, event: Event) -> Event:
    """Write one line; the event with its number."""
    number = db.execute(queries.ADD_EVENT, rows.from_event(event)).inserted_primary_key
    assert number is not None
    return replace(event, id=number[0])


def add_all(db: Connection, events: Sequence[Event]) -> None:
    """Write several, in that order, as one statement."""
    db.execute(queries.ADD_EVENT, [rows.from_event(event) for event in events])


def events(db: Connection, *, limit: int, after: int) -> list[Event]:
    """See `Store.events`."""
    newest = (
        select(queries.EVENT)
        .where(queries.EVENT.c.id > after)
        .order_by(queries.EVENT.c.id.desc())
        .limit(limit)
    )
    return [rows.to_event(row) for row in db.execute(newest).mappings()][::-1]


def tell(event: Event) -> None:
    """The same for the log, once it is written."""
    if log.isEnabledFor(logging.INFO):
        log.info(
            "%s",
            event.text,
            extra={
                "event": event.kind.value,
                "session": event.session or "",
                "channel": event.channel,
                "client": event.client,
                "console": event.console,
                "label": event.label,
                "verdict": event.verdict,
                "reason": event.reason,
            },
        )
