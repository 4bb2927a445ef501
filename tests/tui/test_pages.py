"""Sessions, sources, events, logs, help, the palette: each shows what the service says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.errors import NotFound
from broker.events import Kind
from broker.model import LinkPolicy
from tests.fakes.service import FakeService, session
from tests.tui.conftest import Drive, settle, text_of
from tui.keys import DISCONNECT, MESSAGE, SESSION_CONSOLE
from tui.screens.sessions import SessionsScreen


@pytest.fixture
def busy(service: FakeService) -> FakeService:
    """Two people are connected, and a few things have happened."""
    demo, web = service.named("demo"), service.named("web-01")
    service.live = [
        session(demo, "k3f9a0b1c2d1", "192.0.2.10:51344"),
        session(web, "k3f9a0b1c2d2", "192.0.2.11:40100"),
    ]
    service.say(Kind.SESSION_OPENED, "ana opened demo", demo)
    service.say(Kind.SESSION_REFUSED, "A token that had expired was refused", web)
    return service


async def test_sessions_show_who_is_where_and_how_much(drive: Drive, busy: FakeService) -> None:
    async with drive(busy) as pilot:
        await pilot.press("2")
        await settle(pilot)
        shown = text_of(pilot)
        assert "192.0.2.10:51344" in shown
        assert "1.8 MB" in shown
        assert "12m00s" in shown


async def test_disconnect_ends_the_session_it_named(drive: Drive, busy: FakeService) -> None:
    async with drive(busy, undo_seconds=60) as pilot:
        await pilot.press("2", "j", "x")
        await settle(pilot)
        assert "Disconnecting ana 192.0.2.11:40100 at web-01" in text_of(pilot)
        busy.live.reverse()
        busy.changed()
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
    assert [what for what in busy.asked if what[0] == "disconnect"] == [
        ("disconnect", "k3f9a0b1c2d2")
    ]


async def test_sessions_say_for_whom_they_are_and_what_they_may_do(
    drive: Drive, busy: FakeService
) -> None:
    """In 80 columns a person counts more than how many channels they have."""
    policy = LinkPolicy(view_only=True)
    busy.live[1] = replace(busy.live[1], label="ben", policy=policy)
    async with drive(busy, size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        shown = text_of(pilot)
        assert "ana" in shown
        assert "ben" in shown
    async with drive(busy, size=(160, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        shown = text_of(pilot)
        assert "CHANNELS" in shown
        assert "view-only" in shown


async def test_what_is_marked_can_be_ended_when_the_cursor_rests_on_nothing(
    drive: Drive, busy: FakeService
) -> None:
    async with drive(busy) as pilot:
        await pilot.press("2", "j", "space", "k")
        await settle(pilot)
        del busy.live[0]
        busy.changed()
        await settle(pilot)
        page = pilot.app.screen
        assert isinstance(page, SessionsScreen)
        assert page.selected is None
        assert [page.dimmed(act) for act in (DISCONNECT, MESSAGE, SESSION_CONSOLE)] == [
            False, False, True,
        ]  # fmt: skip


async def test_the_detail_says_who_is_there_and_leaves_out_their_channels(
    drive: Drive, busy: FakeService
) -> None:
    for number in range(9):
        busy.say(Kind.CHANNEL_OPENED, f"display.{number} opened", busy.named("demo"))
    async with drive(busy, size=(120, 40)) as pilot:
        await pilot.press("slash", *"demo", "enter")
        await settle(pilot)
        shown = text_of(pilot)
        assert "ana 192.0.2.10:51344  12m00s" in shown
        assert "ana opened demo" in shown
        assert "display.8 opened" not in shown


async def test_a_session_that_ended_meanwhile_is_a_toast(drive: Drive, busy: FakeService) -> None:
    busy.failing["disconnect"] = NotFound("There is no session k3f9a0b1c2d1", fix="It has ended")
    async with drive(busy) as pilot:
        await pilot.press("2", "x")
        await settle(pilot)
        assert "There is no session k3f9a0b1c2d1" in text_of(pilot)


async def test_a_message_goes_to_the_session_it_was_typed_for(
    drive: Drive, busy: FakeService
) -> None:
    async with drive(busy, undo_seconds=60) as pilot:
        await pilot.press("2", "j", "m", "enter")
        await settle(pilot)
        assert "1 to 400 characters" in text_of(pilot)
        busy.live.reverse()
        busy.changed()
        await pilot.press(*"Back at 5", "enter")
        await settle(pilot)
        assert "Telling ana 192.0.2.11:40100 at web-01" in text_of(pilot)
        assert not [what for what in busy.asked if what[0] == "message"]
        await pilot.press("m", *"Back at 5", "enter")
        await settle(pilot)
    assert [what for what in busy.asked if what[0] == "message"] == [
        ("message", "k3f9a0b1c2d2", "Back at 5")
    ]


async def test_enter_on_a_session_selects_its_console(drive: Drive, busy: FakeService) -> None:
    async with drive(busy) as pilot:
        await pilot.press("slash", *"printer", "enter", "2", "j", "enter")
        await settle(pilot)
        assert "8" in text_of(pilot).splitlines()[1]
        await pilot.press("enter")
        await settle(pilot)
    assert ("open_viewer", busy.named("web-01").machine.key) in busy.asked


async def test_sources_show_problem_fix_and_warnings(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("3")
        await settle(pilot)
        shown = text_of(pilot)
        assert "1 source failed" in shown
        assert "line 14: cannot be read as YAML" in shown
        assert "Fix: Mend that line" in shown
        await pilot.press("g")
        await settle(pilot)
        shown = text_of(pilot)
        assert "1 warning" in shown
        assert "the last one wins" in shown


async def test_enter_on_a_source_shows_its_consoles(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("3", "g", "enter")
        await settle(pilot)
        shown = text_of(pilot)
        assert "source:debug" in shown
        assert "2 of 8" in shown


@pytest.mark.parametrize("page", ["1", "2", "3", "4"])
async def test_r_asks_every_source(drive: Drive, service: FakeService, page: str) -> None:
    async with drive(service) as pilot:
        await pilot.press(page, "r")
        await settle(pilot)
    assert ("refresh",) in service.asked


async def test_events_follow_the_newest_and_lead_to_the_machine(
    drive: Drive, busy: FakeService
) -> None:
    async with drive(busy) as pilot:
        await pilot.press("4")
        await settle(pilot)
        assert "session.refused" in text_of(pilot)
        busy.say(Kind.MACHINE_FAILED, "web-02 crashed", busy.named("web-02"))
        busy.changed()
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("u")
        await settle(pilot)
    assert ("start", busy.named("web-02").machine.key) in busy.asked


async def test_the_log_shows_qemus_output_and_the_serial_port(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", "L")
        await settle(pilot)
        assert "warning: no KVM" in text_of(pilot)
        await pilot.press("tab")
        await settle(pilot)
        assert "TEST-GUEST READY" in text_of(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "1 Consoles" in text_of(pilot)


async def test_help_lists_the_keys_of_the_page_one_is_on(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(100, 60)) as pilot:
        await pilot.press("2", "question_mark")
        await settle(pilot)
        shown = text_of(pilot)
        assert "Keys: Sessions" in shown
        assert "End the selected or the marked sessions" in shown
        assert "Power the VM on" not in shown
        await pilot.press("escape")
        await settle(pilot)
        assert "Keys: Sessions" not in text_of(pilot)


async def test_the_palette_does_a_verb_to_a_console_by_name(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("colon", *"start db")
        await pilot.pause(0.6)
        assert "Start here/db-01" in text_of(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
    assert ("start", service.named("db-01").machine.key) in service.asked


async def test_the_palette_goes_to_pages(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("ctrl+p", *"go to sources")
        await pilot.pause(0.6)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert "LAST READ" in text_of(pilot)
