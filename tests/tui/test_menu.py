"""The menu of a row, by button and by key, and the palette's verbs for many."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from tests.fakes.service import FakeService, console, few, session
from tests.tui.conftest import Drive, settle, text_of
from tui import keys
from tui.screens.confirm import ConfirmScreen
from tui.screens.consoles import ConsolesScreen
from tui.screens.menu import MenuScreen, letters_for
from tui.widgets.table import VirtualTable


async def right_click(pilot: Pilot[None], line: int) -> None:
    """The right button on that line of the list."""
    await pilot.click(VirtualTable, offset=(5, line), button=3)
    await settle(pilot)


def verbs(service: FakeService) -> list[tuple[object, ...]]:
    return [what for what in service.asked if what[0] != "host_proxy"]


async def test_the_right_button_asks_about_the_row_under_it(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await right_click(pilot, 2)
        shown = text_of(pilot)
        assert "here/db-01" in shown
        assert "db-01 is off already" in shown
        await pilot.press("u")
        await settle(pilot)
    assert verbs(service) == [("start", service.named("db-01").machine.key)]


async def test_it_acts_on_the_row_it_was_opened_for_though_the_list_moves(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await right_click(pilot, 6)
        service.rows = [console("a-new-one", "here", 99), *service.rows]
        service.changed()
        await settle(pilot)
        await pilot.press("o")
        await settle(pilot)
    assert verbs(service) == [("open_viewer", service.named("web-01").machine.key)]


async def test_a_row_that_has_gone_is_said_and_no_other_is_meant(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await right_click(pilot, 6)
        service.rows = [row for row in service.rows if row.machine.name != "web-01"]
        service.changed()
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        assert "That row has gone" in text_of(pilot)
    assert verbs(service) == []


async def test_what_cannot_be_done_stays_and_says_why(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await right_click(pilot, 2)
        await pilot.press("d")
        await settle(pilot)
        assert isinstance(pilot.app.screen, MenuScreen)
        await pilot.click(offset=(1, 30))
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConsolesScreen)
    assert verbs(service) == []


async def test_the_key_asks_about_the_marked_ones_and_kill_still_asks_first(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press("asterisk", "full_stop")
        await settle(pilot)
        assert "8 consoles" in text_of(pilot)
        assert "3 of 8" in text_of(pilot)
        await pilot.press("k", "k")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("y")
        await settle(pilot)
    named = {what[1] for what in verbs(service)}
    assert named == {service.named(name).machine.key for name in ("demo", "web-01", "web-02")}


async def test_the_right_button_beside_the_marks_means_that_row_alone(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press("space", "space")
        await right_click(pilot, 3)
        assert "here/demo" in text_of(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "marked" not in text_of(pilot)


@pytest.mark.parametrize(("page", "line"), [("2", "Disconnect"), ("3", "Its consoles")])
async def test_other_pages_have_one_too(drive: Drive, page: str, line: str) -> None:
    service = FakeService(rows=few({"demo": 1}))
    service.live = [session(service.named("demo"), "s1", "192.0.2.9:5000")]
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press(page)
        await settle(pilot)
        await right_click(pilot, 1)
        assert isinstance(pilot.app.screen, MenuScreen)
        assert line in text_of(pilot)
        if page == "2":
            await pilot.press("x")
            await settle(pilot)
            assert ("disconnect", "s1") in service.asked


async def test_a_setting_has_a_menu_as_well(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("comma")
        await settle(pilot)
        await pilot.press("full_stop")
        await settle(pilot)
        shown = text_of(pilot)
    assert "Choose it, show it, or press another key" in shown
    assert "Forget what was chosen" in shown


def test_every_line_has_a_letter_of_its_own() -> None:
    for acts in keys.SCREENS.values():
        letters = letters_for([act for act in acts if act.needs])
        assert len(set(letters)) == len(letters)
        assert all(letter.isalpha() for letter in letters)


async def test_the_palette_stops_the_marked_ones_and_z_takes_it_back(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36), undo_seconds=60) as pilot:
        await pilot.press("j", "j", "space", "j", "j", "space")
        await pilot.press("colon", *"stop 2 marked")
        await pilot.pause(0.6)
        assert "Shut down 2 marked" in text_of(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("z")
        await settle(pilot)
    assert verbs(service) == []


async def test_the_palette_kills_the_marked_ones_only_after_asking(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press("asterisk", "colon", *"kill")
        await pilot.pause(0.6)
        assert "Kill 8 marked (3 of them)" in text_of(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("escape")
    assert verbs(service) == []
