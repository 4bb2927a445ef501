from __future__ import annotations

import json
from dataclasses import replace

import pytest

from broker.cli import output
from broker.events import Kind
from broker.model import SessionId
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


def told(count: int) -> FakeService:
    service = FakeService()
    for number in range(1, count + 1):
        service.say(Kind.MACHINE_STARTED, f"start {number}", service.rows[2])
    return service


def test_events_come_oldest_first() -> None:
    ran = called("events", told(2))
    assert ran.out.splitlines() == [
        "2026-11-21T08:15:00Z  machine.started   start 1 [console=demo]",
        "2026-11-21T08:15:00Z  machine.started   start 2 [console=demo]",
    ]


def test_json_is_an_array_with_running_numbers() -> None:
    rows = json.loads(called("events --json -n 2", told(5)).out)
    assert [row["id"] for row in rows] == [4, 5]
    assert rows[0]["kind"] == "machine.started"
    assert rows[0]["console"] == "demo"


def test_after_leaves_out_what_was_seen() -> None:
    assert [row["id"] for row in json.loads(called("events --json --after 3", told(4)).out)] == [4]


def test_following_prints_one_object_a_line_as_things_happen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = told(1)
    line = output.Output.line

    def next_thing(self: output.Output, document: object) -> None:
        line(self, document)
        if len(service.log) == 3:
            raise KeyboardInterrupt
        service.say(Kind.MACHINE_STOPPED, "stop")
        service.changed()

    monkeypatch.setattr(output.Output, "line", next_thing)
    ran = called("events --follow --json", service)
    assert ran.code == 130
    assert [json.loads(each)["id"] for each in ran.out.splitlines()] == [1, 2, 3]


def test_following_leaves_nothing_out_however_much_came_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = told(1)
    line = output.Output.line

    def burst(self: output.Output, document: object) -> None:
        line(self, document)
        if len(service.log) == 1:
            for _ in range(1500):
                service.say(Kind.MACHINE_STOPPED, "stop")
            service.changed()
        elif isinstance(document, dict) and document["id"] == 1501:
            raise KeyboardInterrupt

    monkeypatch.setattr(output.Output, "line", burst)
    ran = called("events --follow --json", service)
    assert [json.loads(each)["id"] for each in ran.out.splitlines()] == list(range(1, 1502))


def test_a_line_says_which_session_whose_token_and_what_was_decided() -> None:
    service = FakeService()
    service.say(Kind.CHANNEL_REFUSED, "no", service.rows[2])
    service.log[-1] = replace(
        service.log[-1],
        session=SessionId("abcdefabcdef"),
        label="Ada",
        channel="display.0",
        verdict="refused",
        reason="channel-forbidden",
    )
    (row,) = json.loads(called("events --json", service).out)
    assert {name: row[name] for name in ("session", "label", "channel", "verdict", "reason")} == {
        "session": "abcdefabcdef", "label": "Ada", "channel": "display.0", "verdict": "refused",
        "reason": "channel-forbidden",
    }  # fmt: skip


def test_a_line_says_who_was_refused_and_why_behind_what_was_said() -> None:
    service = FakeService()
    service.say(Kind.SESSION_REFUSED, "demo is in use by Ada (192.0.2.1:1)", service.rows[2])
    service.log[-1] = replace(
        service.log[-1], client="192.0.2.7:4711", label="Bob B", reason="occupied"
    )
    assert called("events", service).out.splitlines() == [
        "2026-11-21T08:15:00Z  session.refused   demo is in use by Ada (192.0.2.1:1) "
        "[client=192.0.2.7:4711 label='Bob B' reason=occupied]",
    ]
