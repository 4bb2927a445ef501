from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.config.locations import Locations
from broker.model import SourceName
from broker.store.store import Store
from tests.fake_clock import FakeClock


@pytest.fixture
def store(locations: Locations, clock: FakeClock) -> Iterator[Store]:
    """A store with two sources, `lab` and `here`, and nothing else."""
    opened = Store.open(locations, clock=clock)
    opened.put_configured([(SourceName("lab"), "static"), (SourceName("here"), "local")])
    yield opened
    opened.close()
