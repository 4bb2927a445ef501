from __future__ import annotations

import json

from broker.config.locations import Locations
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService

SERVICE = FakeService()


def test_paths_come_all_or_one(locations: Locations) -> None:
    places = json.loads(called("config path --json", SERVICE).out)
    assert places["sources_yaml"] == str(locations.sources_yaml)
    assert called("config path sources_yaml", SERVICE).out == f"{locations.sources_yaml}\n"


def test_a_place_that_is_none_offers_the_nearest() -> None:
    ran = called("config path sources_yml", SERVICE)
    assert ran.code == 2
    assert "Did you mean sources_yaml?" in ran.err


def test_settings_say_where_they_come_from(locations: Locations) -> None:
    locations.broker_yaml.write_text(
        "proxy:\n  tls_port: 6001\nstore:\n  url: postgresql://me:hunter2@db/broker\n"
    )
    settings = json.loads(called("config show --json", SERVICE).out)
    assert settings["proxy.tls_port"] == {"value": 6001, "from": str(locations.broker_yaml)}
    assert settings["proxy.listen"]["from"] == "default"
    assert settings["store.url"]["value"] == "postgresql://me:…@db/broker"
    assert "hunter2" not in called("config show", SERVICE).out


def test_a_sound_configuration_is_fine(locations: Locations) -> None:
    locations.sources_yaml.write_text("- source: here\n  type: local\n")
    ran = called("config check", SERVICE)
    assert ran.code == 0
    assert f"{locations.sources_yaml}: fine" in ran.out


def test_every_mistake_is_told_and_exits_with_2(locations: Locations) -> None:
    locations.broker_yaml.write_text("proxy:\n  tls_prot: 1\n")
    locations.sources_yaml.write_text(
        "- source: a\n  type: statik\n- source: b\n  type: static\n  console: []\n"
    )
    ran = called("config check --json", SERVICE)
    document = json.loads(ran.out)
    assert ran.code == 2
    assert document["ok"] is False
    assert len(document["problems"]) == 3
    assert "tls_port" in document["problems"][0]["fix"] + document["problems"][0]["what"]


def test_yaml_that_is_none_is_told_with_its_line(locations: Locations) -> None:
    locations.sources_yaml.write_text("- source: a\n  type: [static\n")
    ran = called("config check", SERVICE)
    assert ran.code == 2
    assert "line" in ran.err
