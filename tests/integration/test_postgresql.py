"""State on a PostgreSQL server: `tests/postgresql.py` says how to name one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy

from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.errors import Occupied, StoreError
from broker.events import Kind
from broker.model import SessionId
from broker.store.engine import be_alone
from broker.store.store import Store
from tests.broker.store.nouns import LAB, machine, session, token
from tests.integration.cli import broker
from tests.integration.house import housed
from tests.postgresql import fresh_database, needs_postgresql

pytestmark = needs_postgresql
COMERS = 8


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with fresh_database() as made:
        monkeypatch.setenv("BROKER_STORE_URL", made)
        yield made


def opened(locations: Locations, url: str) -> Store:
    return Store.open(locations, url=url, clock=SystemClock())


@pytest.mark.qemu
async def test_a_house_serves_from_it_and_commands_see_what_goes_on(
    url: str, locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with housed(locations, monkeypatch) as house:
        viewer = await house.viewer()
        await viewer.inputs.press(0x1E)
        await house.qemu.says(b"K1\r\n")
        live = await house.counted(3)
        (row,) = (await asyncio.to_thread(broker, "sessions", "--json")).rows
        assert (row["id"], row["console"]) == (live.id, "vm")
        assert int(str(row["bytes_to_client"])) > 0
        ended = await asyncio.to_thread(broker, "disconnect", live.id)
        assert ended.code == 0, ended.err
        await viewer.closed()
        await house.ended()
        await house.told("disconnected", Kind.SESSION_CLOSED)
        kinds = [row["kind"] for row in (await asyncio.to_thread(broker, "events", "--json")).rows]
        assert {"proxy.started", "session.opened", "session.closed"} <= set(kinds)
        await house.fresh_viewer()
    assert not locations.database.exists()


def test_many_who_open_it_for_the_first_time_at_once_make_it_once(
    url: str, locations: Locations
) -> None:
    with ThreadPoolExecutor(COMERS) as threads:
        stores = list(threads.map(lambda _: opened(locations, url), range(COMERS)))
    for store in stores:
        assert store.sources() == []
        store.close()


def test_of_many_who_come_to_one_console_at_once_one_gets_in(
    url: str, locations: Locations
) -> None:
    stores = [opened(locations, url) for _ in range(COMERS)]
    stores[0].put_configured([(LAB, "static")])
    stores[0].put_machines(LAB, [machine()], tickets={}, kept=True)
    now = SystemClock().now()

    def come(number: int) -> bool:
        digest = bytes([number]) * 32
        stores[number].add_token(
            token(digest, created_at=now, expires_at=now + timedelta(seconds=60))
        )
        try:
            stores[number].open_session(digest, session(f"session-{number}"), alone=True)
        except Occupied:
            return False
        return True

    with ThreadPoolExecutor(COMERS) as threads:
        got_in = list(threads.map(come, range(COMERS)))
    assert got_in.count(True) == 1
    (only,) = stores[0].sessions()
    assert only.id == SessionId(f"session-{got_in.index(True)}")
    for store in stores:
        store.close()


def test_workers_that_count_the_same_at_once_lose_nothing(url: str, locations: Locations) -> None:
    stores = [opened(locations, url) for _ in range(COMERS)]
    names = [f"name-{number}" for number in range(20)]

    def count(store: Store) -> None:
        for _ in range(5):
            store.add_counts(dict.fromkeys(names, 1.0))

    with ThreadPoolExecutor(COMERS) as threads:
        list(threads.map(count, stores))
    assert stores[0].counts() == dict.fromkeys(names, 5.0 * COMERS)
    for store in stores:
        store.close()


def test_a_writer_that_hangs_is_not_waited_for_for_ever(
    url: str, locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.engine.BUSY_SECONDS", 1)
    store = opened(locations, url)
    other = sqlalchemy.create_engine(url)
    with other.begin() as hanging:
        be_alone(hanging)
        with pytest.raises(StoreError, match="not in time"):
            store.put_configured([])
        assert store.sources() == []
    store.put_configured([(LAB, "static")])
    other.dispose()
    store.close()


def test_a_server_that_was_restarted_is_found_again(url: str, locations: Locations) -> None:
    store = opened(locations, url)
    server = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    server.dispose()
    assert store.sources() == []
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(url: str, locations: Locations) -> None:
    opened(locations, url).close()
    server = sqlalchemy.create_engine(url)
    with server.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    server.dispose()
    with pytest.raises(StoreError, match="newer version"):
        opened(locations, url)
