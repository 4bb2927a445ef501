"""Opening a viewer, by the service as it is: what it would only call "unable to connect"."""

from __future__ import annotations

import pytest
import yaml

from broker.config.locations import Locations
from broker.errors import Occupied, Refused
from broker.events import Kind
from broker.model import ProxyStatus
from broker.runtime import open_service
from broker.runtime.proxy_file import serving_lock, write_status
from broker.service.viewer import see_that_it_is_free
from tests.broker.store.nouns import machine, session

WEB = {
    "uuid": "6f4e2c1a-0000-4000-8000-000000000001",
    "name": "web",
    "hypervisor": "node1",
    "hypervisor_ip": "192.0.2.1",
    "insecure_port": 5900,
    "ticket": "not-shown",
}


def test_who_is_told_of_a_console_in_use_hears_of_both_ways_on() -> None:
    with pytest.raises(Occupied) as caught:
        see_that_it_is_free(machine(), [session(label="Ada")])
    assert caught.value.what == "name-u1 is in use by Ada"
    assert "broker open lab/name-u1 --take-over" in caught.value.fix
    assert "--wait-turn" in caught.value.fix


async def test_a_proxy_that_is_being_stopped_is_named_before_a_viewer_is_started(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROKER_VIEWER_COMMAND", "true")
    sources = [{"source": "lab", "type": "static", "consoles": [WEB]}]
    locations.sources_yaml.write_text(yaml.safe_dump(sources))
    with serving_lock(locations.proxy_json):
        write_status(locations.proxy_json, ProxyStatus(True, "gw", 5920, 12, draining=True))
        async with open_service() as service:
            key = (await service.find("web")).machine.key
            with pytest.raises(Refused, match="being stopped") as caught:
                await service.open_viewer(key)
            assert caught.value.reason == "draining"
            told = await service.events()
            assert Kind.TOKEN_ISSUED not in {event.kind for event in told}
