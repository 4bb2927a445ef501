from __future__ import annotations

import json

from broker.errors import NotFound
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService, console, session

LIVE = session(console("web-01"), "abcdefabcdef", "192.0.2.9:51234")


def test_json_has_the_documented_keys() -> None:
    (row,) = json.loads(called("sessions --json", FakeService(live=[LIVE])).out)
    assert {
        "id", "source", "console", "client", "channels", "started_at", "bytes_to_client",
        "bytes_to_server",
    } <= row.keys()  # fmt: skip
    assert row["channels"] == ["main", "display.0", "inputs", "cursor"]
    assert row["started_at"] == "2026-11-21T08:03:00Z"


def test_a_table_is_for_people() -> None:
    ran = called("sessions", FakeService(live=[LIVE]))
    assert "192.0.2.9:51234" in ran.out
    assert "1.8 MB" in ran.out


def test_nobody_on_a_screen_is_an_empty_array() -> None:
    assert called("sessions --json", FakeService()).out == "[]\n"
    assert "no live sessions" in called("sessions", FakeService()).err


def test_disconnecting_ends_it() -> None:
    service = FakeService(live=[LIVE])
    assert called("disconnect abcdefabcdef", service).code == 0
    assert service.live == []


def test_a_session_that_is_none_exits_with_3() -> None:
    service = FakeService()
    service.failing["disconnect"] = NotFound("There is no live session x")
    assert called("disconnect x --json", service).code == 3
