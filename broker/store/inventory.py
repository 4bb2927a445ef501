"""Sources and machines: the statements behind the store's verbs, in their caller's transaction.

Only what is different is written, because every write wakes every reader.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from broker.errors import NoConsole, NotFound, StoreError
from broker.model import (
    Console,
    Health,
    Machine,
    MachineId,
    MachineKey,
    Power,
    SourceName,
    SourceStatus,
)
from broker.store import rows
from broker.store.faces import Faces
from broker.store.queries import (
    CHANGE_MACHINE,
    CHANGE_WANTED,
    FIND,
    HAS_SOURCE,
    MACHINE,
    ONE_MACHINE,
    SOURCE,
    WANTED,
    WANTED_POWER,
    one_machine,
)
from broker.store.rows import StoredMachine, Values
from broker.store.sealing import Sealer


def put_configured(db: Connection, wanted: Sequence[tuple[SourceName, str]]) -> None:
    """See `Store.put_configured`."""
    known = {row["name"]: row for row in db.execute(select(SOURCE)).mappings()}
    names = [name for name, _ in wanted]
    for name in known:
        if name not in names:
            db.execute(delete(SOURCE).where(SOURCE.c.name == name))
    for position, (name, type_name) in enumerate(wanted):
        row = known.get(name)
        if row is not None and row["type"] != type_name:
            db.execute(delete(SOURCE).where(SOURCE.c.name == name))
            row = None
        if row is None:
            status = SourceStatus(name=name, type=type_name, health=Health.NEW)
            db.execute(insert(SOURCE).values(**rows.from_source(status), position=position))
        elif row["position"] != position:
            db.execute(update(SOURCE).where(SOURCE.c.name == name).values(position=position))


def put_source_status(db: Connection, status: SourceStatus) -> None:
    """See `Store.put_source_status`."""
    values = rows.from_source(status)
    here = SOURCE.c.name == status.name
    row = db.execute(select(SOURCE).where(here)).mappings().one_or_none()
    if row is None:
        last = db.execute(select(func.max(SOURCE.c.position))).scalar()
        position = 0 if last is None else last + 1
        db.execute(insert(SOURCE).values(**values, position=position))
    elif _differs(row, values):
        db.execute(update(SOURCE).where(here).values(**values))


def sources(db: Connection) -> list[SourceStatus]:
    """See `Store.sources`."""
    counting = select(MACHINE.c.source, func.count()).group_by(MACHINE.c.source)
    counts = {row[0]: row[1] for row in db.execute(counting)}
    ordered = select(SOURCE).order_by(SOURCE.c.position, SOURCE.c.name)
    return [
        rows.to_source(row, counts.get(row["name"], 0)) for row in db.execute(ordered).mappings()
    ]


def put_machines(
    db: Connection,
    source: SourceName,
    machines: Sequence[Machine],
    *,
    tickets: Mapping[MachineId, str],
    kept: bool,
    asked: Collection[MachineId],
    sealer: Sealer,
    now: datetime,
) -> set[MachineKey]:
    """See `Store.put_machines`."""
    _need_source(db, source)
    of_source = select(MACHINE).where(MACHINE.c.source == source)
    known = {row["uuid"]: row for row in db.execute(of_source).mappings()}
    shown = {machine.key.uuid: machine for machine in machines}
    new: list[Values] = []
    for uuid, machine in shown.items():
        row = known.get(uuid)
        sealed = row["sealed_ticket"] if row is not None else None
        values = rows.from_machine(machine) | {
            "source": source,
            "kept": kept and uuid not in asked,
            "stale": False,
            "sealed_ticket": _seal(sealer, machine.key, tickets.get(uuid), sealed),
        }
        if row is None or _differs(row, values):
            new.append(values | {"seen_at": now.timestamp()})
    gone = [uuid for uuid in known if uuid not in shown]
    leave = gone + [values["uuid"] for values in new if values["uuid"] in known]
    for start in range(0, len(leave), 500):
        some = MACHINE.c.uuid.in_(leave[start : start + 500])
        db.execute(delete(MACHINE).where(and_(MACHINE.c.source == source, some)))
    if new:
        db.execute(insert(MACHINE), new)
    return {MachineKey(source, MachineId(uuid)) for uuid in [*gone, *(row["uuid"] for row in new)]}


def put_machine(db: Connection, machine: Machine, *, now: datetime) -> bool:
    """See `Store.put_machine`."""
    _need_source(db, machine.key.source)
    values = rows.from_machine(machine) | {"stale": False}
    row = _row(db, machine.key)
    if row is None:
        db.execute(insert(MACHINE).values(**values, kept=False, seen_at=now.timestamp()))
        return True
    if not _differs(row, values):
        return False
    db.execute(CHANGE_MACHINE, values | {"seen_at": now.timestamp()} | one_machine(machine.key))
    return True


def put_wanted(db: Connection, key: MachineKey, power: Power) -> None:
    """See `Store.put_wanted`."""
    here = one_machine(key)
    before = db.execute(WANTED_POWER, here).scalar()
    if before is None:
        values = {"source": key.source, "uuid": key.uuid, "power": power.value}
        db.execute(insert(WANTED), values)
    elif before != power.value:
        db.execute(CHANGE_WANTED, here | {"to": power.value})


def mark_stale(db: Connection, source: SourceName) -> None:
    """See `Store.mark_stale`. What was seen when the source was last listed is said now."""
    listed_at = select(SOURCE.c.listed_at).where(SOURCE.c.name == source).scalar_subquery()
    fresh = and_(MACHINE.c.source == source, MACHINE.c.stale.is_(False))
    if db.execute(select(func.count()).select_from(MACHINE).where(fresh)).scalar():
        newest = func.coalesce(listed_at, MACHINE.c.seen_at)
        db.execute(update(MACHINE).where(fresh).values(stale=True, seen_at=newest))


def machines(db: Connection, faces: Faces) -> list[StoredMachine]:
    """See `Store.machines`."""
    return faces.read(db)


def find(db: Connection, reference: str) -> list[StoredMachine]:
    """See `Store.find`."""
    found = db.execute(FIND, rows.parts_of(reference)).mappings()
    return [rows.to_stored(row) for row in found]


def machine(db: Connection, key: MachineKey) -> Machine:
    """See `Store.machine`."""
    row = _row(db, key)
    if row is None:
        raise NotFound(f"{key.source}/{key.uuid} is not known (any more)", fix="See: broker list")
    return rows.to_machine(row)


def kept_console(db: Connection, key: MachineKey, sealer: Sealer) -> Console | None:
    """See `Store.kept_console`."""
    row = _row(db, key)
    if row is None or not row["kept"]:
        return None
    found = rows.to_machine(row)
    if found.target is None:
        raise NoConsole(f"{found.full_name} has no screen that can be reached")
    ticket = None
    if (sealed := row["sealed_ticket"]) is not None:
        ticket = sealer.unseal(sealed, _owner(key))
        if ticket is None:
            raise StoreError(
                f"The stored ticket of {found.full_name} cannot be read: "
                "the key it was sealed with is gone",
                fix="Have it read again: broker sources --refresh",
            )
    return Console(target=found.target, protocol=found.protocol, ticket=ticket)


def _seal(sealer: Sealer, key: MachineKey, ticket: str | None, sealed: str | None) -> str | None:
    """What to store: the same sealed text as long as it holds the same ticket."""
    if ticket is None:
        return None
    owner = _owner(key)
    if sealed is not None and sealer.unseal(sealed, owner) == ticket:
        return sealed
    return sealer.seal(ticket, owner)


def _owner(key: MachineKey) -> str:
    return f"{key.source}/{key.uuid}"


def _row(db: Connection, key: MachineKey) -> rows.Row | None:
    return db.execute(ONE_MACHINE, one_machine(key)).mappings().one_or_none()


def _need_source(db: Connection, source: SourceName) -> None:
    if db.execute(HAS_SOURCE, {"of_source": source}).first() is None:
        raise NotFound(f"{source} is not a configured source (any more)", fix="broker sources")


def _differs(row: rows.Row, values: Values) -> bool:
    return any(row[column] != value for column, value in values.items())
