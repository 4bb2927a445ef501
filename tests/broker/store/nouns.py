"""Nouns for the store's tests, with every field told from its default."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from broker.events import Event, Kind
from broker.latency import Tcp, Timing
from broker.model import (
    ChannelInfo,
    LinkPolicy,
    Machine,
    MachineId,
    MachineKey,
    Session,
    SessionId,
    SourceName,
    State,
    TcpTarget,
    Token,
    WhenOccupied,
)
from broker.store.connection import ServerDatabase, SqliteDatabase
from broker.store.store import Store

LAB = SourceName("lab")
HERE = SourceName("here")
NOW = datetime(2026, 11, 21, 8, 15, tzinfo=UTC)
LATER = NOW + timedelta(seconds=120)
POLICY = LinkPolicy(
    view_only=True,
    usb=False,
    clipboard=False,
    file_transfer=False,
    audio_in=False,
    sources_from=("192.0.2.0/24", "2001:db8::/32"),
    session_ttl=3600.0,
    occupied=WhenOccupied.WAIT,
)
TICKET = "known-ticket-of-the-hypervisor"


def key(uuid: str = "u1", source: SourceName = LAB) -> MachineKey:
    return MachineKey(source, MachineId(uuid))


def machine(uuid: str = "u1", source: SourceName = LAB, **changes: Any) -> Machine:
    full = Machine(
        key=key(uuid, source),
        name=f"name-{uuid}",
        state=State.RUNNING,
        hypervisor="node1",
        hypervisor_ip="10.0.0.1",
        reason="why",
        pid=4711,
        started_at=NOW - timedelta(microseconds=123_457),
        target=TcpTarget("10.0.0.1", 5900, 5901, "PEM", "O=Lab,CN=node1"),
        defined=True,
    )
    return replace(full, **changes)


def token(digest: bytes = b"d" * 32, uuid: str = "u1", **changes: Any) -> Token:
    full = Token(
        digest, key(uuid), created_at=NOW, expires_at=LATER, label="for Ada", policy=POLICY
    )
    return replace(full, **changes)


def session(name: str = "abcdefghijkl", uuid: str = "u1", **changes: Any) -> Session:
    full = Session(
        id=SessionId(name),
        key=key(uuid),
        console=f"name-{uuid}",
        client="192.0.2.1:4000",
        worker=100,
        started_at=NOW,
        label="for Ada",
        policy=POLICY,
        timing=Timing(ping={40: 2, 3: 1}, draw={60: 1}, proxy={0: 4}),
        rate_to_client=1500.5,
        rate_to_server=2.0,
        worker_life="boot/42",
    )
    return replace(full, **changes)


def channel(name: str = "main", **changes: Any) -> ChannelInfo:
    timing = Timing(ping={40: 2}, client=Tcp(0.0123, 1, 2, 0.0011), server=Tcp(0.00004, 0, 0))
    return replace(ChannelInfo(name, NOW, 5_000_000_000, 7, timing), **changes)


def event(**changes: Any) -> Event:
    full = Event(
        at=NOW,
        kind=Kind.SESSION_REFUSED,
        text="no",
        source=LAB,
        key=key(),
        console="name-u1",
        session=SessionId("abcdefghijkl"),
        client="192.0.2.1:4000",
        reason="token-used",
        label="for Ada",
        verdict="refused",
        channel="main",
    )
    return replace(full, **changes)


def engine_of(store: Store) -> Engine:
    """The store's engine, to look behind it or to hurt it."""
    assert isinstance(store._database, SqliteDatabase | ServerDatabase)
    return store._database.engine
