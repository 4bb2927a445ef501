"""Statements that both ways into the database use: run by the store, compiled for `hot_sql.py`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    String,
    Table,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlmodel import SQLModel

from broker.model import Health, MachineKey
from broker.store import tables


def table(row: type[SQLModel]) -> Table:
    """The table of a row class."""
    found = SQLModel.metadata.tables[str(row.__tablename__)]
    assert isinstance(found, Table)
    return found


def one_machine(key: MachineKey) -> dict[str, str]:
    """The values that `ONE_MACHINE` and `CHANGE_MACHINE` take."""
    return {"of_source": key.source, "of_uuid": key.uuid}


META = table(tables.MetaRow)
SOURCE = table(tables.SourceRow)
MACHINE = table(tables.MachineRow)
WANTED = table(tables.WantedRow)
TOKEN = table(tables.TokenRow)
SESSION = table(tables.SessionRow)
CHANNEL = table(tables.ChannelRow)
MESSAGE = table(tables.MessageRow)
COUNTER = table(tables.CounterRow)
EVENT = table(tables.EventRow)

FILE_FINGERPRINT = "sources.yaml"
"""The fact's name in `meta`."""

_live = (
    select(SESSION.c.source, SESSION.c.uuid, func.count().label("sessions"))
    .where(SESSION.c.ended_at.is_(None))
    .group_by(SESSION.c.source, SESSION.c.uuid)
    .subquery("live")
)


def _shown(column: Column[Any]) -> bool:
    return column.name != "sealed_ticket"


MACHINES = (
    select(
        *(column for column in MACHINE.c if _shown(column)),
        SOURCE.c.listed_at,
        func.coalesce(_live.c.sessions, literal_column("0")).label("sessions"),
    )
    .join(SOURCE, SOURCE.c.name == MACHINE.c.source)
    .outerjoin(_live, and_(_live.c.source == MACHINE.c.source, _live.c.uuid == MACHINE.c.uuid))
    .order_by(MACHINE.c.name, MACHINE.c.source, MACHINE.c.uuid)
)
"""All machines as `rows.to_stored` reads them; no sealed ticket leaves the database for a list."""

FIRST_MACHINES = MACHINES.limit(bindparam("most")).offset(literal_column("0"))
"""The first ones of them."""

_of_machine = and_(
    MACHINE.c.source == bindparam("of_source"), MACHINE.c.uuid == bindparam("of_uuid")
)
ONE_MACHINE = select(MACHINE).where(_of_machine)
"""One row; takes `one_machine`. Made once, for a start waits for what it takes to make it."""

CHANGE_MACHINE = update(MACHINE).where(_of_machine)
"""Takes `one_machine`, and the columns that are other than before."""

_of_wanted = and_(WANTED.c.source == bindparam("of_source"), WANTED.c.uuid == bindparam("of_uuid"))
WANTED_POWER = select(WANTED.c.power).where(_of_wanted)
"""What is wanted of one machine; takes `one_machine`."""

CHANGE_WANTED = update(WANTED).where(_of_wanted).values(power=bindparam("to"))
"""Takes `one_machine` and `to`."""

HAS_SOURCE = select(SOURCE.c.name).where(SOURCE.c.name == bindparam("of_source"))
"""Whether a source is configured."""

WITH_PROCESS = MACHINES.where(MACHINE.c.pid.is_not(None))
"""Those that were seen with a process of this host."""

_whole: BindParameter[str] = bindparam("whole", type_=String)
_before: BindParameter[str] = bindparam("before", type_=String)
_behind: BindParameter[str] = bindparam("behind", type_=String)
_known = SOURCE.alias("known")
_named = select(_known.c.name).where(func.lower(_known.c.name) == func.lower(_before))
FIND = MACHINES.where(
    or_(
        MACHINE.c.name == _whole,
        and_(MACHINE.c.source.in_(select(_known.c.name)), MACHINE.c.uuid == func.lower(_whole)),
        and_(MACHINE.c.source == _before, MACHINE.c.name == _behind),
        and_(
            MACHINE.c.source.in_(_named),
            MACHINE.c.uuid.in_([_behind, func.lower(_behind)]),
        ),
    )
)
"""The machines that one reference names; takes `rows.parts_of` it. Each way by an index."""

UNLISTED = select(SOURCE.c.name).where(SOURCE.c.health == literal_column(f"'{Health.NEW}'"))
"""Sources that were configured and not looked at yet: what is stored is not all there is."""

FACT = select(META.c.value).where(META.c.name == bindparam("name"))
"""One fact."""

COUNT = (
    update(COUNTER)
    .where(COUNTER.c.name == bindparam("of"))
    .values(value=COUNTER.c.value + bindparam("more"))
)
ADD_TOKEN = insert(TOKEN)
ADD_EVENT = insert(EVENT).values(
    {column.name: bindparam(column.name) for column in EVENT.c if column.name != "id"}
)
