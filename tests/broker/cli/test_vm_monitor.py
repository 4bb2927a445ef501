"""`broker vm monitor` in pipes, and its lines; at a prompt: tests/integration."""

from __future__ import annotations

import io
import json

import pytest

from broker.cli.monitor_line import parse
from broker.errors import BrokerError, UsageError
from tests.broker.cli.calling import called, called_with
from tests.fakes.service import FakeService


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("query-status", ("query-status", {})),
        ('{"execute": "stop"}', ("stop", {})),
        ("eject id=cdrom0 force=true", ("eject", {"id": "cdrom0", "force": True})),
        ("x a.b=1 a.c=two", ("x", {"a": {"b": 1, "c": "two"}})),
        ("x text='with a blank'", ("x", {"text": "with a blank"})),
        ("x list=[1,2]", ("x", {"list": [1, 2]})),
    ],
)
def test_a_line_is_a_command_of_qmp(line: str, asked: object) -> None:
    assert parse(line, qmp=True) == asked


@pytest.mark.parametrize("line", ["x '", "x y", "x =1", "{nonsense", "{}", "x a=1 a.b=2"])
def test_what_is_no_command_is_told(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line, qmp=True)


@pytest.mark.parametrize("qmp", [True, False])
def test_what_is_not_utf_8_is_told_at_once(qmp: bool) -> None:
    with pytest.raises(UsageError, match="not UTF-8") as told:
        parse("info b\udcfcro", qmp=qmp)
    assert told.value.fix


def test_the_other_tongue_is_passed_on_as_it_is() -> None:
    assert parse(" info  block 'x' ", qmp=False) == "info  block 'x'"
    assert parse('{"execute": "stop"}', qmp=False) == ("stop", {})


def test_one_command_is_asked_and_its_answer_printed() -> None:
    service = FakeService()
    assert called("vm monitor web-01 info status", service).out == "you said info status\n"
    ran = called("vm monitor web-01 --qmp query-name --json", service)
    assert json.loads(ran.out) == {"command": "query-name", "return": {"said": "query-name"}}
    assert service.guests.asked == [("hmp", "info status"), ("qmp", "query-name", {})]


def test_lines_of_a_pipe_are_asked_until_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService()
    monkeypatch.setattr("sys.stdin", io.StringIO("# first\nstop\n\ncont\n"))
    ran = called_with(["vm", "monitor", "web-01", "--json"], service)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert rows == [
        {"command": "stop", "output": "you said stop\n"},
        {"command": "cont", "output": "you said cont\n"},
    ]
    service.guests.failing["hmp"] = BrokerError("no")
    monkeypatch.setattr("sys.stdin", io.StringIO("stop\ncont\n"))
    assert called("vm monitor web-01", service).code == 1
    assert len(service.guests.asked) == 3
