from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.model import SourceName
from broker.store.store import Store
from tests import postgresql
from tests.fake_clock import FakeClock
from tests.postgresql import fresh_database


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database fresh from the migrations, which take longer than most tests here."""
    base = tmp_path_factory.mktemp("store")
    made = Locations(base, base, base, base)
    Store.open(made, clock=FakeClock()).close()
    return made.database


@pytest.fixture
def url() -> Iterator[str | None]:
    """Where the store's database is: SQLite, or one of its own on a server that was named."""
    with fresh_database() if postgresql.URL else contextlib.nullcontext() as made:
        yield made


@pytest.fixture
def store(
    locations: Locations, clock: FakeClock, empty_database: Path, url: str | None
) -> Iterator[Store]:
    """A store with two sources, `lab` and `here`, and nothing else."""
    if url is None:
        shutil.copy(empty_database, locations.database)
    opened = Store.open(locations, url=url, clock=clock)
    opened.put_configured([(SourceName("lab"), "static"), (SourceName("here"), "local")])
    yield opened
    opened.close()
