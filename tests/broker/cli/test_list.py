from __future__ import annotations

import json

from broker.errors import BrokerError
from tests.broker.cli.calling import FakeQuick, called
from tests.fakes.service import FakeService


def test_json_has_the_documented_keys_of_every_console() -> None:
    ran = called("list --json", FakeService())
    rows = json.loads(ran.out)
    assert ran.code == 0
    assert len(rows) == 8
    assert {"source", "uuid", "name", "state", "protocol", "hypervisor"} <= rows[0].keys()
    assert rows[0]["name"] == "build-07"
    assert rows[0]["stale"] is True


def test_a_table_has_one_line_for_each_console() -> None:
    ran = called("list", FakeService())
    lines = ran.out.splitlines()
    assert lines[0].split()[:3] == ["NAME", "SOURCE", "STATE"]
    assert len(lines) == 9


def test_what_is_stale_is_said_with_where_to_look() -> None:
    service = FakeService()
    assert "broker sources" in called("list", service).err
    service.rows = [row for row in service.rows if not row.stale]
    assert called("list", service).err == ""


def test_the_fast_path_answers_when_it_can_and_is_closed() -> None:
    service = FakeService()
    quick = FakeQuick(service)
    service.failing["consoles"] = BrokerError("the slow path was taken")
    assert called("list --json", service, quick=quick).code == 0
    assert quick.closed


def test_refresh_asks_the_sources_and_tells_of_their_problems() -> None:
    service = FakeService()
    ran = called("list --refresh", service, quick=FakeQuick(service))
    assert ("refresh",) in service.asked
    assert "lab: sources.yaml: line 14" in ran.err


def test_source_and_state_narrow_it_down() -> None:
    ran = called("list --source here --state running --json", FakeService())
    assert [row["name"] for row in json.loads(ran.out)] == ["demo", "web-01"]


def test_a_source_that_is_none_is_told_from_one_without_consoles() -> None:
    service = FakeService()
    ran = called("list --source her --json", service, quick=FakeQuick(service))
    assert (ran.code, ran.out) == (3, "")
    assert "There is no source called her" in ran.err
    assert "here" in ran.err
    service.rows = [row for row in service.rows if row.machine.key.source != "here"]
    assert json.loads(called("list --source here --json", service).out) == []


def test_a_state_that_is_none_offers_the_nearest() -> None:
    ran = called("list --state runing", FakeService())
    assert ran.code == 2
    assert "Did you mean running?" in ran.err


def test_nothing_to_list_is_an_empty_array_and_a_note_for_people() -> None:
    assert json.loads(called("list --json", FakeService(rows=[])).out) == []
    ran = called("list", FakeService(rows=[]))
    assert (ran.code, ran.out) == (0, "")
    assert "broker run --demo" in ran.err


def test_quiet_swallows_the_note() -> None:
    assert called("list -q", FakeService(rows=[])).err == ""
