"""What happened: one frozen noun for the bus, the audit log and `broker events`. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from broker import human

if TYPE_CHECKING:
    from broker.model import MachineKey, Session, SessionId


class Kind(StrEnum):
    """What an event is about. Stable names: scripts filter on them."""

    TOKEN_ISSUED = "token.issued"  # noqa: S105 - an event's name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - an event's name
    SESSION_OPENED = "session.opened"
    SESSION_CLOSED = "session.closed"
    SESSION_REFUSED = "session.refused"
    SESSION_MESSAGE = "session.message"
    CHANNEL_OPENED = "channel.opened"
    CHANNEL_CLOSED = "channel.closed"
    CHANNEL_REFUSED = "channel.refused"
    MESSAGE_REFUSED = "message.refused"
    MESSAGE_WARNED = "message.warned"
    MESSAGE_DROPPED = "message.dropped"
    MACHINE_DEFINED = "machine.defined"
    MACHINE_STARTED = "machine.started"
    MACHINE_STOPPED = "machine.stopped"
    MACHINE_FAILED = "machine.failed"
    MACHINE_CRASHED = "machine.crashed"
    MACHINE_RENAMED = "machine.renamed"
    MACHINE_SNAPSHOT = "machine.snapshot"
    MACHINE_MEDIUM = "machine.medium"
    MACHINE_LINK = "machine.link"
    MACHINE_DELETED = "machine.deleted"
    MACHINE_ADOPTED = "machine.adopted"
    MACHINE_FORGOTTEN = "machine.forgotten"
    SOURCE_FAILED = "source.failed"
    SOURCE_RECOVERED = "source.recovered"
    PROXY_STARTED = "proxy.started"
    PROXY_STOPPED = "proxy.stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log.

    Attributes:
        text: A sentence for people, no secret in it.
        id: The store's running number; 0 until it is stored.
        key: The machine it is about, if any.
        console: That machine's name at the time.
        client: The viewer's address, if any.
        reason: Stable kebab-case reason of a refusal or an end.
        label: Whom the token was made for, if it was made for somebody.
        verdict: What became of a request or of messages: `admitted`, `refused`, `warned` (let by
            all the same), `dropped` (by the link's policy); empty where nothing was judged.
        channel: The channel it is about, `display.0`, if it is about one.
    """

    at: datetime
    kind: Kind
    text: str
    id: int = 0
    source: str = ""
    key: MachineKey | None = None
    console: str = ""
    session: SessionId | None = None
    client: str = ""
    reason: str = ""
    label: str = ""
    verdict: str = ""
    channel: str = ""


ENDS: Final[Mapping[str, str]] = {
    "backend-closed": "the machine closed the connection",
    "client-closed": "",
    "disconnected": "somebody ended the session",
    "proxy-stopped": "the proxy stopped",
    "session-ttl": "its time was up",
    "taken-over": "somebody took the console over",
    "worker-died": "the relay worker that held it died",
}
"""Why a session ended, for people; a viewer that closes just leaves."""


def of_session(event: Event, session: Session) -> Event:
    """The same event with all that a session says of it; its own client stays."""
    return replace(
        event,
        source=session.key.source,
        key=session.key,
        console=session.console,
        session=session.id,
        client=event.client or session.client,
        label=session.label,
    )


def session_closed(session: Session, reason: str, at: datetime, *, more: str = "") -> Event:
    """The line of the audit log for a session that has ended.

    Args:
        more: What is known of the reason; otherwise `ENDS` says it.
    """
    lasted = human.age((at - session.started_at).total_seconds())
    text = f"{session.client} left {session.key.source}/{session.console} after {lasted}"
    if why := more or ENDS.get(reason, reason.replace("-", " ")):
        text += f": {why}"
    return of_session(Event(at=at, kind=Kind.SESSION_CLOSED, text=text, reason=reason), session)
