"""The wall, the preview and the trends: what is shown, and that nothing is spent unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.errors import Unreachable
from broker.model import State
from broker.view import Way
from tests.fakes.service import NOW, FakeService, console, session
from tests.tui.conftest import Drive, settle, text_of
from tests.tui.letters import page_frame, teach
from tests.tui.test_live import PATIENCE, until
from tui.live import glance
from tui.live.preview import Preview
from tui.screens.consoles import ConsolesScreen
from tui.screens.live import LiveScreen
from tui.screens.wall import STILL_SECONDS, Tile, WallScreen
from tui.trends import ASCII_BARS, Trends, lines, spark


@pytest.fixture(autouse=True)
def font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters are known."""
    teach(monkeypatch)


@pytest.fixture
def many() -> FakeService:
    """Nine VMs that run here, one that is off, one of another host."""
    rows = [console(f"vm-{number}", "here", number) for number in range(9)]
    off = console("vm-off", "here", 50, State.STOPPED)
    service = FakeService(rows=[*rows, off, console("web", "lab", 60)])
    service.guests.screen.show(page_frame(["login: _"]))
    return service


async def test_every_vm_that_runs_here_has_a_tile_and_no_other_machine(
    drive: Drive, many: FakeService
) -> None:
    async with drive(many, size=(160, 48)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: "9 running here" in text_of(pilot))
        shown = text_of(pilot)
        assert all(f"vm-{number}" in shown for number in range(9))
        assert "vm-off" not in shown
        ways = {what[2] for what in many.asked if what[0] == "view"}
        assert ways == {Way.WATCH}


async def test_only_what_is_on_the_page_is_looked_at(drive: Drive, many: FakeService) -> None:
    async with drive(many, size=(80, 26)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: "page 1 of 3" in text_of(pilot))
        await until(pilot, lambda: many.watching == 4)
        await pilot.press("n", "n")
        await until(pilot, lambda: "page 3 of 3" in text_of(pilot))
        await until(pilot, lambda: many.watching == 1)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        await until(pilot, lambda: many.watching == 0)


async def test_no_picture_is_asked_for_that_cannot_be_seen(drive: Drive, many: FakeService) -> None:
    async with drive(many, size=(80, 26)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: many.watching == 4)
        asked = [what[1] for what in many.asked if what[0] == "view"]
        assert asked == [many.named(f"vm-{number}").machine.key for number in range(4)]
        await pilot.press("question_mark")
        await until(pilot, lambda: many.watching == 0)
        frames = many.guests.screen.frames
        for text in ("unseen", "unseen too"):
            many.guests.screen.show(page_frame([text]))
            await settle(pilot)
        assert many.guests.screen.frames == frames
        await pilot.press("escape")
        await until(pilot, lambda: many.watching == 4)
        await until(pilot, lambda: "unseen too" in text_of(pilot))


async def test_the_marked_ones_alone_when_there_are_marks(drive: Drive, many: FakeService) -> None:
    async with drive(many, size=(100, 30)) as pilot:
        await pilot.press("space", "space", "w")
        await until(pilot, lambda: "2 running here" in text_of(pilot))


async def test_a_tile_opens_live_and_the_wall_is_there_again_afterwards(
    drive: Drive, many: FakeService
) -> None:
    async with drive(many, size=(80, 26)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: many.watching == 4)
        await pilot.press("right", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await until(pilot, lambda: many.watching == 1)
        assert ("view", many.named("vm-1").machine.key, Way.USE) in many.asked
        await until(pilot, lambda: "keyboard: guest" in text_of(pilot))
        await pilot.press("ctrl+right_square_bracket", "full_stop")
        await until(pilot, lambda: isinstance(pilot.app.screen, WallScreen))
        await until(pilot, lambda: many.watching == 4)


async def test_what_changed_last_comes_first_and_what_stands_still_is_dim(
    drive: Drive, many: FakeService
) -> None:
    async with drive(many, size=(80, 26)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: many.watching == 4)
        wall = pilot.app.screen
        assert isinstance(wall, WallScreen)
        app = wall._host
        app.now = lambda: NOW + timedelta(seconds=STILL_SECONDS)
        wall.has_changed(many.named("vm-2").machine.key)
        await wall.action_sort()
        for tile in wall.query(Tile):
            tile.mark()
        await until(pilot, lambda: "unchanged 10m" in text_of(pilot))
        first, second, *_ = wall.query(Tile)
        assert wall.shown[0].machine.name == "vm-2"
        assert not first.has_class("-still")
        assert second.has_class("-still")


async def test_the_preview_shows_the_selected_machine_and_rests_with_the_screen_hidden(
    drive: Drive, many: FakeService
) -> None:
    async with drive(many, size=(140, 40)) as pilot:
        await until(pilot, lambda: "login:" in text_of(pilot))
        assert many.watching == 1
        await pilot.press("2")
        await until(pilot, lambda: many.watching == 0)
        await pilot.press("1")
        await until(pilot, lambda: many.watching == 1)
        await pilot.press("G")
        await until(pilot, lambda: many.watching == 0)


async def test_a_tile_says_why_it_has_no_picture_until_it_has_one(
    drive: Drive, many: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "RETRY_SECONDS", 0.0)
    many.failing["view"] = Unreachable("nobody answers", fix="Look at it")
    async with drive(many, size=(80, 26)) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: text_of(pilot).count("nobody answers") == 4)
        wall = pilot.app.screen
        assert isinstance(wall, WallScreen)
        await wall._tick()
        await until(pilot, lambda: text_of(pilot).count("nobody answers") == 4)
        del many.failing["view"]
        for _ in range(PATIENCE):
            await wall._tick()  # each begins what no longer is under way
            await pilot.pause(0.05)
            if many.watching == 4:
                break
        await until(pilot, lambda: "nobody answers" not in text_of(pilot))


async def test_a_preview_comes_when_its_machine_answers_again(
    drive: Drive, many: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "RETRY_SECONDS", 0.0)
    many.failing["view"] = Unreachable("nobody answers", fix="Look at it")
    async with drive(many, size=(140, 40)) as pilot:
        preview = pilot.app.screen.query_one(Preview)
        asked = many.asked
        await until(pilot, lambda: any(what[0] == "view" for what in asked))
        await until(pilot, lambda: not preview.display)
        del many.failing["view"]
        many.changed()
        await until(pilot, lambda: "login:" in text_of(pilot))


async def test_a_narrow_terminal_asks_no_guest_for_a_picture(
    drive: Drive, many: FakeService
) -> None:
    async with drive(many, size=(80, 24)) as pilot:
        await pilot.press("d")
        await settle(pilot)
        assert many.watching == 0


def test_bars_are_as_high_as_their_values() -> None:
    assert spark([0, 1, 2, 4]) == "▁▃▅█"
    assert spark([0, 0]) == "▁▁"


def test_trends_take_a_point_a_second_and_forget_who_has_left() -> None:
    trends, info = Trends(), console("demo")
    busy = replace(session(info, "s1", "ana"), rate_to_client=1000.0)
    for tenth in range(25):
        trends.take([busy], NOW + timedelta(seconds=tenth / 10))
    points = trends.of(info.machine.key)
    assert [point.down for point in points] == [1000.0] * 3
    assert lines(points, ascii_only=True)["down"] == (ASCII_BARS[-1] * 3, 1000.0)
    trends.take([], NOW + timedelta(seconds=9))
    assert trends.of(info.machine.key) == ()
