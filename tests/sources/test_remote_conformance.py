"""The drivers of HTTP APIs, held to the contract that every driver keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from broker.driver import DriverContext
from sources.openstack import OpenstackDriver
from sources.ovirt import OvirtDriver
from sources.proxmox import ProxmoxDriver
from sources.shakenfist import ShakenfistDriver
from tests.broker.proxy.qemu import free_port
from tests.fakes.source import FakeSource
from tests.sources.conformance import DriverConformance
from tests.sources.conftest import lab_of
from tests.sources.remote import KINDS


class Remote(DriverConformance):
    """A fake in front of a lab."""

    secrets = (FakeSource.password,)

    @pytest.fixture
    async def fake(
        self, request: pytest.FixtureRequest, context: DriverContext, tmp_path: Path
    ) -> AsyncIterator[FakeSource]:
        kind = self.driver_class.type
        fake: FakeSource = KINDS[kind][0](lab_of(kind, request))
        async with fake.running():
            yield fake

    @pytest.fixture
    def options(self, fake: FakeSource) -> Mapping[str, object]:
        return fake.options()

    @pytest.fixture
    def unreachable(self, fake: FakeSource) -> Mapping[str, object]:
        return {**fake.options(), "url": f"https://localhost:{free_port()}"}


@pytest.mark.qemu
class TestProxmox(Remote):
    driver_class = ProxmoxDriver


@pytest.mark.qemu
class TestOvirt(Remote):
    driver_class = OvirtDriver


@pytest.mark.qemu
class TestOpenstack(Remote):
    driver_class = OpenstackDriver


@pytest.mark.qemu
class TestShakenfist(Remote):
    driver_class = ShakenfistDriver
