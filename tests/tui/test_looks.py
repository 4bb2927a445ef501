"""What the screens look like, cell by cell, in the sizes people have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from broker.model import MachineSpec
from tests.fakes.service import FakeService
from tests.tui import cells, shots
from tests.tui.conftest import Drive, settle
from tests.tui.letters import teach
from tui import screens
from tui.app import BrokerApp
from tui.glyphs import ASCII
from tui.screens import live
from tui.screens.trouble import TroubleScreen

SIZES = ((80, 24), (120, 36), (160, 48))
ROOT = Path(__file__).parents[2]
PATIENCE = 1500
"""Turns of 30 ms; a loaded machine is slow."""
CALM = 4
"""So many turns without a change: what is shown beside a cursor follows it after 80 ms."""


@pytest.fixture
def lively() -> FakeService:
    return shots.lively()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters are known, nothing counts by itself, and what is said stays."""
    teach(monkeypatch)
    monkeypatch.setattr(live, "SECOND", 3600.0)
    notify = BrokerApp.notify

    def stay(app: BrokerApp, message: str, **how: Any) -> None:
        notify(app, message, **{**how, "timeout": 3600.0})

    monkeypatch.setattr(BrokerApp, "notify", stay)

    def trouble(text: str, log_path: Path | None) -> TroubleScreen:
        return TroubleScreen(text.replace(f"{ROOT}/", ""), log_path)

    monkeypatch.setattr(screens.trouble, "TroubleScreen", trouble)


async def at_rest(pilot: Pilot[None], *shows: str) -> str:
    """The screen, once those are on it and nothing changes any more."""
    app, before, same = pilot.app, "", 0
    assert isinstance(app, BrokerApp)
    for _ in range(PATIENCE):
        await pilot.pause(0.03)
        for field in app.screen.query(Input):
            field.cursor_blink = False
        now = cells.dump(app)
        same = same + 1 if now == before and not app.busy else 0
        if same >= CALM and all(text in now for text in shows):
            return now
        before = now
    raise AssertionError(f"{shows!r} is not there, or moves on:\n{before}")


@pytest.mark.parametrize("name", shots.SHOTS)
async def test_every_screen_in_every_size_and_without_colour(
    drive: Drive, demo: MachineSpec, here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shot = shots.SHOTS[name]
    looks: dict[str, str] = {}
    for colour in (True, False):
        options = dict(shot.options)
        if not colour:
            monkeypatch.setenv("NO_COLOR", "1")
            options["glyphs"] = ASCII
        service = shots.lively()
        shot.prepare(service)
        async with drive(service, size=(80, 24), demo=demo, **options) as pilot:
            await pilot.press(*shot.keys)
            for width, height in SIZES[: 1 if shot.alone or not colour else None]:
                await pilot.resize_terminal(width, height)
                look = f"{width}x{height}" + ("" if colour else " NO_COLOR, ASCII")
                looks[look] = await at_rest(pilot, shot.shows, *shot.wide[: 2 * (width >= 120)])
    cells.check(looks, name)


@pytest.mark.parametrize("size", [(40, 10), (20, 5), (300, 80)])
async def test_odd_sizes_do_not_break_it(
    drive: Drive, lively: FakeService, size: tuple[int, int]
) -> None:
    async with drive(lively, size=size) as pilot:
        await pilot.press("j", "2", "3", "4", "1", "n", "escape", "question_mark", "escape", "p")
        await settle(pilot)
        assert pilot.app.is_running


async def test_a_very_wide_terminal_shows_the_detail_too(drive: Drive, lively: FakeService) -> None:
    async with drive(lively, size=(240, 30)) as pilot:
        await pilot.press("j", "j")
        await pilot.pause(0.2)
        assert "handed over, no port" in cells.text(pilot.app)  # type: ignore[arg-type]


async def test_a_tiny_terminal_still_says_where_one_is_and_how_machines_do(
    drive: Drive, lively: FakeService
) -> None:
    async with drive(lively, size=(40, 10)) as pilot:
        shown = cells.text(pilot.app)  # type: ignore[arg-type]
        assert "1 Consoles" in shown
        assert "running" in shown
        assert "? Help" in shown


async def test_a_storm_of_sizes_does_not_break_it(drive: Drive, lively: FakeService) -> None:
    async with drive(lively) as pilot:
        for width in (80, 20, 200, 3, 120, 80):
            await pilot.resize_terminal(width, max(3, width // 4))
        await settle(pilot)
        assert "demo" in cells.text(pilot.app)  # type: ignore[arg-type]
