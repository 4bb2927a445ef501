"""Tokens and sessions: the statements behind the store's verbs, in their caller's transaction."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from broker import human
from broker.errors import Ambiguous, NotFound, Occupied, Refused
from broker.model import ChannelInfo, MachineKey, Session, SessionId, Token, WhenOccupied
from broker.store import session_rows, token_rows
from broker.store.queries import (
    ADD_TOKEN,
    CHANNEL,
    MACHINE,
    ONE_MACHINE,
    SESSION,
    TOKEN,
    one_machine,
)

AT_ONCE = 500
"""Sessions that one statement names; databases have a limit for parameters."""

_LIVE = SESSION.c.ended_at.is_(None)

# What a session's beginning and end wait for is made once: making a statement takes longer than
# running it.
_TOKEN = select(TOKEN).where(TOKEN.c.digest == bindparam("of"))
_USE_TOKEN = (
    update(TOKEN)
    .where(
        TOKEN.c.digest == bindparam("of"),
        TOKEN.c.used_at.is_(None),
        TOKEN.c.revoked_at.is_(None),
        TOKEN.c.expires_at > bindparam("now"),
    )
    .values(used_at=bindparam("now"), session=bindparam("by"))
)
_ADD_SESSION = insert(SESSION)
_CLOSE_SESSION = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("of"), _LIVE)
    .values(ended_at=bindparam("now"), end_reason=bindparam("why"))
)
_PUT_COUNTERS = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("of"))
    .values(
        bytes_to_client=bindparam("to_client"),
        bytes_to_server=bindparam("to_server"),
        measured=bindparam("seen"),
    )
)
_DROP_CHANNELS = delete(CHANNEL).where(CHANNEL.c.session == bindparam("of"))


def add_token(db: Connection, token: Token) -> None:
    """See `Store.add_token`."""
    db.execute(ADD_TOKEN, token_rows.from_token(token))


def token(db: Connection, digest: bytes) -> Token | None:
    """See `Store.token`."""
    row = db.execute(_TOKEN, {"of": digest}).mappings().one_or_none()
    return None if row is None else token_rows.to_token(row)


def open_session(
    db: Connection, digest: bytes, session: Session, now: datetime, *, alone: bool
) -> Token:
    """See `Store.open_session`. One UPDATE decides, so it holds on every database."""
    used = db.execute(_USE_TOKEN, {"of": digest, "now": now.timestamp(), "by": session.id})
    found = token(db, digest)
    if used.rowcount != 1 or found is None:
        raise _refusal(db, found, now)
    if alone and (others := occupants(db, session.key)):
        raise occupied(others, in_turn=session.policy.occupied is not WhenOccupied.REFUSE)
    db.execute(_ADD_SESSION, session_rows.from_session(session) | {"end_asked": False})
    _put_channels(db, session)
    return found


def occupants(db: Connection, key: MachineKey) -> list[Session]:
    """See `Store.occupants`."""
    row = db.execute(ONE_MACHINE, one_machine(key)).mappings().one_or_none()
    target = None if row is None else row["target"]
    same = and_(SESSION.c.source == key.source, SESSION.c.uuid == key.uuid)
    if target is not None:
        theirs = and_(MACHINE.c.source == SESSION.c.source, MACHINE.c.uuid == SESSION.c.uuid)
        same = or_(same, exists().where(theirs, MACHINE.c.target == target))
    return _read(db, and_(same, _LIVE))


def occupied(others: Sequence[Session], *, in_turn: bool) -> Occupied:
    """Somebody else is there."""
    first = others[0]
    who = f"{first.label} ({first.client})" if first.label else first.client
    name = human.one_line(first.console)
    return Occupied(
        f"{name} is in use by {human.one_line(who)}",
        in_turn=in_turn,
        fix=f"Take it over: broker export-vv {shlex.quote(name)} --take-over",
    )


def count_sessions(db: Connection, label: str) -> int:
    """See `Store.count_sessions`."""
    mine = select(func.count()).select_from(SESSION).where(_LIVE, SESSION.c.label == label)
    return int(db.execute(mine).scalar() or 0)


def _refusal(db: Connection, found: Token | None, now: datetime) -> Refused:
    if found is None:
        return Refused(
            "The token is not known here",
            reason="token-unknown",
            fix="Export the file again: broker export-vv NAME",
        )
    named = select(MACHINE.c.name).where(
        MACHINE.c.source == found.key.source, MACHINE.c.uuid == found.key.uuid
    )
    name = human.one_line(db.execute(named).scalar() or f"{found.key.source}/{found.key.uuid}")
    file, fix = f"The file for {name}", f"Export it again: broker export-vv {shlex.quote(name)}"
    if found.revoked_at is not None:
        return Refused(f"{file} was revoked", reason="token-revoked", fix=fix)
    if found.used_at is not None:
        ago = human.age((now - found.used_at).total_seconds())
        return Refused(
            f"{file} was used {ago} ago; a file opens one session", reason="token-used", fix=fix
        )
    ago = human.age((now - found.expires_at).total_seconds())
    return Refused(
        f"{file} is no longer valid: it expired {ago} ago", reason="token-expired", fix=fix
    )


def revoke_tokens(db: Connection, key: MachineKey | None, now: datetime) -> int:
    """See `Store.revoke_tokens`."""
    unused = and_(
        TOKEN.c.used_at.is_(None),
        TOKEN.c.revoked_at.is_(None),
        TOKEN.c.expires_at > now.timestamp(),
    )
    if key is not None:
        unused = and_(unused, TOKEN.c.source == key.source, TOKEN.c.uuid == key.uuid)
    return db.execute(update(TOKEN).where(unused).values(revoked_at=now.timestamp())).rowcount


def sessions(db: Connection, *, live: bool) -> list[Session]:
    """See `Store.sessions`."""
    return _read(db, _LIVE if live else None)


def session(db: Connection, prefix: str, *, live: bool) -> Session:
    """See `Store.session`."""
    kind = "live session" if live else "session"
    begins = SESSION.c.id.startswith(prefix.lower(), autoescape=True)
    found = _read(db, and_(begins, _LIVE) if live else begins) if prefix else []
    if len(found) > 1:
        raise Ambiguous(
            f"{len(found)} {kind}s begin with {human.one_line(prefix)}",
            candidates=tuple(str(one.id) for one in found),
        )
    if not found:
        raise NotFound(
            f"There is no {kind} called {human.one_line(prefix) or 'nothing'}",
            fix="See what there is: broker sessions",
        )
    return found[0]


def close_session(db: Connection, session_id: SessionId, reason: str, at: datetime) -> bool:
    """See `Store.close_session`."""
    what = {"of": session_id, "now": at.timestamp(), "why": reason}
    if not db.execute(_CLOSE_SESSION, what).rowcount:
        return False
    db.execute(_DROP_CHANNELS, {"of": session_id})
    return True


def put_counters(db: Connection, live: Iterable[Session]) -> None:
    """See `Store.put_counters`."""
    live = tuple(live)
    for start in range(0, len(live), AT_ONCE):
        _put_counters(db, live[start : start + AT_ONCE])


def _put_counters(db: Connection, live: Sequence[Session]) -> None:
    named = SESSION.c.id.in_([one.id for one in live])
    stored = {one.id: one for one in _read(db, and_(_LIVE, named))}
    for one in live:
        before = stored.get(one.id)
        if before is None:
            continue
        seen = session_rows.measured_of(one)
        if (one.bytes_to_client, one.bytes_to_server, seen) != (
            before.bytes_to_client,
            before.bytes_to_server,
            session_rows.measured_of(before),
        ):
            counted = {"to_client": one.bytes_to_client, "to_server": one.bytes_to_server}
            db.execute(_PUT_COUNTERS, counted | {"of": one.id, "seen": seen})
        if sorted(one.channels, key=_order) != sorted(before.channels, key=_order):
            db.execute(_DROP_CHANNELS, {"of": one.id})
            _put_channels(db, one)


def ask_end(db: Connection, session_id: SessionId, reason: str) -> None:
    """See `Store.ask_end`."""
    here = and_(SESSION.c.id == session_id, _LIVE)
    asked = update(SESSION).where(here).values(end_asked=True, end_reason=reason)
    if not db.execute(asked).rowcount:
        raise NotFound(
            f"There is no live session called {human.one_line(session_id)}",
            fix="See what there is: broker sessions",
        )


def end_requests(db: Connection, worker: int) -> dict[SessionId, str]:
    """See `Store.end_requests`."""
    asked = and_(SESSION.c.worker == worker, SESSION.c.end_asked.is_(True), _LIVE)
    found = db.execute(select(SESSION.c.id, SESSION.c.end_reason).where(asked))
    return {SessionId(row[0]): row[1] for row in found}


def workers(db: Connection) -> list[tuple[int, str]]:
    """The worker processes that live sessions are said to be held by, each with its life."""
    found = db.execute(select(SESSION.c.worker, SESSION.c.worker_life).where(_LIVE).distinct())
    return [(row[0], row[1]) for row in found]


def end_orphans(db: Connection, dead: Sequence[tuple[int, str]], at: datetime) -> list[Session]:
    """See `Store.end_orphans`."""
    theirs = tuple_(SESSION.c.worker, SESSION.c.worker_life).in_(dead)
    lost = _read(db, and_(_LIVE, theirs))
    return [one for one in lost if close_session(db, one.id, "worker-died", at)]


def prune(db: Connection, before: datetime) -> int:
    """Forget ended sessions and dead tokens; returns how many."""
    old = before.timestamp()
    count = db.execute(delete(SESSION).where(SESSION.c.ended_at < old)).rowcount
    return count + db.execute(delete(TOKEN).where(TOKEN.c.expires_at < old)).rowcount


def _read(db: Connection, which: ColumnElement[bool] | None) -> list[Session]:
    query = select(SESSION).order_by(SESSION.c.started_at, SESSION.c.id)
    channels = select(CHANNEL).order_by(CHANNEL.c.opened_at, CHANNEL.c.name)
    if which is not None:
        query = query.where(which)
        channels = channels.join(SESSION, SESSION.c.id == CHANNEL.c.session).where(which)
    by_session: dict[str, list[ChannelInfo]] = {}
    for row in db.execute(channels).mappings():
        by_session.setdefault(row["session"], []).append(session_rows.to_channel(row))
    return [
        session_rows.to_session(row, tuple(by_session.get(row["id"], ())))
        for row in db.execute(query).mappings()
    ]


def _put_channels(db: Connection, session: Session) -> None:
    by_name = {channel.name: channel for channel in session.channels}
    if by_name:
        db.execute(
            insert(CHANNEL),
            [session_rows.from_channel(session.id, channel) for channel in by_name.values()],
        )


def _order(channel: ChannelInfo) -> tuple[datetime, str]:
    return (channel.opened_at, channel.name)
