from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.proxy.limits import Limits
from broker.spice.ticket import TicketKey
from tests.broker.proxy.fake_server import FakeServer, faking
from tests.broker.proxy.rig import Rig, proxying


@pytest.fixture(scope="session")
def ticket_key() -> TicketKey:
    return TicketKey.generate()


@pytest.fixture
async def fake(ticket_key: TicketKey) -> AsyncIterator[FakeServer]:
    async with faking(ticket_key) as fake:
        yield fake


@pytest.fixture
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, fake: FakeServer
) -> AsyncIterator[Rig]:
    """A proxy in front of the fake server, with short time-outs where nothing should wait."""
    async with proxying(tmp_path, limits=Limits(close_seconds=0.3)) as rig:
        rig.by_private = getattr(request, "param", "tls") == "private"
        rig.gate.allow(fake.target, "the-hypervisors")
        yield rig
