"""How an empty set-up begins: the demo guest, a QEMU that runs already."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from broker.model import MachineSpec
from tests.fakes.service import FOUND, FakeService
from tests.tui.conftest import Drive, settle, text_of, until


async def test_an_empty_set_up_has_the_demo_guest_in_one_key(
    drive: Drive, demo: MachineSpec
) -> None:
    service = FakeService([], status=[])
    async with drive(service, demo=demo) as pilot:
        assert "D   the demo guest" in text_of(pilot)
        await pilot.press("D")
        await settle(pilot)
        assert "demo" in text_of(pilot)
    assert [verb for verb, *_ in service.asked][1:] == ["define", "start"]


async def test_who_went_elsewhere_while_the_demo_guest_starts_is_not_called_back(
    drive: Drive, demo: MachineSpec
) -> None:
    service = FakeService(status=[])
    gate = service.slow["define"] = asyncio.Event()
    async with drive(service, demo=demo) as pilot:
        await pilot.press("D", "4")
        await until(pilot, "Nothing has happened yet")
        gate.set()
        await until(pilot, "runs")
        assert "Nothing has happened yet" in text_of(pilot)


async def test_a_qemu_that_runs_already_is_found_and_taken_in(drive: Drive) -> None:
    service = FakeService(
        [], status=[], found=[FOUND, replace(FOUND, pid=7, why_not="it is root's")]
    )
    async with drive(service) as pilot:
        await pilot.press("a")
        await settle(pilot)
        shown = text_of(pilot)
        assert FOUND.name in shown
        assert "it is root's" in shown
        await pilot.press("enter")
        await settle(pilot)
    assert ("adopt", str(FOUND.pid), None) in service.asked


async def test_what_the_service_notes_is_said_once_when_it_opens_and_when_it_comes(
    drive: Drive,
) -> None:
    slip = "BROKER_TUI_THEEM sets nothing."
    service = FakeService(notes=("broker.db was damaged", slip))
    async with drive(service, warnings=(slip,), size=(100, 50)) as pilot:
        await until(pilot, "broker.db was damaged", slip)
        service.notes = ("broker.db was damaged", "It was damaged again", slip)
        service.changed()
        shown = await until(pilot, "It was damaged again")
    assert [shown.count(said) for said in (*service.notes, "Settings")] == [1, 1, 1, 1]
