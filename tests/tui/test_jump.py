"""Jump mode: a letter on every place one can go, on every screen, and it only goes."""

from __future__ import annotations

import re

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from broker.model import MachineSpec
from tests.fakes.service import FakeService, console
from tests.tui.conftest import Drive, settle, text_of
from tui import jumping, keymap
from tui.screens.consoles import ConsolesScreen
from tui.screens.jump import JumpScreen
from tui.widgets.choice import Choice


async def jump(pilot: Pilot[None], to: str, *, after: str = "") -> None:
    """Press the letters that stand where `to` begins."""
    await pilot.press("ctrl+o")
    await settle(pilot)
    assert isinstance(pilot.app.screen, JumpScreen)
    found = re.search(rf"([a-z]{{1,2}}){to}", text_of(pilot))
    assert found, text_of(pilot)
    await pilot.press(*found[1])
    await settle(pilot)
    assert not isinstance(pilot.app.screen, JumpScreen)


@pytest.mark.parametrize("count", [0, 1, 25, 26, 27, 51, 52, 100, 676])
def test_names_are_short_and_none_begins_another(count: int) -> None:
    names = jumping.names_for(count)
    assert len(names) == len(set(names)) == count
    assert all(len(name) == 1 for name in names) is (count <= 26)
    assert not [one for one in names for other in names if one != other and other.startswith(one)]


async def test_a_letter_goes_to_a_row_and_acts_on_nothing(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await jump(pilot, r"  web-01")
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert pilot.app.screen.selected is not None
        assert pilot.app.screen.selected.machine.name == "web-01"
        assert service.asked == [("host_proxy",)]


async def test_a_row_is_gone_to_though_the_list_has_moved(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("ctrl+o")
        await settle(pilot)
        found = re.search(r"(\w)  web-01", text_of(pilot))
        assert found
        service.rows = [console("a-new-one", "here", 99), *service.rows]
        service.changed()
        await settle(pilot)
        await pilot.press(found[1])
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert pilot.app.screen.selected is not None
        assert pilot.app.screen.selected.machine.name == "web-01"


async def test_a_letter_goes_to_a_tab_and_back(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await jump(pilot, "3 Sources")
        assert "LAST READ" in text_of(pilot)
        await jump(pilot, "1 Consoles")
        assert "running" in text_of(pilot)


async def test_it_works_in_forms_too_where_letters_are_typed(
    drive: Drive, service: FakeService, demo: MachineSpec
) -> None:
    async with drive(service, demo=demo) as pilot:
        await pilot.press("n")
        await settle(pilot)
        await jump(pilot, "std")  # over the mark of the chosen word
        assert isinstance(pilot.app.focused, Choice)
        await jump(pilot, "024")
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "1024"


async def test_another_key_or_a_click_goes_nowhere(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        for leave in ("escape", "1", "ctrl+o", "enter"):
            await pilot.press("ctrl+o", leave)
            await settle(pilot)
            assert isinstance(pilot.app.screen, ConsolesScreen), leave
        await pilot.press("ctrl+o")
        await settle(pilot)
        await pilot.click(offset=(50, 20))
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConsolesScreen)


async def test_what_is_typed_ahead_reaches_the_letters_and_no_row(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        for key, character in (("ctrl+o", None), ("u", "u"), ("x", "x")):
            pilot.app.post_message(events.Key(key, character))
        await settle(pilot)
        assert "start" not in [verb for verb, *_ in service.asked]


async def test_many_rows_have_two_letters(drive: Drive) -> None:
    service = FakeService([console(f"vm-{number:03}", "here", number) for number in range(200)])
    async with drive(service, size=(100, 48)) as pilot:
        await jump(pilot, r" vm-040")
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert pilot.app.screen.selected is not None
        assert pilot.app.screen.selected.machine.name == "vm-040"


async def test_its_key_can_be_another(drive: Drive, service: FakeService, usual_keys: None) -> None:
    assert keymap.remap({"app.jump": "ctrl+t"}) == []
    async with drive(service) as pilot:
        await pilot.press("ctrl+t")
        await settle(pilot)
        assert isinstance(pilot.app.screen, JumpScreen)
