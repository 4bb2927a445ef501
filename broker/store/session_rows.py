"""Sessions and channels, row and noun; what is measured of them is one JSON text each."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from broker.latency import Counts, Tcp, Timing
from broker.model import (
    ChannelInfo,
    MachineId,
    MachineKey,
    Session,
    SessionId,
    SourceName,
)
from broker.store.rows import Row, Values, at, moment, seconds
from broker.store.token_rows import from_policy, to_policy

_HISTOGRAMS = ("ping", "draw", "proxy")
_CONNECTIONS = ("client", "server")


def to_session(row: Row, channels: tuple[ChannelInfo, ...]) -> Session:
    """A session with its live channels."""
    measured = json.loads(row["measured"])
    rates = measured.get("rates", (0.0, 0.0))
    return Session(
        id=SessionId(row["id"]),
        key=MachineKey(SourceName(row["source"]), MachineId(row["uuid"])),
        console=row["console"],
        client=row["client"],
        worker=row["worker"],
        started_at=at(row["started_at"]),
        channels=channels,
        bytes_to_client=row["bytes_to_client"],
        bytes_to_server=row["bytes_to_server"],
        label=row["label"],
        ended_at=moment(row["ended_at"]),
        end_reason=row["end_reason"] if row["ended_at"] else "",
        policy=to_policy(row["policy"]),
        timing=_timing(measured),
        rate_to_client=rates[0],
        rate_to_server=rates[1],
        worker_life=row["worker_life"],
    )


def from_session(session: Session) -> Values:
    """All columns but whether somebody asked to end it."""
    return {
        "id": session.id,
        "source": session.key.source,
        "uuid": session.key.uuid,
        "console": session.console,
        "client": session.client,
        "worker": session.worker,
        "started_at": session.started_at.timestamp(),
        "bytes_to_client": session.bytes_to_client,
        "bytes_to_server": session.bytes_to_server,
        "label": session.label,
        "ended_at": seconds(session.ended_at),
        "end_reason": session.end_reason,
        "policy": from_policy(session.policy),
        "measured": measured_of(session),
        "worker_life": session.worker_life,
    }


def measured_of(session: Session) -> str:
    """What is measured of a session, as JSON text."""
    rates = (session.rate_to_client, session.rate_to_server)
    return json.dumps(_spelled(session.timing) | ({"rates": rates} if any(rates) else {}))


def to_channel(row: Row) -> ChannelInfo:
    """A live channel."""
    return ChannelInfo(
        name=row["name"],
        opened_at=at(row["opened_at"]),
        bytes_to_client=row["bytes_to_client"],
        bytes_to_server=row["bytes_to_server"],
        timing=_timing(json.loads(row["measured"])),
    )


def from_channel(session: SessionId, channel: ChannelInfo) -> Values:
    """All columns."""
    return {
        "session": session,
        "name": channel.name,
        "opened_at": channel.opened_at.timestamp(),
        "bytes_to_client": channel.bytes_to_client,
        "bytes_to_server": channel.bytes_to_server,
        "measured": json.dumps(_spelled(channel.timing)),
    }


def _spelled(timing: Timing) -> dict[str, Any]:
    """What there is of it: buckets that are not empty, connections that are known."""
    document: dict[str, Any] = {
        name: {str(bucket): count for bucket, count in sorted(counts.items())}
        for name in _HISTOGRAMS
        if (counts := getattr(timing, name))
    }
    for name in _CONNECTIONS:
        if (tcp := getattr(timing, name)) is not None:
            document[name] = asdict(tcp)
    return document


def _timing(document: dict[str, Any]) -> Timing:
    fields: dict[str, Any] = {name: _counts(document.get(name, {})) for name in _HISTOGRAMS}
    fields |= {name: Tcp(**document[name]) for name in _CONNECTIONS if name in document}
    return Timing(**fields)


def _counts(document: dict[str, int]) -> Counts:
    return {int(bucket): count for bucket, count in document.items()}
