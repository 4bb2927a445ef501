"""What the screens look like, cell by cell, in the sizes people have."""

from __future__ import annotations

import pytest

from broker.events import Kind
from broker.model import MachineSpec
from tests.fakes.service import FakeService, few, session
from tests.tui import cells
from tests.tui.conftest import Drive, settle
from tui.app import BrokerApp
from tui.glyphs import ASCII

SIZES = [(80, 24), (120, 36), (160, 48)]


@pytest.fixture
def lively(service: FakeService) -> FakeService:
    """One of each state, two people connected, a short history."""
    demo, web = service.named("demo"), service.named("web-01")
    service.live = [
        session(demo, "k3f9a0b1c2d1", "192.0.2.10:51344"),
        session(web, "k3f9a0b1c2d2", "192.0.2.11:40100"),
    ]
    service.rows = few(connected={"demo": 1, "web-01": 1})
    service.say(Kind.SESSION_OPENED, "ana opened demo", demo)
    service.say(Kind.SESSION_REFUSED, "A token that had expired was refused", web)
    service.say(Kind.MACHINE_FAILED, "web-02 crashed", service.named("web-02"))
    return service


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("consoles", ["j", "j"]),
        ("sessions", ["2"]),
        ("sources", ["3"]),
        ("events", ["4"]),
        ("proxy", ["5"]),
    ],
)
async def test_pages(
    drive: Drive, lively: FakeService, size: tuple[int, int], name: str, keys: list[str]
) -> None:
    async with drive(lively, size=size) as pilot:
        await pilot.press(*keys)
        await pilot.pause(0.15)
        await settle(pilot)
        assert isinstance(pilot.app, BrokerApp)
        cells.check(pilot.app, f"{name}-{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("filtered", [*"/web -02", "enter"]),
        ("nothing-matches", [*"/zzz"]),
        ("detail", ["j", "j", "d"]),
        ("power", ["j", "j", "p"]),
        ("kill", ["j", "j", "p", "k"]),
        ("export", ["j", "j", "e"]),
        ("new-vm", ["n"]),
        ("new-vm-wrong", ["n", "ctrl+s"]),
        ("disconnect", ["2", "x"]),
        ("quit", ["q"]),
        ("help", ["question_mark"]),
        ("log", ["j", "j", "L"]),
        ("sort", ["S"]),
        ("marked", ["j", "j", "space", "G", "V"]),
        ("power-of-many", ["asterisk", "p"]),
        ("doctor", ["j", "j", "c"]),
        ("start-failed", [*"/web-02", "enter", "u"]),
    ],
)
async def test_states_and_dialogs(
    drive: Drive, lively: FakeService, demo: MachineSpec, name: str, keys: list[str]
) -> None:
    async with drive(lively, size=(80, 24), demo=demo) as pilot:
        await pilot.press(*keys)
        await pilot.pause(0.15)
        await settle(pilot)
        assert isinstance(pilot.app, BrokerApp)
        cells.check(pilot.app, f"{name}-80x24")


async def test_an_empty_set_up(drive: Drive) -> None:
    async with drive(FakeService([], status=[]), size=(80, 24)) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        cells.check(pilot.app, "empty-80x24")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_without_colour_every_state_still_has_its_word(
    drive: Drive, lively: FakeService, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with drive(lively, size=size, glyphs=ASCII) as pilot:
        await pilot.press("j", "j", "p")
        await pilot.pause(0.15)
        await settle(pilot)
        assert isinstance(pilot.app, BrokerApp)
        cells.check(pilot.app, f"no-color-{size[0]}x{size[1]}")


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
