"""SQL's view of what is kept: shapes, keys and indices. Rows never leave the store.

A row guards nothing: it is filled from nouns by `rows.py`. Times are seconds since 1970 in UTC,
choices are their words, and what is never asked for by its parts is JSON text. A change here needs
a migration in `migrations/versions/`, `SCHEMA` raised in `schema.py`, and `hot_sql.py` made anew.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKeyConstraint
from sqlmodel import Field, SQLModel


class MetaRow(SQLModel, table=True):
    """Single facts by name, such as the fingerprint of sources.yaml."""

    __tablename__ = "meta"

    name: str = Field(primary_key=True)
    value: str


class SourceRow(SQLModel, table=True):
    """A configured source and how it does."""

    __tablename__ = "source"

    name: str = Field(primary_key=True)
    type: str
    position: int
    health: str
    problem: str = ""
    fix: str = ""
    warnings: str = "[]"
    listed_at: float | None = None
    since: float | None = None
    seconds: float = 0.0
    error: str = ""
    retry_at: float | None = None
    abilities: str = "{}"


class MachineRow(SQLModel, table=True):
    """A machine as its source showed it last, with its sealed ticket where that is kept."""

    __tablename__ = "machine"
    __table_args__ = (ForeignKeyConstraint(["source"], ["source.name"], ondelete="CASCADE"),)

    source: str = Field(primary_key=True)
    uuid: str = Field(primary_key=True)
    name: str = Field(index=True)
    state: str
    hypervisor: str = ""
    hypervisor_ip: str = ""
    protocol: str
    reason: str = ""
    pid: int | None = None
    started_at: float | None = None
    target: str | None = None
    defined: bool = False
    adopted: bool = False
    kept: bool = False
    sealed_ticket: str | None = None
    stale: bool = False
    seen_at: float


class WantedRow(SQLModel, table=True):
    """The power a person asked for."""

    __tablename__ = "wanted"

    source: str = Field(primary_key=True)
    uuid: str = Field(primary_key=True)
    power: str


class TokenRow(SQLModel, table=True):
    """A token's digest and what it opens; never the token."""

    __tablename__ = "token"

    digest: bytes = Field(primary_key=True)
    source: str
    uuid: str
    created_at: float
    expires_at: float = Field(index=True)
    label: str = ""
    used_at: float | None = None
    revoked_at: float | None = None
    session: str | None = None
    policy: str = "{}"


class SessionRow(SQLModel, table=True):
    """One person at one machine, now or once."""

    __tablename__ = "session"

    id: str = Field(primary_key=True)
    source: str
    uuid: str
    console: str
    client: str
    worker: int
    started_at: float
    bytes_to_client: int = Field(default=0, sa_type=BigInteger)
    bytes_to_server: int = Field(default=0, sa_type=BigInteger)
    label: str = ""
    ended_at: float | None = Field(default=None, index=True)
    end_reason: str = ""
    end_asked: bool = False
    policy: str = "{}"
    measured: str = "{}"
    worker_life: str = ""


class ChannelRow(SQLModel, table=True):
    """A live channel of a session."""

    __tablename__ = "channel"
    __table_args__ = (ForeignKeyConstraint(["session"], ["session.id"], ondelete="CASCADE"),)

    session: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    opened_at: float
    bytes_to_client: int = Field(default=0, sa_type=BigInteger)
    bytes_to_server: int = Field(default=0, sa_type=BigInteger)
    measured: str = "{}"


class MessageRow(SQLModel, table=True):
    """Something said to the person in a session, until it is passed on."""

    __tablename__ = "session_message"
    __table_args__ = (ForeignKeyConstraint(["session"], ["session.id"], ondelete="CASCADE"),)

    id: int | None = Field(default=None, primary_key=True)
    session: str
    text: str
    at: float


class CounterRow(SQLModel, table=True):
    """Something that all relay workers have counted, ever."""

    __tablename__ = "counter"

    name: str = Field(primary_key=True)
    value: float


class EventRow(SQLModel, table=True):
    """One line of the audit log."""

    __tablename__ = "event"
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True)
    at: float = Field(index=True)
    kind: str
    text: str
    source: str = ""
    machine_source: str | None = None
    machine_uuid: str | None = None
    console: str = ""
    session: str | None = None
    client: str = ""
    reason: str = ""
    label: str = ""
    verdict: str = ""
    channel: str = ""
