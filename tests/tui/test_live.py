"""A guest's screen inside the app: what is shown, where keys go, whose place it takes."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from broker.errors import Refused, Unreachable, UsageError
from broker.model import MachineKey, SessionId
from broker.service.port import ExportRequest, Opened
from broker.view import Frame, Pointer, Way
from tests.fakes.service import NOW, FakeService, few, session
from tests.tui.conftest import Drive, settle, text_of
from tests.tui.letters import page_frame, teach
from tui.app import BrokerApp
from tui.live import moving, notices, player, still
from tui.live.cells import Row
from tui.live.frame_view import FrameView
from tui.live.shades import Port, Shrinker, fit
from tui.screens.consoles import ConsolesScreen
from tui.screens.leader import LeaderScreen
from tui.screens.live import MOST_PASTED, LiveScreen

PATIENCE = 600
"""Turns of 50 ms; a loaded machine is slow."""


@pytest.fixture(autouse=True)
def font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters are known."""
    teach(monkeypatch)


async def until(pilot: Pilot[None], holds: Callable[[], object]) -> None:
    """Wait for it."""
    for _ in range(PATIENCE):
        await pilot.pause(0.05)
        if holds():
            return
    raise AssertionError(text_of(pilot))


async def live(pilot: Pilot[None], service: FakeService) -> None:
    """The running demo's screen, its first picture shown."""
    assert isinstance(pilot.app.screen, ConsolesScreen)
    pilot.app.screen.select(service.named("demo").machine.key)
    await pilot.press("l")
    await until(pilot, lambda: "keyboard: guest" in text_of(pilot))


def frame_of(*lines: str) -> Frame:
    return page_frame(lines)


async def test_text_of_a_guest_is_text_here(drive: Drive, service: FakeService) -> None:
    service.guests.screen.show(frame_of("Debian GNU/Linux 13 web tty1", "", "web login: _"))
    async with drive(service) as pilot:
        await live(pilot, service)
        await until(pilot, lambda: "web login:" in text_of(pilot))
        assert "Debian GNU/Linux 13 web tty1" in text_of(pilot)


async def test_keys_reach_the_guest_and_not_the_app(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press("q", "1", "slash", "enter", "ctrl+c", "ctrl+q", "f2")
        asked = service.guests.screen.asked
        await until(pilot, lambda: ("press", "f2") in asked)
        assert isinstance(pilot.app.screen, LiveScreen)
        assert "".join(str(what[1]) for what in asked if what[0] == "type") == "q1/"
        assert [what[1] for what in asked if what[0] == "press"] == [
            "ret",
            "ctrl-c",
            "ctrl-q",
            "f2",
        ]


async def test_the_leader_s_letters_do_what_they_say(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press("ctrl+right_square_bracket")
        await until(pilot, lambda: isinstance(pilot.app.screen, LeaderScreen))
        await pilot.press("d")
        asked = service.guests.screen.asked
        await until(pilot, lambda: ("press", "ctrl-alt-delete") in asked)
        await pilot.press("ctrl+right_square_bracket", "ctrl+right_square_bracket")
        await until(pilot, lambda: ("press", "ctrl-]") in asked)
        await pilot.press("ctrl+right_square_bracket", "full_stop")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        await until(pilot, lambda: service.watching == 0)
        assert service.asked[-1] != ("press",)


async def test_what_is_copied_is_what_stood_there_when_the_menu_was_opened(
    drive: Drive, service: FakeService
) -> None:
    service.guests.screen.show(frame_of("web login: _"))
    async with drive(service) as pilot:
        await live(pilot, service)
        await until(pilot, lambda: "web login:" in text_of(pilot))
        await pilot.press("ctrl+right_square_bracket")
        await until(pilot, lambda: "Copy the screen's text" in text_of(pilot))
        service.guests.screen.show(Frame(64, 64, "BGRX", bytes(range(256)) * 64))
        await until(pilot, lambda: "web login:" not in text_of(pilot))
        await pilot.press("c")
        await until(pilot, lambda: pilot.app.clipboard.startswith("web login: _"))


async def test_a_screenshot_is_a_private_png(
    drive: Drive, service: FakeService, here: Path
) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press("ctrl+right_square_bracket", "s")
        path = here / f"demo-{NOW:%Y%m%d-%H%M%S}.png"
        await until(pilot, path.exists)
        await until(pilot, lambda: "Saved" in text_of(pilot))
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_mode & 0o777 == 0o600


async def test_two_screenshots_in_one_second_are_two_files(
    drive: Drive, service: FakeService, here: Path
) -> None:
    first = here / f"demo-{NOW:%Y%m%d-%H%M%S}.png"
    second = first.with_name(f"{first.stem}-2.png")
    async with drive(service) as pilot:
        await live(pilot, service)
        for path in (first, second):
            await pilot.press("ctrl+right_square_bracket")
            await until(pilot, lambda: isinstance(pilot.app.screen, LeaderScreen))
            await pilot.press("s")
            await until(pilot, path.exists)
            await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await until(pilot, lambda: text_of(pilot).count("Saved") == 2)


async def test_a_screenshot_is_told_of_though_its_view_was_left(
    drive: Drive, service: FakeService, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, began, go = still.save, threading.Event(), threading.Event()

    def slow(name: str, frame: Frame) -> Path:
        began.set()
        assert go.wait(60)
        return save(name, frame)

    monkeypatch.setattr(still, "save", slow)
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press("ctrl+right_square_bracket", "s")
        await until(pilot, began.is_set)
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await leave(pilot)
        go.set()
        await until(pilot, lambda: "Saved" in text_of(pilot))
    assert await asyncio.to_thread(os.listdir, here) == [f"demo-{NOW:%Y%m%d-%H%M%S}.png"]


def test_a_screenshot_that_does_not_fit_on_the_disk_leaves_nothing(here: Path) -> None:
    noise = Frame(64, 64, "RGB", os.urandom(64 * 64 * 3))
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(UsageError, match="too large"):
            still.save("demo.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("key", "way"), [("w", Way.WATCH), ("t", Way.TAKE_OVER)])
async def test_it_asks_before_it_takes_somebody_s_place(drive: Drive, key: str, way: Way) -> None:
    service = FakeService(rows=few({"demo": 1}))
    service.live = [session(service.named("demo"), "s1", "192.0.2.9:5000")]
    async with drive(service) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: "demo is in use" in text_of(pilot))
        assert "192.0.2.9:5000" in text_of(pilot)
        assert not [what for what in service.asked if what[0] == "view"]
        await pilot.press(key)
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        await until(
            pilot, lambda: ("view", service.named("demo").machine.key, way) in service.asked
        )
        said = "view only" if way is Way.WATCH else "keyboard: guest"
        await until(pilot, lambda: said in text_of(pilot))


async def leave(pilot: Pilot[None], letter: str = "full_stop") -> None:
    """Out of the live view, by the leader."""
    await pilot.press("ctrl+right_square_bracket")
    await until(pilot, lambda: isinstance(pilot.app.screen, LeaderScreen))
    await pilot.press(letter)
    await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))


async def test_who_just_left_is_not_told_that_they_are_there(
    drive: Drive, service: FakeService
) -> None:
    mine = session(service.named("demo"), "s1", "127.0.0.1:5000")
    async with drive(service) as pilot:
        await live(pilot, service)
        service.rows, service.live = few({"demo": 1}), [mine]
        service.changed()
        app = pilot.app
        assert isinstance(app, BrokerApp)
        await until(pilot, lambda: app.snapshot.sessions)
        await leave(pilot)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen))
        await until(pilot, lambda: "keyboard: guest" in text_of(pilot))
        opened = [what[2] for what in service.asked if what[0] == "view"]
        assert opened == [Way.USE, Way.USE]
        await leave(pilot)
        service.live = [replace(mine, id=SessionId("s2"), started_at=NOW + timedelta(minutes=1))]
        service.changed()
        await until(pilot, lambda: [one.id for one in app.snapshot.sessions] == ["s2"])
        await pilot.press("l")
        await until(pilot, lambda: "demo is in use" in text_of(pilot))


async def test_a_viewer_is_opened_when_the_live_view_is_closed(drive: Drive) -> None:
    class Counting(FakeService):
        async def open_viewer(
            self, key: MachineKey, request: ExportRequest | None = None
        ) -> Opened:
            self.asked.append(("views open", self.watching))
            return await super().open_viewer(key, request)

    service = Counting()
    async with drive(service) as pilot:
        await live(pilot, service)
        await leave(pilot, "o")
        await until(pilot, lambda: service.asked[-1][0] == "open_viewer")
    assert ("views open", 0) in service.asked


async def test_escape_leaves_somebody_s_session_alone(drive: Drive) -> None:
    service = FakeService(rows=few({"demo": 1}))
    async with drive(service) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: "demo is in use" in text_of(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        assert not [what for what in service.asked if what[0] == "view"]


async def test_who_watches_types_nothing_until_taking_the_keyboard(drive: Drive) -> None:
    service = FakeService(rows=few({"demo": 1}))
    async with drive(service) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: "demo is in use" in text_of(pilot))
        await pilot.press("w")
        await until(pilot, lambda: "view only" in text_of(pilot))
        await pilot.press("a")
        await settle(pilot)
        assert service.guests.screen.asked == []
        await pilot.press("ctrl+right_square_bracket", "r", "b")
        await until(pilot, lambda: ("type", "b", "us") in service.guests.screen.asked)


async def test_readonly_looks_on_and_never_gets_the_keyboard(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, readonly=True) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: "view only" in text_of(pilot))
        await pilot.press("a", "ctrl+right_square_bracket", "r", "escape", "b")
        await settle(pilot)
        assert service.guests.screen.asked == []
        assert ("view", service.named("demo").machine.key, Way.WATCH) in service.asked


async def test_a_guest_that_goes_away_is_said_and_the_list_is_back(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await live(pilot, service)
        service.guests.screen.end(Unreachable("demo is off", fix="Start it"))
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        await until(pilot, lambda: "demo is off" in text_of(pilot))


async def test_a_mouse_says_the_guest_s_pixels(drive: Drive, service: FakeService) -> None:
    service.guests.screen.show(Frame(200, 116, "RGB", (bytes(range(250)) * 279)[: 200 * 116 * 3]))
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.mouse_down(FrameView, offset=(50, 14))
        await pilot.mouse_up(FrameView, offset=(50, 14))
        asked = service.guests.screen.asked
        await until(pilot, lambda: ("point", Pointer(101, 58, 0)) in asked)
        assert ("point", Pointer(101, 58, 1)) in asked


async def test_what_is_said_is_shown_safely_one_at_a_time_and_outlasts_a_hint(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "BETWEEN_MESSAGES", 3600.0)
    monkeypatch.setattr(notices, "HINT_SECONDS", 3600.0)
    monkeypatch.setattr(notices, "MESSAGE_LASTS", timedelta(hours=1))
    screen = service.guests.screen
    async with drive(service, size=(120, 30)) as pilot:
        await live(pilot, service)
        screen.say("\x1b[2J[b]Save\nyour work\u202e " + "very " * 200)
        screen.say("Second thoughts")
        await until(pilot, lambda: "�[2J[b]Save�your work� very" in text_of(pilot))
        assert "Message to you" in text_of(pilot)
        assert text_of(pilot).count("very") == 75
        pilot.app.post_message(Paste("x" * 2_000_000))
        await until(pilot, lambda: "too many to type" in text_of(pilot))
        assert text_of(pilot).count("very") == 75
        assert "Second thoughts" not in text_of(pilot)
        assert screen.speech.qsize() == 1


async def test_pasted_megabytes_are_not_typed(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(120, 30)) as pilot:
        await live(pilot, service)
        pilot.app.post_message(Paste("x" * 2_000_000))
        await until(pilot, lambda: "too many to type" in text_of(pilot))
        pilot.app.post_message(Paste("x" * MOST_PASTED))
        asked = service.guests.screen.asked
        await until(pilot, lambda: ("type", "x" * MOST_PASTED, "us") in asked)


async def test_a_key_that_nobody_hears_is_said(drive: Drive, service: FakeService) -> None:
    service.guests.screen.failing["type"] = Refused("demo would not hear a key: it is paused")
    async with drive(service, size=(120, 30)) as pilot:
        await live(pilot, service)
        await pilot.press("a")
        await until(pilot, lambda: "would not hear a key" in text_of(pilot))
        assert isinstance(pilot.app.screen, LiveScreen)


async def test_a_guest_that_changes_its_size_with_every_frame_stays_shown(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        view = pilot.app.screen.query_one(FrameView)
        for number in range(12):
            width, height = 64 + 97 * number, 48 + 61 * number
            service.guests.screen.show(Frame(width, height, "RGB", bytes(width * height * 3)))
            await pilot.pause(0.02)
        service.guests.screen.show(frame_of("calm"))
        await until(pilot, lambda: "calm" in text_of(pilot))
        assert {len(row) for row in view.rows} == {view.size.width}


async def test_nothing_is_asked_of_a_guest_after_leaving(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press("ctrl+right_square_bracket", "full_stop")
        await until(pilot, lambda: service.watching == 0)
        asked = service.guests.screen.frames
        service.guests.screen.show(frame_of("unseen"))
        await settle(pilot)
        assert service.guests.screen.frames == asked
        assert isinstance(pilot.app, BrokerApp)
        assert pilot.app.captor is None


async def test_the_page_behind_costs_nothing(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        behind = pilot.app.screen
        await live(pilot, service)
        screen = pilot.app.screen
        assert (screen.is_current, behind.is_current) == (True, False)
        await pilot.press("ctrl+right_square_bracket")
        await until(pilot, lambda: isinstance(pilot.app.screen, LeaderScreen))
        assert (screen.is_current, behind.is_current) == (True, False)  # it shines through


async def test_text_that_a_video_ends_with_is_text(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "FRAMES", 0)  # what changes everywhere is a video at once
    monkeypatch.setattr(player, "LOOKED_AT", 1 << 60)
    text = frame_of("web login: _")
    everywhere = (0, 0, text.width, text.height)
    noise = bytes(value * value * 7 >> 3 & 0xFF for value in range(text.width * text.height)) * 4
    async with drive(service) as pilot:
        service.guests.screen.show(Frame(text.width, text.height, "BGRX", noise))
        await live(pilot, service)
        service.guests.screen.show(replace(text, changed=everywhere))
        await until(pilot, lambda: "web login:" in text_of(pilot))


async def test_a_video_that_has_come_to_rest_is_shown_as_well_as_can_be(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []

    class Told(Shrinker):
        def rows(self, frame: Frame, port: Port, *, rough: bool = False) -> list[Row]:
            made.append(rough)
            return super().rows(frame, port, rough=rough)

    monkeypatch.setattr(moving, "FRAMES", 0)  # what changes everywhere is a video at once
    monkeypatch.setattr(player, "Shrinker", Told)
    noise = bytes(value * value * 7 >> 3 & 0xFF for value in range(800 * 600)) * 4
    last = Frame(800, 600, "BGRX", noise, (0, 0, 800, 600))
    async with drive(service) as pilot:
        await live(pilot, service)
        service.guests.screen.show(last)
        await until(pilot, lambda: True in made and not made[-1])
        view = pilot.app.screen.query_one(FrameView)
        port = fit(800, 600, *view.size)
        await until(
            pilot,
            lambda: (
                [list(row[port.left : port.left + port.columns]) for row in view.rows][
                    port.top : port.top + port.lines
                ]
                == Shrinker().rows(last, port)
            ),
        )


async def test_a_view_that_ends_as_it_is_left_closes_nothing_else(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        screen = pilot.app.screen
        assert isinstance(screen, LiveScreen)
        screen.dismiss(None)
        screen._gone(Unreachable("demo is off", fix="Start it"))
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        await until(pilot, lambda: service.watching == 0)


async def test_a_screenshot_where_there_is_no_directory_any_more_is_refused(
    drive: Drive, service: FakeService, here: Path
) -> None:
    async with drive(service) as pilot:
        await live(pilot, service)
        gone = here / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
        try:
            await pilot.press("ctrl+right_square_bracket", "s")
            await until(pilot, lambda: "cannot be written" in text_of(pilot))
        finally:
            os.chdir(here)
