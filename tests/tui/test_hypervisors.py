"""Machines of hypervisors: what their source can do is offered; of what it cannot it says why."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from broker.model import Ability, State
from broker.view import Way
from tests.fakes.service import FakeService, console
from tests.tui.conftest import Drive, settle, text_of, until
from tui.allowed import why_not

SECONDS = 60.0
CAN = dict.fromkeys(
    (
        Ability.START,
        Ability.SHUTDOWN,
        Ability.REBOOT,
        Ability.PAUSE,
        Ability.RESUME,
        Ability.SCREENSHOT,
        Ability.SERIAL,
    ),
    "",
)
CANNOT = {Ability.RESET: "VM.PowerMgmt on /vms/100 is missing"}


@pytest.fixture
def desk(service: FakeService) -> FakeService:
    """One of a hypervisor's, and one of this host."""
    there = replace(console("desk", "lab", 9), abilities=CAN | CANNOT)
    service.rows = [there, console("here", "here", 1)]
    return service


@pytest.mark.parametrize(
    ("letter", "verb"), [("b", "reboot"), ("d", "stop"), ("p", "pause")], ids=str
)
async def test_what_its_source_can_do_is_done_there(
    drive: Drive, desk: FakeService, letter: str, verb: str
) -> None:
    async with drive(desk) as pilot:
        await pilot.press("p")
        await settle(pilot)
        assert "b  Reboot     Ask a hypervisor's guest to boot anew" in text_of(pilot)
        await pilot.press(letter)
        await settle(pilot)
    assert (verb, desk.named("desk").machine.key) in desk.asked


async def test_the_palette_reboots_there_and_offers_it_for_no_vm_of_this_host(
    drive: Drive, desk: FakeService
) -> None:
    async with drive(desk) as pilot, asyncio.timeout(SECONDS):
        await pilot.press("colon", *"reboot")
        assert "Reboot here/here" not in await until(pilot, "Reboot lab/desk")
        await pilot.press("down", "enter")
        while ("reboot", desk.named("desk").machine.key) not in desk.asked:
            await pilot.pause(0.05)


async def test_one_that_is_off_is_started(drive: Drive, desk: FakeService) -> None:
    row = desk.rows[0]
    desk.rows[0] = replace(row, machine=replace(row.machine, state=State.STOPPED))
    async with drive(desk) as pilot:
        await pilot.press("o")
        await settle(pilot)
        assert "desk is off; u starts it" in text_of(pilot)
        await pilot.press("u")
        await settle(pilot)
    assert ("start", row.machine.key) in desk.asked


async def test_what_its_source_cannot_do_says_why_and_is_not_asked_for(
    drive: Drive, desk: FakeService
) -> None:
    async with drive(desk) as pilot:
        await pilot.press("p")
        await settle(pilot)
        shown = text_of(pilot)
        assert "R  Reset      VM.PowerMgmt on /vms/100 is missing" in shown
        assert "k  Kill       lab has no such verb" in shown
        assert "D  Delete     desk is defined where it runs, by lab" in shown
        await pilot.press("R")
        await settle(pilot)
        assert "VM.PowerMgmt on /vms/100 is missing" in text_of(pilot)
    assert "reset" not in {verb for verb, *_ in desk.asked}


async def test_a_vm_of_this_host_has_no_reboot_and_says_what_it_has(
    drive: Drive, desk: FakeService
) -> None:
    async with drive(desk) as pilot:
        await pilot.press("j", "p")
        await settle(pilot)
        assert "Reboot" not in text_of(pilot)
        await pilot.press("b")
        await settle(pilot)
        assert "here runs here: R resets it" in text_of(pilot)
    assert "reboot" not in {verb for verb, *_ in desk.asked}


async def test_its_screenshots_are_the_preview(drive: Drive, desk: FakeService) -> None:
    async with drive(desk, size=(140, 40)) as pilot, asyncio.timeout(SECONDS):
        while ("view", desk.rows[0].machine.key, Way.WATCH) not in desk.asked:
            await pilot.pause()


def test_its_serial_port_is_lent_where_its_source_has_them() -> None:
    there = replace(console("desk", "lab", 9), abilities=CAN)
    assert why_not("serial", there) == ""
    assert there.watchable
    silent = replace(there, abilities={Ability.SERIAL: "No console device"})
    assert why_not("serial", silent) == "No console device"
    assert not silent.watchable
    nobody = replace(there, abilities={})
    assert why_not("serial", nobody) == "lab, which runs desk, lends nobody its serial port"
