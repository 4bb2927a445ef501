"""The page of local VMs, its clones and snapshots: what is shown, asked, refused and held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from broker.errors import UsageError
from broker.guest import Snapshot
from broker.model import State
from tests.fakes.service import FakeService
from tests.tui import shots
from tests.tui.conftest import Drive, settle, text_of
from tui.app import BrokerApp
from tui.screens.clone import free_name
from tui.screens.jump import JumpScreen
from tui.screens.machines import MachinesScreen


@pytest.fixture
def known() -> FakeService:
    service = shots.lively()
    shots.vms(service)
    return service


def words(pilot: Pilot[None]) -> str:
    """What is on the screen, without frames and line breaks."""
    return " ".join(text_of(pilot).replace("│", " ").split())


async def said(pilot: Pilot[None], text: str) -> None:
    """Wait until that is on the screen."""
    for _ in range(300):
        if " ".join(text.split()) in words(pilot):
            return
        await pilot.pause(0.1)
    raise AssertionError(f"waited for {text!r}, saw\n{text_of(pilot)}")


async def gone(pilot: Pilot[None], text: str) -> None:
    """Wait until that is on the screen no more."""
    for _ in range(300):
        if text not in words(pilot):
            return
        await pilot.pause(0.1)
    raise AssertionError(f"waited for {text!r} to go, saw\n{text_of(pilot)}")


async def at(pilot: Pilot[None], name: str) -> None:
    """The page of machines, that one selected."""
    if not isinstance(pilot.app.screen, MachinesScreen):
        await pilot.press("6")
        await settle(pilot)
    page = pilot.app.screen
    assert isinstance(page, MachinesScreen)
    page.select(next(vm.key for vm in page.rows.values() if vm.info.machine.name == name))
    await pilot.pause()


async def test_it_lists_the_vms_of_this_host_and_what_they_are_made_of(
    drive: Drive, known: FakeService
) -> None:
    async with drive(known, size=(120, 36)) as pilot:
        await at(pilot, "web-01")
        await said(pilot, "UEFI, secure boot, TPM")
        shown = text_of(pilot)
    line = next(line for line in shown.splitlines() if "● running" in line and "48G" in line)
    assert line.split()[1:10] == ["web-01", "●", "running", "4", "4G", "2:", "48G", "11G", "kvm"]
    assert "k8s-node-1" not in shown
    assert "/srv/data.img  raw, virtio, read only, 8G, 8G used" in shown
    assert "40G, 3G used, 2 snapshots" in shown
    assert "UEFI, secure boot, TPM" in shown


async def test_what_was_wanted_and_is_not_so_is_told(drive: Drive, known: FakeService) -> None:
    known.rows = [
        replace(row, machine=replace(row.machine, state=State.STOPPED, reason=""))
        if row.machine.name == "web-02"
        else row
        for row in known.rows
    ]
    async with drive(known, size=(160, 40)) as pilot:
        await pilot.press("6")
        await settle(pilot)
        shown = text_of(pilot)
    assert any("web-02" in line and "wanted on" in line for line in shown.splitlines())
    assert any("db-01" in line and "base of 1 clone" in line for line in shown.splitlines())
    assert any("web-01" in line and "at boot, after a crash" in line for line in shown.splitlines())


async def test_an_adopted_vm_is_shown_as_such(drive: Drive, known: FakeService) -> None:
    row = known.named("demo")
    adopted = replace(row.machine, defined=False, adopted=True)
    known.rows[known.rows.index(row)] = replace(row, machine=adopted, startable=False)
    async with drive(known, size=(120, 36)) as pilot:
        await at(pilot, "demo")
        await pilot.press("c")
        await settle(pilot)
        shown = text_of(pilot)
    assert "running (seen)" in shown
    assert "Adopted: somebody else started it" in shown
    assert "demo was adopted" in shown
    assert "Clone demo" not in shown


async def test_the_list_is_there_when_the_facts_are_not(drive: Drive, known: FakeService) -> None:
    known.failing["local_vms"] = UsageError("no")
    async with drive(known) as pilot:
        await pilot.press("6")
        await settle(pilot)
        await said(pilot, "web-01")


async def test_power_is_that_of_the_consoles_and_marks_hold(
    drive: Drive, known: FakeService
) -> None:
    async with drive(known) as pilot:
        await at(pilot, "demo")
        await pilot.press("space")
        await at(pilot, "web-01")
        await pilot.press("space", "p", "k")
        await settle(pilot)
        await said(pilot, "Kill 2 machines?")
        await pilot.press("y")
        await settle(pilot)
    killed = {what[1] for what in known.asked if what[0] == "kill"}
    assert killed == {known.named(name).machine.key for name in ("demo", "web-01")}


@pytest.mark.parametrize("key", ["n", "c", "p", "u"])
async def test_readonly_refuses(drive: Drive, known: FakeService, key: str) -> None:
    async with drive(known, readonly=True) as pilot:
        await pilot.press("6", key)
        await settle(pilot)
        await said(pilot, "look, do not touch")
        assert len(pilot.app.screen_stack) == 1
    assert [verb for verb, *_ in known.asked if verb != "host_proxy"] == []


async def test_enter_goes_to_its_console(drive: Drive, known: FakeService) -> None:
    async with drive(known) as pilot:
        await at(pilot, "web-02")
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app, BrokerApp)
        assert pilot.app.current_mode == "consoles"


# -- clones


async def test_a_clone_gets_a_name_that_is_free_and_is_then_selected(
    drive: Drive, known: FakeService
) -> None:
    async with drive(known) as pilot:
        await at(pilot, "db-01")
        await pilot.press("c")
        await settle(pilot)
        await said(pilot, "db-02")
        await pilot.press("down", "right")
        await said(pilot, "db-01 is the base then")
        await pilot.press("enter")
        await settle(pilot)
        assert "Clone db-01" not in text_of(pilot)
        selected = pilot.app.screen.selected  # type: ignore[attr-defined]
        assert selected.info.machine.name == "db-02"
    key = known.named("db-01").machine.key
    assert [what for what in known.asked if what[0] == "clone"] == [("clone", key, "db-02", True)]


async def test_a_clone_says_how_far_it_is_and_goes_on_behind_a_closed_dialog(
    drive: Drive, known: FakeService
) -> None:
    known.slow["clone"] = asyncio.Event()
    async with drive(known) as pilot:
        await at(pilot, "db-01")
        await pilot.press("c", "enter")
        await settle(pilot)
        await said(pilot, "copying disk 1 of 1: 50 %")
        await pilot.press("escape")
        await settle(pilot)
        await said(pilot, "Cloning db-01 as db-02")
        known.slow["clone"].set()
        await settle(pilot)
        await said(pilot, "is there")


async def test_a_clone_that_is_there_while_something_lies_over_its_dialog_closes_that_later(
    drive: Drive, known: FakeService
) -> None:
    known.slow["clone"] = asyncio.Event()
    async with drive(known) as pilot:
        await at(pilot, "db-01")
        await pilot.press("c", "enter")
        await said(pilot, "copying disk 1 of 1: 50 %")
        await pilot.press("ctrl+o")
        await settle(pilot)
        assert isinstance(pilot.app.screen, JumpScreen)
        known.slow["clone"].set()
        await said(pilot, "is there")
        assert isinstance(pilot.app.screen, JumpScreen)
        await pilot.press("escape")
        await gone(pilot, "Clone db-01")
        selected = pilot.app.screen.selected  # type: ignore[attr-defined]
        assert selected.info.machine.name == "db-02"


async def test_what_fails_behind_a_closed_dialog_is_said(drive: Drive, known: FakeService) -> None:
    known.slow["clone"] = asyncio.Event()
    known.failing["clone"] = UsageError("There is no room", fix="Make some")
    async with drive(known) as pilot:
        await at(pilot, "db-01")
        await pilot.press("c", "enter")
        await said(pilot, "copying disk 1 of 1: 50 %")
        await pilot.press("escape")
        await settle(pilot)
        known.slow["clone"].set()
        await said(pilot, "Not cloned")
        await said(pilot, "There is no room")


async def test_what_the_service_refuses_is_said_in_the_dialog(
    drive: Drive, known: FakeService
) -> None:
    known.failing["clone"] = UsageError("There is no room", fix="Make some")
    async with drive(known) as pilot:
        await at(pilot, "db-01")
        await pilot.press("c", *"x", "enter")
        await settle(pilot)
        await said(pilot, "There is no room. Make some")
        await said(pilot, "db-02x")


async def test_one_that_runs_is_not_cloned(drive: Drive, known: FakeService) -> None:
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("c")
        await settle(pilot)
        await said(pilot, "web-01 is running; shut it down first")


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [
        ("web-01", {"web-01"}, "web-02"),
        ("web-09", {"web-10"}, "web-11"),
        ("web", set(), "web-2"),
        ("7", set(), "8"),
    ],
)
def test_a_name_like_it_that_nothing_has(name: str, taken: set[str], free: str) -> None:
    assert free_name(name, taken) == free


# -- snapshots


async def test_a_state_is_kept_and_gone_back_to_with_a_question_that_names_who_is_connected(
    drive: Drive, known: FakeService
) -> None:
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await settle(pilot)
        await said(pilot, "disks only")
        await pilot.press("n")
        await said(pilot, "Keep the present state")
        await pilot.press("x", "enter")
        await said(pilot, "state-1x is kept")
        await said(pilot, "state-1x 21 Nov")
        await pilot.press("g", "enter")
        await said(pilot, "Go back to state-1x?")
        await said(pilot, "here/web-01 running, 1 connected: ana 192.0.2.11:40100")
        await pilot.press("escape")
        await settle(pilot)
        assert ("load_snapshot", "state-1x") not in [what[:2] for what in known.guests.asked]
        await pilot.press("enter")
        await said(pilot, "Go back to state-1x?")
        await pilot.press("y")
        await said(pilot, "is as it was at state-1x")
        assert ("load_snapshot", "state-1x") in [what[:2] for what in known.guests.asked]
        await pilot.press("D")
        await said(pilot, "Delete state-1x?")
        await pilot.press("y")
        await said(pilot, "state-1x is deleted")
        assert "state-1x" not in [one.tag for one in known.guests.kept]


async def test_why_none_can_be_kept_is_said(drive: Drive, known: FakeService) -> None:
    known.guests.failing["save_snapshot"] = UsageError(
        "web-01: disk0 is raw, which keeps no snapshots", fix="Convert it"
    )
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await settle(pilot)
        await pilot.press("n", "enter")
        await settle(pilot)
        assert "disk0 is raw, which keeps no snapshots. Convert it" in " ".join(
            text_of(pilot).split()
        )
        await pilot.press("escape")
        await at(pilot, "db-01")
        await pilot.press("t")
        await settle(pilot)
        await said(pilot, "db-01 is off; snapshots are of one that runs")


async def test_readonly_looks_at_states_and_changes_none(drive: Drive, known: FakeService) -> None:
    async with drive(known, readonly=True) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await settle(pilot)
        await pilot.press("n", "enter", "D")
        await settle(pilot)
        await said(pilot, "look, do not touch")
    assert [what[0] for what in known.guests.asked] == ["snapshots"]


async def test_that_keeping_one_failed_does_not_hide_that_there_is_none_yet(
    drive: Drive, known: FakeService
) -> None:
    known.guests.kept.clear()
    known.guests.failing["save_snapshot"] = UsageError("No room", fix="Make some")
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await said(pilot, "None yet.")
        await pilot.press("n", "enter")
        await said(pilot, "No room. Make some")
        await said(pilot, "None yet.")


@pytest.fixture
def listed(known: FakeService, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """States are told only once this is set."""
    tell, listed = known.guests.snapshots, asyncio.Event()

    async def wait() -> Sequence[Snapshot]:
        await listed.wait()
        return await tell()

    monkeypatch.setattr(known.guests, "snapshots", wait)
    return listed


async def test_a_name_given_while_states_are_read_is_taken_then(
    drive: Drive, known: FakeService, listed: asyncio.Event
) -> None:
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await said(pilot, "Reading snapshots of web-01")
        await pilot.press("n")
        await said(pilot, "Keep the present state")
        await pilot.press("x", "enter")
        await said(pilot, "Comes after what is under way")
        listed.set()
        await said(pilot, "state-1x is kept")
        await said(pilot, "state-1x 21 Nov")


async def test_a_name_given_while_something_fails_is_not_taken_and_that_is_said(
    drive: Drive, known: FakeService, listed: asyncio.Event
) -> None:
    known.guests.failing["snapshots"] = UsageError("QEMU is busy", fix="Ask again")
    async with drive(known) as pilot:
        await at(pilot, "web-01")
        await pilot.press("t")
        await said(pilot, "Reading snapshots of web-01")
        await pilot.press("n")
        await said(pilot, "Keep the present state")
        await pilot.press("enter")
        await said(pilot, "Comes after what is under way")
        listed.set()
        await said(pilot, "QEMU is busy. Ask again. What was to come after it is not done")
    assert [what[0] for what in known.guests.asked] == ["snapshots"]
