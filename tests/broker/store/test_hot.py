from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from broker.config.locations import Locations
from broker.errors import StoreError
from broker.model import Health, SourceStatus, TcpTarget
from broker.store import faults, hot_gen, hot_sql, queries, rows
from broker.store.hot import HotStore, open_hot
from broker.store.store import Store
from tests.broker.store.nouns import HERE, LAB, NOW, event, key, machine, session, token
from tests.fake_clock import FakeClock


@pytest.fixture
def url() -> None:
    """All of this is about SQLite's file."""


@pytest.fixture
def filled(store: Store, clock: FakeClock) -> Store:
    """Machines of two sources, stale ones, ones with sessions, a listing time."""
    store.put_machines(
        LAB,
        [machine("u1"), machine("U2".lower(), name="twin", target=TcpTarget("h", 1))],
        tickets={},
        kept=True,
    )
    store.put_machines(
        HERE, [machine("u3", HERE, name="twin", target=None, pid=None)], tickets={}, kept=False
    )
    clock.forward(10)
    store.put_source_status(SourceStatus(HERE, "local", Health.OK, listed_at=clock.now()))
    store.mark_stale(LAB)
    store.add_token(token())
    store.open_session(token().digest, session(uuid="u1"))
    store.put_file_fingerprint("the fingerprint")
    return store


@pytest.fixture
def hot(filled: Store, locations: Locations) -> Iterator[HotStore]:
    opened = open_hot(locations.database)
    assert opened is not None
    yield opened
    opened.close()


def test_the_sql_is_that_of_the_tables() -> None:
    """When this fails: python -m broker.store.hot_gen."""
    assert hot_gen.TARGET.read_text() == hot_gen.generate()


def test_both_ways_show_the_same_machines(filled: Store, hot: HotStore) -> None:
    assert hot.machines() == filled.machines()
    assert len(hot.machines()) == 3


def test_the_first_machines_are_the_beginning_of_all(filled: Store, hot: HotStore) -> None:
    assert hot.first_machines(2) == filled.machines()[:2]
    assert hot.first_machines(100) == filled.machines()


def test_those_with_a_process_are_told_apart(filled: Store, hot: HotStore) -> None:
    with_process = [one for one in filled.machines() if one.machine.pid is not None]
    assert hot.with_process() == with_process


def test_a_machine_that_did_not_change_is_the_same_object_when_read_again(filled: Store) -> None:
    before = filled.machines()
    filled.put_machine(machine("u1", name="renamed"))
    after = {one.machine.key: one.machine for one in filled.machines()}
    same = [one.machine is after[one.machine.key] for one in before]
    assert same.count(False) == 1
    assert "renamed" in {one.name for one in after.values()}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("name-u1", ["lab/name-u1"]),
        ("lab/name-u1", ["lab/name-u1"]),
        ("U1", ["lab/name-u1"]),
        ("LAB/U1", ["lab/name-u1"]),
        ("twin", ["here/twin", "lab/twin"]),
        ("here/twin", ["here/twin"]),
        ("lab/u1", ["lab/name-u1"]),
        ("nobody", []),
        ("here/name-u1", []),
        ("lab/", []),
        ("lab", []),
        ("/twin", []),
        ("' OR 1=1 --", []),
    ],
)
def test_a_console_is_found_by_its_names(
    filled: Store, hot: HotStore, reference: str, found: list[str]
) -> None:
    assert [stored.machine.full_name for stored in hot.find(reference)] == found
    assert filled.find(reference) == hot.find(reference)


def test_a_console_is_found_without_reading_them_all(locations: Locations, filled: Store) -> None:
    with contextlib.closing(sqlite3.connect(locations.database)) as raw:
        plan = raw.execute(f"EXPLAIN QUERY PLAN {hot_sql.FIND}", rows.parts_of("lab/name-u1"))
        steps = [str(step[-1]) for step in plan]
    assert [step for step in steps if step.startswith("SEARCH machine")]
    assert not [step for step in steps if step.startswith("SCAN") and " machine" in step]


def test_a_token_added_quickly_opens_a_session(filled: Store, hot: HotStore) -> None:
    hot.add_token(token(b"q" * 32))
    assert filled.token(b"q" * 32) == token(b"q" * 32)
    filled.open_session(b"q" * 32, session("quick"))


def test_an_event_added_quickly_reads_the_same(filled: Store, hot: HotStore) -> None:
    hot.add_event(event())
    hot.add_event(event(key=None, session=None))
    one, two = filled.events()
    assert one == event(id=one.id)
    assert two == event(id=two.id, key=None, session=None)


def test_what_is_written_quickly_wakes_readers(filled: Store, hot: HotStore) -> None:
    before = filled.data_version()
    hot.add_event(event())
    assert filled.data_version() != before


def test_the_fingerprint_reads_the_same(filled: Store, hot: HotStore) -> None:
    assert hot.file_fingerprint() == filled.file_fingerprint() == "the fingerprint"
    assert queries.FILE_FINGERPRINT == "sources.yaml"


def test_it_is_whole_once_each_source_was_looked_at(
    filled: Store, hot: HotStore, clock: FakeClock
) -> None:
    assert not hot.is_whole()
    for name in (LAB, HERE):
        filled.put_source_status(SourceStatus(name, "x", Health.FAILED, listed_at=clock.now()))
    assert hot.is_whole()


def test_without_a_fingerprint_it_is_empty(store: Store, locations: Locations) -> None:
    hot = open_hot(locations.database)
    assert hot is not None
    assert hot.file_fingerprint() == ""
    hot.close()


# -- when the whole store must do it


def test_no_database_yet_is_no_error_and_makes_none(locations: Locations) -> None:
    assert open_hot(locations.database) is None
    assert not locations.database.exists()


@pytest.mark.parametrize("content", [b"", b"junk" * 4000], ids=["empty", "junk"])
def test_what_is_no_database_of_ours_is_left_to_the_store(
    locations: Locations, content: bytes
) -> None:
    locations.database.write_bytes(content)
    assert open_hot(locations.database) is None


def test_another_schema_is_left_to_the_store(store: Store, locations: Locations) -> None:
    with sqlite3.connect(locations.database) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert open_hot(locations.database) is None


def test_a_suspected_database_is_left_to_the_store(store: Store, locations: Locations) -> None:
    faults.suspect_mark(locations.database).touch()
    assert open_hot(locations.database) is None


def test_a_write_that_fails_is_a_store_error(hot: HotStore) -> None:
    hot._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match="cannot be written to"):
        hot.add_event(event(at=NOW))


def test_the_quick_way_imports_nothing_slow(filled: Store) -> None:
    code = (
        "import sys\n"
        "from broker import tokens, vv, pki\n"
        "from broker.config.load import load_settings\n"
        "from broker.config.locations import Locations\n"
        "from broker.config.sources_file import fingerprint\n"
        "from broker.store.hot import open_hot\n"
        "locations = Locations.from_env(); locations.prepare(); load_settings(locations)\n"
        "hot = open_hot(locations.database)\n"
        "assert hot and hot.machines() and hot.find('twin')\n"
        "fingerprint(locations.sources_yaml); pki.read_identity(locations.pki_dir)\n"
        "vv.render(vv.VvFile(password=tokens.mint()))\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'sqlmodel', 'sqlalchemy',"
        " 'pydantic', 'yaml', 'asyncio', 'cryptography', 'ssl', 'alembic', 'secrets', 'random',"
        " 'typing_extensions', 'importlib.metadata', 'logging'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_key_is_the_pair_of_source_and_uuid(hot: HotStore) -> None:
    assert {stored.machine.key for stored in hot.machines()} == {
        key("u1"),
        key("u2"),
        key("u3", HERE),
    }
