from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from broker.config.locations import Locations
from broker.driver import DriverContext
from tests.fakes.lab import Lab, running_lab
from tests.sources.remote import KINDS, TICKETED, Bench, benched


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A SPICE server that wants a password."""
    with running_lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def open_lab() -> Iterator[Lab]:
    """A SPICE server that lets everybody in."""
    with running_lab(open_to_all=True) as lab:
        yield lab


def lab_of(kind: str, request: pytest.FixtureRequest) -> Lab:
    found: Lab = request.getfixturevalue("lab" if kind in TICKETED else "open_lab")
    return found


@pytest.fixture
def driver_context(locations: Locations) -> DriverContext:
    return DriverContext(locations.config_dir, locations.data_dir, locations.runtime_dir)


@pytest.fixture(params=KINDS)
async def bench(
    request: pytest.FixtureRequest, driver_context: DriverContext, tmp_path: Path
) -> AsyncIterator[Bench]:
    """Each source in turn."""
    lab = lab_of(request.param, request)
    async with benched(request.param, lab, tmp_path, driver_context) as bench:
        yield bench
