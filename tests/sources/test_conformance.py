"""The drivers that need nothing but this host, held to the contract."""

from collections.abc import Mapping

import pytest

from sources.static import StaticDriver
from tests.sources.conformance import DriverConformance


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
