from __future__ import annotations

import io

import pytest

from broker.cli.call import Call
from broker.cli.diagnostics import Talk
from broker.cli.doctor import say, step_document
from broker.cli.output import Output
from broker.findings import Step, broken, fine
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService

BROKEN = Step("ticket", broken("it refuses our ticket", "Correct it"), 0.12345)


def printed(step: Step, *, timed: bool = False) -> str:
    stream = io.StringIO()
    say(Call(Output(stream), Talk(io.StringIO())), step, timed=timed)
    return stream.getvalue()


def test_a_broken_step_has_its_fix_below() -> None:
    assert printed(BROKEN) == (
        "fail  ticket       it refuses our ticket\n                   Correct it\n"
    )


def test_a_step_may_show_its_time() -> None:
    assert (
        printed(Step("name", fine("a/web"), 1.5), timed=True)
        == "ok      1.50 s  name         a/web\n"
    )


def test_a_document_has_the_documented_keys() -> None:
    assert step_document(BROKEN) == {
        "name": "ticket",
        "mark": "fail",
        "what": "it refuses our ticket",
        "fix": "Correct it",
        "seconds": 0.123,
    }


def test_the_first_broken_step_is_said_with_its_fix() -> None:
    off = broken("the machine is stopped", "Start it: broker vm start db-01")
    ran = called("doctor db-01", FakeService(steps=[Step("screen", off, 0.0)]))
    assert ran.code == 1
    assert "fail  screen       the machine is stopped" in ran.out
    assert "broker vm start db-01" in ran.out


@pytest.mark.parametrize(
    ("step", "code"),
    [("QMP", 4), ("connection", 4), ("ticket", 5), ("proxy TLS", 5), ("process", 1)],
)
def test_the_exit_code_says_what_kind_of_step_is_broken(step: str, code: int) -> None:
    service = FakeService(steps=[Step(step, broken("no", "mend it"), 0.0)])
    assert called("doctor demo --json", service).code == code


def test_an_unknown_console_exits_with_3() -> None:
    assert called("doctor nobody", FakeService()).code == 3
