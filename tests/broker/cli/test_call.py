from __future__ import annotations

import asyncio
import io
import os
import signal

import pytest

from broker.cli.call import Call
from broker.cli.diagnostics import Talk
from broker.cli.output import Output
from broker.errors import BrokerError
from broker.service.port import Service
from tests.broker.cli.calling import FakeQuick
from tests.fakes.service import FakeService

NOTES = ("the database was damaged",)


def call_on(service: FakeService, quick: FakeQuick | None = None) -> tuple[Call, io.StringIO]:
    said = io.StringIO()
    return Call(Output(io.StringIO()), Talk(said), 0, lambda: quick, service.opened), said


def test_what_the_service_has_to_say_comes_first() -> None:
    call, said = call_on(FakeService(notes=NOTES))
    call.ask(lambda service: service.sessions())
    assert said.getvalue() == "broker: the database was damaged\n"


def test_what_the_fast_path_has_to_say_is_said_once() -> None:
    service = FakeService(notes=NOTES)
    call, said = call_on(service, FakeQuick(service, notes=NOTES))
    call.quickly(lambda quick: quick.consoles(), lambda service: service.consoles())
    call.ask(lambda service: service.sessions())
    assert said.getvalue() == "broker: the database was damaged\n"


def test_sigterm_ends_a_question_and_closes_the_service() -> None:
    service = FakeService()
    call, _ = call_on(service)

    async def wait(service: Service) -> None:
        del service
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        call.ask(wait)
    assert service.closed


def test_the_fast_path_is_closed_also_when_it_fails() -> None:
    service = FakeService()
    quick = FakeQuick(service)
    call, _ = call_on(service, quick)

    def fail(quick: object) -> None:
        raise BrokerError("no")

    async def never(service: Service) -> None:
        raise AssertionError

    with pytest.raises(BrokerError):
        call.quickly(fail, never)
    assert quick.closed
