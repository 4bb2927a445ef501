from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.errors import StoreError
from broker.model import Power
from broker.store import engine, faults
from broker.store.patience import within
from broker.store.schema import SCHEMA
from broker.store.store import Store
from tests.broker.store.nouns import LAB, engine_of, event, key, machine
from tests.fake_clock import FakeClock

WRITE_FOR_EVER = """
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.store.store import Store
from tests.broker.store.nouns import event
store = Store.open(Locations.from_env(), clock=SystemClock())
print("writing", flush=True)
while True:
    store.add_event(event())
"""

OPEN_AND_WRITE = """
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.store.store import Store
from tests.broker.store.nouns import event
for _ in range(20):
    Store.open(Locations.from_env(), clock=SystemClock()).add_event(event())
"""

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url() -> None:
    """All of this is about SQLite's file."""


def reopen(locations: Locations, clock: FakeClock) -> Store:
    return Store.open(locations, clock=clock)


def test_a_new_database_is_ours_alone_and_has_our_schema(
    store: Store, locations: Locations
) -> None:
    store.add_event(event())
    files = [path for path in locations.state_dir.iterdir() if path.name.startswith("broker.db")]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    with sqlite3.connect(locations.database) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_database_that_others_could_read_is_closed_to_them(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    locations.database.chmod(0o644)
    reopen(locations, clock).close()
    assert locations.database.stat().st_mode & 0o777 == 0o600


def test_opening_again_finds_everything_and_says_nothing(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    store.put_machines(LAB, [machine()], tickets={}, kept=False)
    store.close()
    again = reopen(locations, clock)
    assert again.machine(key()) == machine()
    assert again.notes == ()
    again.close()


def test_opening_a_current_database_imports_no_alembic(store: Store) -> None:
    code = (
        "import sys\n"
        "from broker.clock import SystemClock\n"
        "from broker.config.locations import Locations\n"
        "from broker.store.store import Store\n"
        "Store.open(Locations.from_env(), clock=SystemClock()).machines()\n"
        "print('alembic' in sys.modules, 'cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_processes_that_open_a_new_database_at_once_all_succeed(
    locations: Locations, clock: FakeClock
) -> None:
    running = [subprocess.Popen([sys.executable, "-c", OPEN_AND_WRITE], cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    store = reopen(locations, clock)
    assert len(store.events(limit=1000)) == 80
    store.close()


def test_a_process_killed_while_it_writes_damages_nothing(
    locations: Locations, clock: FakeClock
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    store = reopen(locations, clock)
    while len(store.events()) < 20:
        pass
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store.close()
    again = reopen(locations, clock)
    assert again.notes == ()
    assert again.add_event(event()).id > 20
    again.close()


# -- damage


def damage(database: Path, content: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    database.write_bytes(content)


@pytest.mark.parametrize(
    "content",
    [b"this is no database, and long enough to be seen as one" * 100, b"\0" * 8192],
    ids=["text", "zeros"],
)
def test_a_file_that_is_no_database_is_kept_aside_and_a_new_one_begun(
    locations: Locations, clock: FakeClock, content: bytes
) -> None:
    damage(locations.database, content)
    store = reopen(locations, clock)
    kept = locations.database.with_name("broker.db.corrupt-20261121T081500Z")
    assert kept.read_bytes() == content
    (note,) = store.notes
    assert str(locations.database) in note
    assert kept.name in note
    store.add_event(event())
    store.close()


def test_a_database_with_a_broken_page_is_kept_aside(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    store.put_machines(LAB, [machine(f"u{n}") for n in range(200)], tickets={}, kept=False)
    store.close()
    whole = bytearray(locations.database.read_bytes())
    whole[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    damage(locations.database, bytes(whole))
    again = reopen(locations, clock)
    assert len(again.notes) == 1
    assert again.machines() == []
    again.close()


def test_damage_met_later_is_said_once_and_then_healed(
    store: Store, locations: Locations, caplog: pytest.LogCaptureFixture
) -> None:
    store.put_machines(LAB, [machine()], tickets={}, kept=False)
    before = store.data_version()
    store.close()
    damage(locations.database, b"junk" * 5000)
    with pytest.raises(StoreError, match="is damaged") as caught:
        store.machines()
    assert "kept aside" in caught.value.fix
    assert store.machines() == []
    assert len(store.notes) == 1
    assert caplog.messages == list(store.notes)
    assert store.data_version() != before
    assert not faults.suspect_mark(locations.database).exists()


def test_who_has_it_open_follows_when_another_process_sets_it_aside(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    before = store.data_version()
    damage(locations.database, b"junk" * 5000)
    other = reopen(locations, clock)
    other.put_wanted(key(), Power.ON)
    assert store.data_version() != before
    assert store.wanted() == {key(): Power.ON}
    other.close()


def test_a_database_that_was_removed_is_begun_anew(store: Store, locations: Locations) -> None:
    store.put_wanted(key(), Power.ON)
    for path in locations.state_dir.glob("broker.db*"):
        path.unlink()
    assert store.wanted() == {}
    store.add_event(event())
    assert locations.database.exists()


def test_a_migration_that_is_cut_off_leaves_nothing_behind(
    locations: Locations, clock: FakeClock
) -> None:
    cut = engine.engine_on(locations.database)
    with contextlib.suppress(KeyboardInterrupt), cut.begin() as connection:
        engine.migrate(connection)
        raise KeyboardInterrupt
    cut.dispose()
    store = reopen(locations, clock)
    assert store.notes == ()
    store.add_event(event())
    store.close()


def test_two_damaged_in_one_second_are_both_kept(locations: Locations, clock: FakeClock) -> None:
    for content in (b"one " * 999, b"two " * 999):
        damage(locations.database, content)
        reopen(locations, clock).close()
    kept = sorted(locations.state_dir.glob("broker.db.corrupt-*"))
    assert [path.read_bytes()[:3] for path in kept] == [b"one", b"two"]


def test_a_wrong_suspicion_costs_nothing(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    store.put_wanted(key(), Power.ON)
    store.close()
    faults.suspect_mark(locations.database).touch()
    again = reopen(locations, clock)
    assert again.notes == ()
    assert again.wanted() == {key(): Power.ON}
    assert not faults.suspect_mark(locations.database).exists()
    again.close()


# -- what cannot be opened


def test_a_database_of_a_newer_version_is_left_alone(
    store: Store, locations: Locations, clock: FakeClock
) -> None:
    store.close()
    with sqlite3.connect(locations.database) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    before = locations.database.read_bytes()
    with pytest.raises(StoreError, match="a newer version of broker") as caught:
        reopen(locations, clock)
    assert caught.value.fix
    assert locations.database.read_bytes() == before


def test_a_directory_in_its_place_is_said(locations: Locations, clock: FakeClock) -> None:
    locations.database.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        reopen(locations, clock)


def test_a_state_directory_that_is_gone_is_said(locations: Locations, clock: FakeClock) -> None:
    locations.state_dir.rmdir()
    with pytest.raises(StoreError, match="cannot be opened or made"):
        reopen(locations, clock)


@pytest.mark.parametrize("url", ["nonsense", "nodb://x/y", "postgresql+nodriver://h/d"])
def test_a_url_that_cannot_be_used_is_said_without_being_quoted(
    locations: Locations, clock: FakeClock, url: str
) -> None:
    with pytest.raises(StoreError, match=r"store\.url") as caught:
        Store.open(locations, url=url, clock=clock)
    assert url not in str(caught.value)


def test_a_url_where_nobody_answers_is_said(locations: Locations, clock: FakeClock) -> None:
    with pytest.raises(StoreError, match=r"store\.url names cannot be opened"):
        Store.open(locations, url="sqlite:////nowhere/at/all.db", clock=clock)


def test_another_database_named_by_url_works_the_same(
    locations: Locations, clock: FakeClock, broker_home: Path
) -> None:
    store = Store.open(locations, url=f"sqlite:///{broker_home}/other.db", clock=clock)
    store.put_wanted(key(), Power.ON)
    assert store.wanted() == {key(): Power.ON}
    before = store.data_version()
    clock.forward(1)
    assert store.data_version() != before
    store.close()


# -- what sqlite says


@pytest.fixture
def full(locations: Locations, clock: FakeClock) -> Store:
    """A store whose database cannot grow, as on a full disk."""
    import sqlalchemy

    store = reopen(locations, clock)
    with engine_of(store).connect() as connection:
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
    engine_of(store).dispose()

    @sqlalchemy.event.listens_for(engine_of(store), "connect")
    def _limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    return store


def test_a_full_disk_is_said_and_loses_nothing_stored(full: Store) -> None:
    full.put_configured([(LAB, "static")])
    with pytest.raises(StoreError, match="its disk is full") as caught:
        full.put_machines(LAB, [machine(f"u{n}") for n in range(5000)], tickets={}, kept=False)
    assert caught.value.fix == "Make room on that disk"
    assert [source.name for source in full.sources()] == ["lab"]
    assert full.machines() == []
    full.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("PRAGMA query_only = 1; INSERT INTO t VALUES (1)", "cannot be written to"),
        ("PRAGMA max_page_count = 1; INSERT INTO t VALUES (zeroblob(99999))", "disk is full"),
    ],
)
def test_sqlites_errors_become_words(broker_home: Path, sql: str, words: str) -> None:
    connection = sqlite3.connect(broker_home / "x.db", isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    pragma, statement = sql.split("; ")
    connection.execute(pragma)
    with pytest.raises(StoreError, match=words), faults.sqlite_errors(broker_home / "x.db"):
        connection.execute(statement)
    connection.close()


def test_a_lock_held_for_too_long_is_said(broker_home: Path) -> None:
    path = broker_home / "x.db"
    one, two = (sqlite3.connect(path, isolation_level=None, timeout=0) for _ in range(2))
    one.execute("CREATE TABLE t (x)")
    one.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="held by another process"), faults.sqlite_errors(path):
        two.execute("INSERT INTO t VALUES (1)")
    one.close()
    two.close()


def test_what_cannot_wait_waits_as_long_as_it_says(store: Store) -> None:
    def waits() -> int:
        with engine_of(store).begin() as connection:
            return int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())

    usual = round(engine.BUSY_SECONDS * 1000)
    assert waits() == usual
    with within(0.25):
        assert waits() == 250
        with within(2):
            assert waits() == 2000
        assert waits() == 250
    assert waits() == usual


def test_a_bug_in_our_sql_passes_through(broker_home: Path) -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError), faults.sqlite_errors(broker_home / "x.db"):
        connection.execute("SELECT nonsense")
    connection.close()
