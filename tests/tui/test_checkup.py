"""The dot in a console's detail: what the doctor found on the way to it."""

from __future__ import annotations

import asyncio

import pytest
from textual.pilot import Pilot

from broker.findings import Step, broken, fine, odd
from broker.model import State
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, text_of
from tui import checkup
from tui.checkup import Verdict, verdict

FINE = Step("name", fine("here/demo"), 0.0)
HELD = Step("QMP", broken("another program is at its monitor", "End it"), 0.0)
ODD = Step("source", odd("lab: a warning", "See: broker sources"), 0.0)
TICKET = Step("ticket", fine("accepted"), 0.0)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], None),
        ([FINE, TICKET], Verdict("ok", "the way to its screen is clear")),
        ([FINE, ODD], Verdict("warn", "source: lab: a warning. See: broker sources")),
        ([ODD, HELD], Verdict("bad", "QMP: another program is at its monitor. End it")),
    ],
    ids=["none", "fine", "odd", "broken"],
)
def test_the_worst_step_decides(steps: list[Step], found: Verdict | None) -> None:
    assert verdict(steps) == found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "REST_SECONDS", 0.0)


async def until_shown(pilot: Pilot[None], words: str) -> None:
    async with asyncio.timeout(60):
        while words not in text_of(pilot):
            await pilot.pause(0.02)


async def test_what_is_broken_is_said_beside_the_row_and_looked_at_once(drive: Drive) -> None:
    service = FakeService(steps=[FINE, HELD])
    async with drive(service, size=(160, 40)) as pilot:
        await pilot.press("down", "down")
        await until_shown(pilot, "QMP: another program")
        seen = service.diagnosed[:]
        await pilot.pause(0.1)
        assert service.diagnosed == seen
        assert len(set(seen)) == len(seen)


async def test_a_look_that_hangs_holds_up_nobody_and_is_let_go(drive: Drive) -> None:
    service = FakeService(steps=[FINE], slow={"diagnose": asyncio.Event()})
    async with drive(service, size=(160, 40)) as pilot:
        await pilot.press("down", "down")
        async with asyncio.timeout(60):
            while not service.diagnosed:
                await pilot.pause(0.02)
        await pilot.press("down", "down")
        async with asyncio.timeout(60):
            while len(set(service.diagnosed)) < 2:
                await pilot.pause(0.02)
        assert "the way to its screen" not in text_of(pilot)
        service.slow["diagnose"].set()
        await until_shown(pilot, "the way to its screen is clear")


async def test_the_proxy_is_not_knocked_at_unasked(drive: Drive) -> None:
    no_proxy = Step("proxy", broken("it does not answer", "Look at: broker status"), 0.0)
    service = FakeService(steps=[FINE, TICKET, no_proxy])
    async with drive(service, size=(160, 40)) as pilot:
        await pilot.press("down", "down")
        await until_shown(pilot, "the way to its screen is clear")
        assert TICKET in service.walked
        assert no_proxy not in service.walked


async def test_a_machine_that_is_off_is_not_looked_at(drive: Drive) -> None:
    service = FakeService(steps=[FINE])
    service.rows = [row for row in service.rows if row.machine.state is State.STOPPED]
    assert service.rows
    async with drive(service, size=(160, 40)) as pilot:
        assert service.rows[0].machine.name in text_of(pilot)
        assert service.diagnosed == []
