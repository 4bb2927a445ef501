"""Nouns as the documents that `--json` prints. Their keys are part of the public interface."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from broker.human import utc
from broker.model import GivenTarget, HandOverTarget, Machine, TcpTarget, UnixTarget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.events import Event
    from broker.model import (
        FoundQemu,
        LinkPolicy,
        MachineSpec,
        ProxyStatus,
        Session,
        SourceStatus,
        Target,
    )
    from broker.service.port import ConsoleInfo, Exported

Document = dict[str, object]


def moment(when: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC, or null."""
    return utc(when) if when else None


def console(info: ConsoleInfo) -> Document:
    """One row of `list --json`."""
    machine = info.machine
    return {
        "source": machine.key.source,
        "uuid": machine.key.uuid,
        "name": machine.name,
        "state": machine.state.value,
        "protocol": machine.protocol.value,
        "hypervisor": machine.hypervisor,
        "hypervisor_ip": machine.hypervisor_ip,
        "reason": machine.reason,
        "stale": info.stale,
        "sessions": info.sessions,
        "startable": info.startable,
        "adopted": machine.adopted,
        "pid": machine.pid,
        "started_at": moment(machine.started_at),
        "seen_at": moment(info.seen_at),
    }


def shown(info: ConsoleInfo, live: Iterable[Session]) -> Document:
    """What `show --json` prints: a row of `list`, where the screen is, and who is on it."""
    target = info.machine.target
    return {
        **console(info),
        "target": None if target is None else _target(target),
        "live": [
            {
                "id": each.id,
                "client": each.client,
                "label": each.label,
                "policy": policy(each.policy),
            }
            for each in live
        ],
    }


def _target(where: Target) -> Document:
    match where:
        case TcpTarget():
            return {
                "kind": "tcp",
                "host": where.host,
                "port": where.port,
                "tls_port": where.tls_port,
                "host_subject": where.host_subject,
                "verified": where.ca_pem is not None,
                "proxy": where.proxy,
            }
        case UnixTarget():
            return {"kind": "unix", "path": where.path}
        case HandOverTarget():
            return {"kind": "hand-over", "control_path": where.control_path}
        case GivenTarget():
            return {"kind": "given", "source": where.source}


def vm(machine: Machine) -> Document:
    """One row of `vm list --json`, and what the verbs of `vm` print."""
    return {
        "name": machine.name,
        "uuid": machine.key.uuid,
        "state": machine.state.value,
        "pid": machine.pid,
        "reason": machine.reason,
        "adopted": machine.adopted,
        "started_at": moment(machine.started_at),
        "source": machine.key.source,
    }


def found(qemu: FoundQemu) -> Document:
    """One row of `vm scan --json`."""
    return {
        "pid": qemu.pid,
        "started_at": moment(qemu.started_at),
        "user": qemu.user,
        "program": qemu.program,
        "name": qemu.name,
        "uuid": qemu.uuid,
        "owner": qemu.owner,
        "machine": qemu.machine,
        "monitor": qemu.monitor,
        "monitor_held": qemu.held,
        "screen": qemu.screen,
        "target": None if qemu.target is None else _target(qemu.target),
        "ticket": qemu.ticket,
        "adoptable": not qemu.why_not,
        "why_not": qemu.why_not,
        "command": list(qemu.command),
    }


def spec(spec: MachineSpec) -> Document:
    """A local VM as it was defined."""
    from dataclasses import asdict

    return asdict(spec)


def exported(made: Exported, path: str) -> Document:
    """What `export-vv --json` prints; no secret in it."""
    return {
        "path": path,
        "name": made.name,
        "source": made.key.source,
        "uuid": made.key.uuid,
        "expires_at": moment(made.expires_at),
        "host": made.host,
        "tls_port": made.tls_port,
    }


def session(live: Session, now: datetime | None = None) -> Document:
    """One row of `sessions --json`.

    Args:
        now: The time that its age is told for; None for this moment.
    """
    from broker.cli import session_view
    from broker.clock import SystemClock

    now = now or SystemClock().now()
    return {
        "id": live.id,
        "source": live.key.source,
        "uuid": live.key.uuid,
        "console": live.console,
        "client": live.client,
        "label": live.label,
        "worker": live.worker,
        "channels": [channel.name for channel in live.channels],
        "started_at": moment(live.started_at),
        "age": round((now - live.started_at).total_seconds(), 1),
        "bytes_to_client": live.bytes_to_client,
        "bytes_to_server": live.bytes_to_server,
        "rate_to_client": round(live.rate_to_client),
        "rate_to_server": round(live.rate_to_server),
        "policy": policy(live.policy),
        "latency_ms": {
            "ping": session_view.shares(live.timing.ping),
            "draw": session_view.shares(live.timing.draw),
            "proxy": session_view.shares(live.timing.proxy),
        },
        "split_ms": session_view.split_document(live),
        "channel_details": [
            {
                "name": channel.name,
                "opened_at": moment(channel.opened_at),
                "bytes_to_client": channel.bytes_to_client,
                "bytes_to_server": channel.bytes_to_server,
                "ping_ms": session_view.shares(channel.timing.ping),
                "client_tcp": session_view.connection(channel.timing.client),
                "server_tcp": session_view.connection(channel.timing.server),
            }
            for channel in live.channels
        ],
    }


def policy(allowed: LinkPolicy) -> Document:
    """What a token lets its session do."""
    said = allowed.spelled_out()
    return {
        "view_only": said.view_only,
        "usb": said.usb,
        "clipboard": said.clipboard,
        "file_transfer": said.file_transfer,
        "audio_in": said.audio_in,
        "from": list(said.sources_from),
        "session_ttl": said.session_ttl,
        "occupied": said.occupied.value,
    }


def source(status: SourceStatus) -> Document:
    """One row of `sources --json`."""
    return {
        "name": status.name,
        "type": status.type,
        "health": status.health.value,
        "machines": status.machines,
        "problem": status.problem,
        "fix": status.fix,
        "warnings": list(status.warnings),
        "listed_at": moment(status.listed_at),
        "since": moment(status.since),
        "seconds": round(status.seconds, 3),
        "error": status.error,
        "retry_at": moment(status.retry_at),
        "abilities": {
            ability.value: {"can": not why, "why_not": why}
            for ability, why in status.abilities.items()
        },
    }


def event(happened: Event) -> Document:
    """One line of `events --json`."""
    return {
        "id": happened.id,
        "at": moment(happened.at),
        "kind": happened.kind.value,
        "text": happened.text,
        "source": happened.source,
        "uuid": happened.key.uuid if happened.key else None,
        "console": happened.console,
        "session": happened.session,
        "client": happened.client,
        "label": happened.label,
        "channel": happened.channel,
        "verdict": happened.verdict,
        "reason": happened.reason,
    }


def proxy(status: ProxyStatus) -> Document:
    """What `status --json` prints."""
    return {
        "serving": status.serving,
        "host": status.host,
        "tls_port": status.tls_port,
        "pid": status.pid,
        "workers": list(status.workers),
        "metrics_port": status.metrics_port,
        "draining": status.draining,
    }
