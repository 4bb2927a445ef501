"""The drivers that need nothing but this host, held to the contract."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from broker import demo
from broker.config.locations import Locations
from broker.driver import DriverContext
from sources.here import HereDriver
from sources.static import StaticDriver
from tests.sources.conformance import NAME, DriverConformance


class TestStatic(DriverConformance):
    driver_class = StaticDriver
    secrets = ("tick-et-9",)

    @pytest.fixture
    def options(self) -> Mapping[str, object]:
        console = {
            "uuid": "6f4e2c1a-0000-0000-0000-000000000001",
            "name": "sextant",
            "hypervisor": "kvm1",
            "hypervisor_ip": "192.0.2.1",
            "insecure_port": "5910",
            "ticket": "tick-et-9",
        }
        return {"consoles": [console]}

    @pytest.fixture
    def unreachable(self) -> None:
        return None


@pytest.mark.qemu
class TestLocal(DriverConformance):
    """With the demo VM, which runs."""

    driver_class = HereDriver

    @pytest.fixture
    def options(self) -> Mapping[str, object]:
        return {}

    @pytest.fixture
    def unreachable(self) -> None:
        return None

    @pytest.fixture
    def context(self, locations: Locations) -> DriverContext:
        return DriverContext(locations.config_dir, locations.data_dir, locations.runtime_dir)

    @pytest.fixture
    async def driver(
        self, options: Mapping[str, object], context: DriverContext, broker_home: Path
    ) -> AsyncIterator[HereDriver]:
        driver = HereDriver.from_options(NAME, options, context)
        image = demo.write_image(broker_home / "demo.img")
        await driver.define(demo.machine_spec(image))
        await driver.start(demo.MACHINE_ID)
        try:
            yield driver
        finally:
            await driver.kill(demo.MACHINE_ID)
            await driver.aclose()
