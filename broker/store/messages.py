"""What was said to people in sessions, until whoever holds the session has passed it on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, insert, select

from broker import human
from broker.errors import NotFound
from broker.model import SessionId
from broker.store.queries import MESSAGE, SESSION

_LIVE = SESSION.c.ended_at.is_(None)
_THERE = select(SESSION.c.id).where(_LIVE)


def put_message(db: Connection, session: SessionId, text: str, at: datetime) -> None:
    """See `Store.put_message`."""
    if db.execute(_THERE.where(SESSION.c.id == session)).one_or_none() is None:
        raise NotFound(
            f"There is no live session called {human.one_line(session)}",
            fix="See what there is: broker sessions",
        )
    db.execute(delete(MESSAGE).where(MESSAGE.c.session.not_in(_THERE)))  # nobody hears those
    db.execute(insert(MESSAGE).values(session=session, text=text, at=at.timestamp()))


def waiting(db: Connection, worker: int) -> list[tuple[int, SessionId, str]]:
    """Those for live sessions of that worker, the oldest first, with their numbers."""
    theirs = and_(MESSAGE.c.session == SESSION.c.id, SESSION.c.worker == worker, _LIVE)
    asked = select(MESSAGE.c.id, MESSAGE.c.session, MESSAGE.c.text).where(theirs)
    return [(row[0], SessionId(row[1]), row[2]) for row in db.execute(asked.order_by(MESSAGE.c.id))]


def forget(db: Connection, number: int) -> bool:
    """Take one; false when another has."""
    return bool(db.execute(delete(MESSAGE).where(MESSAGE.c.id == number)).rowcount)
