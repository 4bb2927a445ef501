from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.model import SourceName
from broker.store.store import Store
from tests.fake_clock import FakeClock


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database fresh from the migrations, which take longer than most tests here."""
    base = tmp_path_factory.mktemp("store")
    made = Locations(base, base, base, base)
    Store.open(made, clock=FakeClock()).close()
    return made.database


@pytest.fixture
def store(locations: Locations, clock: FakeClock, empty_database: Path) -> Iterator[Store]:
    """A store with two sources, `lab` and `here`, and nothing else."""
    shutil.copy(empty_database, locations.database)
    opened = Store.open(locations, clock=clock)
    opened.put_configured([(SourceName("lab"), "static"), (SourceName("here"), "local")])
    yield opened
    opened.close()
