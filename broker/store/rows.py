"""Row and noun: every column's meaning stands here once, for both ways into the database."""

from __future__ import annotations

import functools
import json
import sys
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from broker.events import Event, Kind
from broker.model import (
    Ability,
    GivenTarget,
    HandOverTarget,
    Health,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    SourceStatus,
    State,
    Target,
    TcpTarget,
    UnixTarget,
)
from broker.model import Protocol as Spoken


class StoredMachine(NamedTuple):
    """A machine and what the store knows besides.

    Attributes:
        stale: Its source failed since it was last seen.
        sessions: Live sessions on it.
    """

    machine: Machine
    stale: bool = False
    seen_at: datetime | None = None
    sessions: int = 0


class Row(Protocol):
    """A row of either way: SQLAlchemy's mapping or `sqlite3.Row`."""

    def __getitem__(self, column: str, /) -> Any: ...


_scan: Final = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # typeshed has it not
_SHARED: Final = ("host", "ca_pem", "host_subject")

Values = dict[str, Any]
"""Columns by name, to be written."""


def parts_of(reference: str) -> Values:
    """What names machines by `name`, `source/name`, uuid or `source/uuid`; no source has a `/`."""
    before, slash, behind = reference.partition("/")
    return {"whole": reference, "before": before if slash else "", "behind": behind}


def seconds(moment: datetime | None) -> float | None:
    """An aware time as the database holds it."""
    return None if moment is None else moment.timestamp()


def moment(value: float | None) -> datetime | None:
    """The inverse: aware, in UTC."""
    return None if value is None else datetime.fromtimestamp(value, UTC)


def at(value: float) -> datetime:
    """The same for a time that is always there."""
    return datetime.fromtimestamp(value, UTC)


# -- sources


def to_source(row: Row, machines: int) -> SourceStatus:
    """A source's status; the machines are counted by who asks."""
    return SourceStatus(
        name=SourceName(row["name"]),
        type=row["type"],
        health=Health(row["health"]),
        problem=row["problem"],
        fix=row["fix"],
        warnings=tuple(json.loads(row["warnings"])),
        machines=machines,
        listed_at=moment(row["listed_at"]),
        since=moment(row["since"]),
        seconds=row["seconds"],
        error=row["error"],
        retry_at=moment(row["retry_at"]),
        abilities={Ability(key): why for key, why in json.loads(row["abilities"]).items()},
    )


def from_source(status: SourceStatus) -> Values:
    """All columns but the position."""
    return {
        "name": status.name,
        "type": status.type,
        "health": status.health.value,
        "problem": status.problem,
        "fix": status.fix,
        "warnings": json.dumps(status.warnings),
        "listed_at": seconds(status.listed_at),
        "since": seconds(status.since),
        "seconds": status.seconds,
        "error": status.error,
        "retry_at": seconds(status.retry_at),
        "abilities": json.dumps(status.abilities),
    }


# -- machines


def to_machine(row: Row) -> Machine:
    """A machine as its source showed it."""
    return Machine(  # few sources and hosts have many machines: one text for each of them
        key=MachineKey(SourceName(sys.intern(row["source"])), MachineId(row["uuid"])),
        name=row["name"],
        state=State(row["state"]),
        hypervisor=sys.intern(row["hypervisor"]),
        hypervisor_ip=sys.intern(row["hypervisor_ip"]),
        protocol=Spoken(row["protocol"]),
        reason=row["reason"],
        pid=row["pid"],
        started_at=moment(row["started_at"]),
        target=to_target(row["target"]),
        defined=bool(row["defined"]),
        adopted=bool(row["adopted"]),
    )


def to_stored(row: Row) -> StoredMachine:
    """A machine with what `queries.MACHINES` adds to it."""
    machine = to_machine(row)
    return stored(machine, row["stale"], row["seen_at"], row["listed_at"], row["sessions"])


def stored(
    machine: Machine, stale: object, seen_at: float, listed_at: float | None, sessions: int
) -> StoredMachine:
    """A machine with what the store says of it; times as the database holds them.

    An unchanged machine is not written again, so one that is not stale was last seen when its
    source was last listed.
    """
    seen = seen_at if stale or listed_at is None else max(seen_at, listed_at)
    return StoredMachine(machine, bool(stale), _seen(seen), sessions)


@functools.lru_cache(maxsize=1024)
def _seen(value: float) -> datetime:
    """The machines of a source were all seen at the same time."""
    return at(value)


def from_machine(machine: Machine) -> Values:
    """What its source showed; not whether it is kept, stale, or when it was seen."""
    return {
        "source": machine.key.source,
        "uuid": machine.key.uuid,
        "name": machine.name,
        "state": machine.state.value,
        "hypervisor": machine.hypervisor,
        "hypervisor_ip": machine.hypervisor_ip,
        "protocol": machine.protocol.value,
        "reason": machine.reason,
        "pid": machine.pid,
        "started_at": seconds(machine.started_at),
        "target": from_target(machine.target),
        "defined": machine.defined,
        "adopted": machine.adopted,
    }


def to_target(text: str | None) -> Target | None:
    """A target from its JSON text."""
    if text is None:
        return None
    (kind, fields), _ = _scan(text, 0)  # what json.loads calls, and the half of its time
    match kind:
        case "tcp":
            for name in _SHARED:  # a cluster has one CA, and its machines few hosts
                if fields.get(name):
                    fields[name] = sys.intern(fields[name])
            return TcpTarget(**fields)
        case "unix":
            return UnixTarget(**fields)
        case "given":
            return GivenTarget(**fields)
        case _:
            return HandOverTarget(**fields)


def from_target(target: Target | None) -> str | None:
    """A target as JSON text: its kind and its fields, always in the same order.

    What is good for one session only (`tunnel`) and what the house fills in are left out.
    """
    match target:
        case None:
            return None
        case TcpTarget():
            fields: Values = {
                "host": target.host,
                "port": target.port,
                "tls_port": target.tls_port,
                "ca_pem": target.ca_pem,
                "host_subject": target.host_subject,
            }
            if target.proxy is not None:
                fields["proxy"] = target.proxy
            return json.dumps(["tcp", fields])
        case UnixTarget():
            return json.dumps(["unix", {"path": target.path}])
        case HandOverTarget():
            return json.dumps(["hand-over", {"control_path": target.control_path}])
        case GivenTarget():
            return json.dumps(["given", {"source": target.source, "machine": target.machine}])


# -- events


def to_event(row: Row) -> Event:
    """One line of the audit log."""
    source, uuid = row["machine_source"], row["machine_uuid"]
    return Event(
        at=at(row["at"]),
        kind=Kind(row["kind"]),
        text=row["text"],
        id=row["id"],
        source=row["source"],
        key=None if uuid is None else MachineKey(SourceName(source), MachineId(uuid)),
        console=row["console"],
        session=row["session"],
        client=row["client"],
        reason=row["reason"],
        label=row["label"],
        verdict=row["verdict"],
        channel=row["channel"],
    )


def from_event(event: Event) -> Values:
    """All columns but its number, which the database gives."""
    return {
        "at": event.at.timestamp(),
        "kind": event.kind.value,
        "text": event.text,
        "source": event.source,
        "machine_source": event.key.source if event.key else None,
        "machine_uuid": event.key.uuid if event.key else None,
        "console": event.console,
        "session": event.session,
        "client": event.client,
        "reason": event.reason,
        "label": event.label,
        "verdict": event.verdict,
        "channel": event.channel,
    }
