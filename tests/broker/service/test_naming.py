"""What a machine is called in advice, by the service as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import yaml

from broker.config.locations import Locations
from broker.driver import Driver
from broker.errors import ViewerMissing
from broker.model import Machine
from broker.runtime import open_service
from broker.runtime.console_path import ConsolePath
from broker.service.consoles import Certificate
from broker.service.naming import unmistakable
from broker.service.port import Service

NAMES = {"lab": ("web", "solo", "twin", "twin"), "annex": ("web",)}


@pytest.fixture
async def service(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Two sources with a console of one name, and one with two of one name; no display."""
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("BROKER_VIEWER_COMMAND", "true")
    entries = [
        {
            "source": source,
            "type": "static",
            "consoles": [
                {
                    "uuid": f"6f4e2c1a-0000-4000-8000-00000000000{number}",
                    "name": name,
                    "hypervisor": "node1",
                    "hypervisor_ip": "192.0.2.1",
                    "insecure_port": 5900,
                    "ticket": "not-shown",
                }
                for number, name in enumerate(names)
            ],
        }
        for source, names in NAMES.items()
    ]
    locations.sources_yaml.write_text(yaml.safe_dump(entries))
    async with open_service() as opened:
        yield opened


async def machine(service: Service, reference: str) -> Machine:
    return (await service.find(reference)).machine


@pytest.mark.parametrize(
    ("asked", "called"),
    [
        ("solo", "solo"),
        ("lab/web", "lab/web"),
        ("annex/web", "annex/web"),
        (f"lab/{'6f4e2c1a-0000-4000-8000-000000000003'}",) * 2,
    ],
)
async def test_it_is_called_as_shortly_as_it_can_be(
    service: Service, asked: str, called: str
) -> None:
    assert await unmistakable(service, await machine(service, asked)) == called


async def test_advice_for_elsewhere_means_the_console_that_was_asked_for(service: Service) -> None:
    info = await service.find("lab/web")
    with pytest.raises(ViewerMissing, match="broker export-vv lab/web -o -"):
        await service.open_viewer(info.machine.key)
    path = ConsolePath(
        service,
        info,
        cast("Driver", None),
        viewer=("true",),
        certificate=lambda: Certificate("", ""),
    )
    assert "broker export-vv lab/web -o -" in (await path.viewer()).fix
