"""The page one lives on: finding, opening, exporting, powering, what cannot be done."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key
from textual.keys import key_to_character
from textual.widgets import Input

from broker.errors import BrokerError, Occupied, SourceUnreachable, ViewerMissing
from broker.model import ProxyStatus, State
from broker.service.port import ExportRequest
from broker.view import Way
from tests.fakes.service import SECRET, FakeService, console, session
from tests.tui import cells
from tests.tui.conftest import Drive, settle, text_of, until
from tui.screens.consoles import ConsolesScreen
from tui.verbs import TAKE_OVER


async def test_the_list_given_at_the_start_is_painted_before_the_service_is_there(
    drive: Drive, service: FakeService
) -> None:
    gate = asyncio.Event()
    service.slow["open"] = gate
    async with drive(service, initial=service.rows) as pilot:
        assert "win11-desktop" in text_of(pilot)
        assert "proxy :5443" not in text_of(pilot)
        gate.set()
        await settle(pilot)
        assert "proxy :5443" in text_of(pilot)


@pytest.mark.parametrize(("more", "said"), [(5, "5 so far"), (8, "8"), (None, "2 so far")])
async def test_the_beginning_of_a_list_is_followed_by_more_and_then_by_all_of_it(
    drive: Drive, service: FakeService, more: int | None, said: str
) -> None:
    gate = service.slow["open"] = asyncio.Event()
    early = None if more is None else (service.rows[:more], more < len(service.rows))
    async with drive(service, initial=service.rows[:2], more=lambda: early) as pilot:
        shown = await until(pilot, f" {said}", gone=() if "so far" in said else ("so far",))
        assert service.rows[1].machine.name in shown
        gate.set()
        await until(pilot, " 8", "proxy :5443", gone=("so far",))


async def test_what_is_asked_before_the_service_is_there_waits_for_it(
    drive: Drive, service: FakeService
) -> None:
    gate = service.slow["open"] = asyncio.Event()
    async with drive(service, initial=service.rows) as pilot:
        await pilot.press("j", "j", "enter")
        assert service.asked == []
        gate.set()
        await settle(pilot)
    assert ("open_viewer", service.named("demo").machine.key) in service.asked


async def test_a_filter_typed_in_one_burst_arrives_whole(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press(*"/web")
        await settle(pilot)
        shown = text_of(pilot)
        assert "2 of 8" in shown
        assert "web-01" in shown
        assert "printer" not in shown


async def test_back_to_the_filter_in_one_burst_types_nothing_at_the_list(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press(*"/we")
        await settle(pilot)
        for key in ("enter", "slash", "b"):  # `b` is here before `enter` has left the filter
            pilot.app.post_message(Key(key, key_to_character(key)))
        await settle(pilot)
        assert "/ web" in text_of(pilot)
        assert isinstance(pilot.app.focused, Input)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("state:run", {"demo", "web-01"}),
        ("state:stale", {"build-07", "k8s-node-1"}),
        ("source:here -web", {"db-01", "demo"}),
        ("web 02", {"web-02"}),
        ("-", {"build-07", "db-01", "demo"}),
    ],
    ids=["state", "stale", "source-and-not", "two-words", "half-typed"],
)
async def test_a_filter_narrows_by_words_fields_and_their_opposites(
    drive: Drive, service: FakeService, typed: str, names: set[str]
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("slash", *typed)
        await settle(pilot)
        shown = text_of(pilot)
        found = {row.machine.name for row in service.rows if f" {row.machine.name} " in shown}
        assert names <= found
        assert typed == "-" or found == names


async def test_escape_leaves_the_filter_and_then_clears_it(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press(*"/demo", "escape")
        await settle(pilot)
        assert "1 of 8" in text_of(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "1 of 8" not in text_of(pilot)


async def test_the_cursor_stays_on_its_machine_when_rows_come_before_it(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j")
        service.rows.insert(0, console("aaa", "here", 90))
        service.changed()
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
    assert ("open_viewer", service.named("demo").machine.key) in service.asked


@pytest.mark.parametrize("key", ["enter", "o"])
async def test_enter_and_o_open_a_viewer(drive: Drive, service: FakeService, key: str) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", key)
        await settle(pilot)
        assert "demo is open" in text_of(pilot)
    assert ("open_viewer", service.named("demo").machine.key) in service.asked


async def test_a_missing_viewer_is_a_toast_with_what_and_fix(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = ViewerMissing(
        "There is no viewer on this host", fix="Press e, and open the file elsewhere"
    )
    async with drive(service) as pilot:
        await pilot.press("enter")
        await settle(pilot)
        assert "There is no viewer on this host" in text_of(pilot)
        assert "Press e, and open the file elsewhere" in text_of(pilot)


async def test_brackets_in_an_error_are_shown_as_they_are(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = ViewerMissing("No [red]viewer[/]", fix="See [b]docs[/b]")
    async with drive(service) as pilot:
        await pilot.press("enter")
        await settle(pilot)
        assert "No [red]viewer[/]" in text_of(pilot)
        assert "See [b]docs[/b]" in text_of(pilot)


async def test_export_writes_a_private_file_here(
    drive: Drive, service: FakeService, here: Path
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", "e", "enter")
        await settle(pilot)
        assert "demo.vv" in text_of(pilot)
        assert SECRET not in text_of(pilot)
    written = here / "demo.vv"
    assert SECRET in written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert service.asked[1] == (
        "export_vv",
        service.named("demo").machine.key,
        ExportRequest(elsewhere=False),
    )
    assert os.listdir(here) == ["demo.vv"]  # noqa: PTH208 - a moment, in a test


async def test_export_replaces_a_file_only_when_told_twice(
    drive: Drive, service: FakeService, here: Path
) -> None:
    (here / "demo.vv").write_text("mine")
    async with drive(service) as pilot:
        await pilot.press("j", "j", "e", "enter")
        await settle(pilot)
        assert "demo.vv exists" in text_of(pilot)
        assert (here / "demo.vv").read_text() == "mine"
        await pilot.press("enter")
        await settle(pilot)
    assert SECRET in (here / "demo.vv").read_text()


@pytest.mark.parametrize("where", ["no/where", "~nobody-at-all"])
async def test_export_says_why_a_path_will_not_do_before_asking_for_a_token(
    drive: Drive, service: FakeService, here: Path, where: str
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", "e", "home", *f"{where}/", "enter")
        await settle(pilot)
        assert f"There is no directory {where}" in text_of(pilot)
    assert service.asked == [("host_proxy",)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_export_into_a_directory_that_is_not_ours_says_so(
    drive: Drive, service: FakeService, here: Path
) -> None:
    os.chmod(here, 0o500)  # noqa: PTH101 - a moment, in a test
    async with drive(service) as pilot:
        await pilot.press("j", "j", "e", "enter")
        await settle(pilot)
        assert "You may not write in" in text_of(pilot)


async def test_export_for_elsewhere_says_so_to_the_service(
    drive: Drive, service: FakeService, here: Path
) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", "e", "tab", "right", "shift+tab", "enter")
        await settle(pilot)
    assert service.asked[1][2] == ExportRequest(elsewhere=True)


async def test_s_starts_and_the_list_shows_it(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "u")
        await settle(pilot)
    assert ("start", service.named("db-01").machine.key) in service.asked
    assert service.named("db-01").machine.state is State.RUNNING


async def test_a_vm_that_does_not_start_shows_qemus_own_words(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press(*"/web-02", "enter", "u")
        await settle(pilot)
        assert "Could not access KVM kernel module" in text_of(pilot)
        assert "Join the kvm group" in text_of(pilot)


async def test_the_same_thing_is_not_asked_twice_at_once(
    drive: Drive, service: FakeService
) -> None:
    gate = service.slow["start"] = asyncio.Event()
    async with drive(service) as pilot:
        await pilot.press("j", "u", "u")
        await settle(pilot)
        assert "Starting db-01" in text_of(pilot)
        assert "under way already" in text_of(pilot)
        gate.set()
        await settle(pilot)
    assert [verb for verb, *_ in service.asked].count("start") == 1


async def test_power_menu_shuts_down(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("j", "j", "p")
        await settle(pilot)
        assert "Power: demo" in text_of(pilot)
        await pilot.press("d")
        await settle(pilot)
    assert ("stop", service.named("demo").machine.key) in service.asked


async def test_one_that_was_adopted_can_be_shut_down_when_asked(
    drive: Drive, service: FakeService
) -> None:
    row = service.named("demo")
    machine = replace(row.machine, adopted=True, defined=False)
    service.rows[2] = replace(row, machine=machine, startable=False)
    async with drive(service) as pilot:
        await pilot.press("j", "j", "p")
        await settle(pilot)
        assert "Power: demo" in text_of(pilot)
        assert "(seen)" in text_of(pilot)
        await pilot.press("d")
        await settle(pilot)
    assert ("stop", machine.key) in service.asked


@pytest.mark.parametrize(
    ("moves", "letter", "verb", "title"),
    [(2, "k", "kill", "Kill demo?"), (1, "D", "delete", "Delete db-01?")],
    ids=["kill", "delete"],
)
async def test_kill_and_delete_ask_by_name_and_default_to_no(
    drive: Drive, service: FakeService, moves: int, letter: str, verb: str, title: str
) -> None:
    key = service.rows[moves].machine.key
    async with drive(service) as pilot:
        await pilot.press(*"j" * moves, "p", letter)
        await settle(pilot)
        assert title in text_of(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert verb not in [asked for asked, *_ in service.asked]
        await pilot.press("p", letter, "y")
        await settle(pilot)
    assert (verb, key) in service.asked


async def test_a_confirmed_kill_hits_the_machine_it_named_though_the_list_moved(
    drive: Drive, service: FakeService
) -> None:
    key = service.named("demo").machine.key
    async with drive(service) as pilot:
        await pilot.press("j", "j", "p", "k")
        await settle(pilot)
        service.rows = [console(f"aa-{n}", "here", 100 + n) for n in range(5)] + service.rows[3:]
        service.rows.append(console("demo", "here", 1))
        service.changed()
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
    assert [asked for asked in service.asked if asked[0] == "kill"] == [("kill", key)]


async def test_what_cannot_be_done_says_why(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("u")
        await settle(pilot)
        assert "build-07 is not a VM of this broker: lab runs it" in text_of(pilot)
    assert "start" not in [verb for verb, *_ in service.asked]


async def test_a_bug_of_ours_is_shown_whole_and_the_app_goes_on(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = ZeroDivisionError("the bug")
    async with drive(service) as pilot:
        await pilot.press("j", "j", "enter")
        await settle(pilot)
        shown = text_of(pilot)
        assert "Something broke that should not" in shown
        assert "ZeroDivisionError: the bug" in shown
        await pilot.press("escape", "j", "enter")
        await settle(pilot)
        assert pilot.app.is_running


async def test_a_list_that_cannot_be_read_is_said_and_kept(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        service.failing["consoles"] = SourceUnreachable("The database is locked", fix="Wait")
        service.changed()
        await settle(pilot)
        assert "not up to date" in text_of(pilot)
        assert "win11-desktop" in text_of(pilot)


async def test_a_wide_terminal_shows_the_detail_and_d_hides_it(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(140, 30)) as pilot:
        await pilot.press("j", "j")
        await pilot.pause(0.2)
        assert "handed over, no port" in text_of(pilot)
        await pilot.press("d")
        await settle(pilot)
        assert "handed over, no port" not in text_of(pilot)


async def test_an_empty_list_says_what_to_do(drive: Drive, service: FakeService) -> None:
    service.rows = []
    async with drive(service) as pilot:
        assert "No consoles yet" in text_of(pilot)
        assert "What A writes stands in sources.yaml" in text_of(pilot)


async def test_names_with_control_characters_cannot_reach_the_terminal(
    drive: Drive, service: FakeService
) -> None:
    service.rows = [console("evil\x1b[2J\x07name", "here", 1)]
    async with drive(service, size=(140, 30)) as pilot:
        await pilot.pause(0.2)
        shown = cells.text(pilot.app)  # type: ignore[arg-type]
        assert "evil�[2J�name" in shown
        assert "\x1b" not in shown


async def test_a_long_port_costs_no_page_its_tab(drive: Drive, service: FakeService) -> None:
    class Elsewhere(FakeService):
        async def host_proxy(self) -> ProxyStatus:
            self.proxy = replace(await super().host_proxy(), tls_port=36525)
            return self.proxy

    service = Elsewhere(status=[])
    async with drive(service, size=(100, 24)) as pilot:
        await until(pilot, "6 Machines", "proxy :36525")
        await pilot.resize_terminal(80, 24)
        await until(pilot, "6 Machines", "● proxy", gone=(":36525",))


async def test_who_has_no_display_is_shown_the_screen_here(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = ViewerMissing("There is no display here", fix="Elsewhere: ssh")
    async with drive(service, size=(120, 30)) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("enter")
        await until(pilot, "There is no display here", "keyboard: guest")
    assert ("view", service.named("demo").machine.key, Way.USE) in service.asked


OCCUPIED = Occupied("demo is in use by ana", in_turn=False, fix="broker open demo --take-over")
NO_DISPLAY = ViewerMissing("There is no display here", fix="Elsewhere: ssh")


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("t", [("open_viewer",), ("open_viewer", TAKE_OVER)]),
        ("w", [("open_viewer",), ("view", Way.WATCH)]),
        ("escape", [("open_viewer",)]),
    ],
)
async def test_a_viewer_for_a_console_that_somebody_is_at_takes_a_question(
    drive: Drive, service: FakeService, key: str, asked: list[tuple[object, ...]]
) -> None:
    """In here an advice to type a command is none."""
    demo = service.named("demo")
    service.live = [session(demo, "k3f9a0b1c2d1", "192.0.2.10:51344")]
    service.failing["open_viewer"] = OCCUPIED
    async with drive(service, size=(80, 24)) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(demo.machine.key)
        await pilot.press("enter")
        await until(pilot, "demo is in use", "ana  192.0.2.10:51344", "Take over")
        del service.failing["open_viewer"]
        await pilot.press(key)
        await settle(pilot)
    of_screens = [what for what in service.asked if what[0] in ("open_viewer", "view")]
    assert [(verb, *rest) for verb, _, *rest in of_screens] == asked


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (OCCUPIED, ("demo is in use by ana", "on it takes it over")),
        (NO_DISPLAY, ("There is no display here", "l shows it here. Elsewhere: ssh")),
    ],
    ids=["in-use", "no-display"],
)
async def test_who_went_on_meanwhile_is_told_what_could_be_done(
    problem: BrokerError, said: tuple[str, ...], drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = problem
    gate = service.slow["open_viewer"] = asyncio.Event()
    async with drive(service, size=(120, 30)) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("enter", "3")
        await until(pilot, "LAST READ")
        gate.set()
        await until(pilot, *said)
        assert "LAST READ" in text_of(pilot)


async def test_who_may_only_look_is_offered_nobody_s_place(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open_viewer"] = OCCUPIED
    async with drive(service, size=(120, 30), readonly=True) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("enter")
        await until(pilot, "demo is in use by ana", gone=("Take over  t",))


async def test_a_list_that_was_there_before_the_service_gets_its_picture_too(
    drive: Drive, service: FakeService
) -> None:
    demo = service.named("demo")
    async with drive(service, size=(140, 36), initial=[demo]) as pilot:
        for _ in range(600):
            if ("view", demo.machine.key, Way.WATCH) in service.asked:
                break
            await pilot.pause(0.05)
        assert ("view", demo.machine.key, Way.WATCH) in service.asked
