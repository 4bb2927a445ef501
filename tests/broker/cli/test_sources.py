from __future__ import annotations

import json
from dataclasses import replace

import pytest

from broker.model import Health
from broker.plugins import driver_types
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService, sources


def test_a_source_in_trouble_exits_with_4_and_is_explained() -> None:
    ran = called("sources", FakeService())
    assert ran.code == 4
    assert "sources.yaml: line 14" in ran.out
    assert "lab: Mend that line" in ran.err
    assert "debug: consoles 2 and 5 have the same uuid" in ran.err


def test_json_tells_all_of_it() -> None:
    rows = json.loads(called("sources --json", FakeService()).out)
    assert [row["health"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[0]["warnings"]
    assert rows[1]["problem"]
    assert rows[1]["fix"]


def test_warnings_alone_are_no_failure() -> None:
    status = [replace(one, health=Health.OK, problem="") for one in sources()]
    assert called("sources", FakeService(status=status)).code == 0


def test_refresh_asks_them() -> None:
    service = FakeService()
    called("sources --refresh", service)
    assert service.asked == [("refresh",)]


def test_a_check_tells_its_steps_and_how_it_went() -> None:
    service = FakeService()
    ran = called("sources check lab", service)
    assert ran.code == 4
    assert "Grant VM.Audit" in ran.out
    document = json.loads(called("sources check debug --json", service).out)
    assert document["ok"]
    assert document["steps"][0]["name"] == "list"


def test_pause_and_retry_ask_for_that_source() -> None:
    service = FakeService()
    name = service.status[0].name
    assert called(f"sources pause {name}", service).code == 0
    assert called(f"sources retry {name}", service).code == 0
    assert called(f"sources resume {name}", service).code == 0
    asked = [("pause_source", name), ("retry_source", name), ("retry_source", name)]
    assert service.asked == asked


def test_the_schema_of_a_type_is_json_schema() -> None:
    schema = json.loads(called("sources schema libvirt", FakeService()).out)
    assert schema["required"] == ["uri"]
    assert "password_file" in schema["properties"]
    assert "keeps" not in schema
    assert called("sources schema libvrit", FakeService()).code == 2


@pytest.mark.parametrize("type_name", sorted(driver_types()))
def test_every_type_tells_its_schema(type_name: str) -> None:
    schema = json.loads(called(f"sources schema {type_name}", FakeService()).out)
    assert schema["type"] == "object"
    assert schema["properties"]
    assert schema["additionalProperties"] is False


def test_what_wants_a_name_says_so() -> None:
    for words in ("check", "pause", "resume", "retry", "schema", "list lab", "frobnicate"):
        assert called(f"sources {words}", FakeService()).code == 2
