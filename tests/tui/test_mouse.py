"""Everything a key does, a hand on the mouse can do: tabs, hints, rows, titles, dialogs, forms."""

from __future__ import annotations

import base64

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from broker.findings import Step, broken
from tests.fakes.service import FakeService, session
from tests.tui.conftest import Drive, settle, text_of
from tui.app import BrokerApp
from tui.screens.consoles import ConsolesScreen
from tui.screens.help import HelpScreen
from tui.screens.live import LiveScreen
from tui.screens.power import PowerScreen
from tui.widgets.table import VirtualTable


async def click(pilot: Pilot[None], text: str, *, times: int = 1) -> None:
    """Click where that is written first."""
    for y, line in enumerate(text_of(pilot).splitlines()):
        if (x := line.find(text)) >= 0:
            await pilot.click(offset=(x + len(text) // 2, y), times=times)
            await settle(pilot)
            return
    raise AssertionError(f"{text!r} is not there:\n{text_of(pilot)}")


def verbs(service: FakeService) -> list[object]:
    return [what[0] for what in service.asked if what[0] not in ("host_proxy", "view")]


async def test_tabs_rows_titles_and_a_second_click(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await click(pilot, "3 Sources")
        assert "LAST READ" in text_of(pilot)
        await click(pilot, "1 Consoles")
        await click(pilot, "web-01")
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert pilot.app.screen.selected is not None
        assert pilot.app.screen.selected.machine.name == "web-01"
        await click(pilot, "STATE")
        assert pilot.app.screen.table.painter.sorted_by == ("STATE", False)
        await click(pilot, "web-01", times=2)
    assert verbs(service) == ["open_viewer"]


async def test_hints_are_buttons(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await click(pilot, "db-01")
        await click(pilot, "Start")
        assert verbs(service) == ["start"]
        await click(pilot, "Filter")
        assert isinstance(pilot.app.focused, Input)
        await pilot.press("escape")
        await click(pilot, "? Help")
        assert isinstance(pilot.app.screen, HelpScreen)


async def test_a_menu_s_line_and_a_question_s_buttons(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await click(pilot, "demo")
        await click(pilot, "p Power")
        assert isinstance(pilot.app.screen, PowerScreen)
        assert pilot.app.screen.query(OptionList)
        await click(pilot, "Kill")
        await click(pilot, "No  Esc")
        assert verbs(service) == []
        await click(pilot, "p Power")
        await click(pilot, "Kill")
        await click(pilot, "Kill  y")
    assert verbs(service) == ["kill"]


async def test_a_session_is_ended_by_hand(drive: Drive, service: FakeService) -> None:
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.10:51344")]
    async with drive(service, size=(120, 30)) as pilot:
        await click(pilot, "2 Sessions")
        await click(pilot, "192.0.2.10")
        await click(pilot, "x Disconnect")
    assert verbs(service) == ["disconnect"]


async def test_marks_by_ctrl_and_the_wheel_scrolls(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 8)) as pilot:
        await pilot.click(VirtualTable, offset=(5, 1), control=True)
        await pilot.click(VirtualTable, offset=(5, 3), control=True)
        await settle(pilot)
        assert "2 marked" in text_of(pilot)
        table = pilot.app.screen.query_one(VirtualTable)
        table.scroll_down(animate=False)
        await settle(pilot)
        assert "build-07" not in text_of(pilot)


async def test_the_live_view_and_the_wall_open_by_hand(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await click(pilot, "demo")
        await click(pilot, "l Live")
        assert isinstance(pilot.app.screen, LiveScreen)
        await click(pilot, "Menu")
        await click(pilot, "Leave")
        assert isinstance(pilot.app.screen, ConsolesScreen)
        await click(pilot, "w Wall")
        assert "running here" in text_of(pilot)
        await click(pilot, "Esc Close")
        assert isinstance(pilot.app.screen, ConsolesScreen)


async def test_copying_goes_through_the_terminal(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.steps = [Step("proxy", broken("nobody serves", "broker serve"), 0.002)]
    async with drive(service, size=(120, 30)) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        assert pilot.app._driver is not None
        written: list[str] = []
        monkeypatch.setattr(pilot.app._driver, "write", written.append)
        await pilot.press("j", "j", "c")
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        copied = [text for text in written if text.startswith("\x1b]52;c;")]
        assert copied
        payload = copied[0].removeprefix("\x1b]52;c;").rstrip("\a\x1b\\")
        assert "nobody serves" in base64.b64decode(payload).decode()
