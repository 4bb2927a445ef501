"""What hands expect: `q` leaves what lies over a page, fields filter every list."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.model import Health, SourceName, SourceStatus
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle, until
from tests.tui.shots import lively, nobody, vms
from tui import keys
from tui.screens.consoles import ConsolesScreen
from tui.screens.help import HelpScreen
from tui.screens.wall import WallScreen
from tui.widgets.reading import Reading


@pytest.mark.parametrize(
    ("pressed", "shows"),
    [
        (("p",), "Power: demo"),
        (("p", "k"), "Kill demo?"),
        (("L",), "QEMU's output"),
        (("c",), "Doctor: demo"),
        (("full_stop",), "here/demo"),
        (("S",), "Sort by"),
        (("a",), "QEMUs that run"),
        (("question_mark",), "Keys: Consoles"),
        (("w",), " Wall "),
    ],
)
async def test_q_leaves_what_lies_over_a_page_and_not_the_app(
    drive: Drive, pressed: tuple[str, ...], shows: str
) -> None:
    service = lively()
    nobody(service)
    async with drive(service) as pilot:
        await pilot.press("j", "j", *pressed)
        await until(pilot, shows)
        await pilot.press("q")
        await until(pilot, "1 Consoles", gone=(shows,))
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert pilot.app.is_running
    assert "kill" not in [verb for verb, *_ in service.asked]


async def test_the_wall_s_hints_and_help_name_no_key_that_does_something_else_there(
    drive: Drive,
) -> None:
    service = lively()
    nobody(service)
    async with drive(service, size=(100, 60)) as pilot:
        await pilot.press("w")
        shown = await until(pilot, " Wall ", "Live")
        assert isinstance(pilot.app.screen, WallScreen)
        assert "Esc Close" in shown
        assert "q Quit" not in shown
        await pilot.press("question_mark")
        shown = await until(pilot, "Keys: Wall")
    assert "Esc q         Close this" in shown
    assert "    ^q            Leave; asks" in shown


async def test_a_long_text_is_read_with_the_keys_of_lists(drive: Drive) -> None:
    async with drive(FakeService(), size=(80, 24)) as pilot:
        await pilot.press("question_mark", "j", "j", "G")
        assert isinstance(pilot.app.screen, HelpScreen)
        await until(pilot, "cannot be read now")
        text = pilot.app.screen.query_one(Reading)
        await pilot.press("k", "g")
        await until(pilot, keys.OPEN.help)
        assert text.scroll_offset.y == 0


async def test_a_column_s_title_is_a_field_of_the_filter(drive: Drive) -> None:
    service = lively()
    vms(service)
    async with drive(service) as pilot:
        await pilot.press("6")
        await until(pilot, "5 ", "web-01", "demo", "db-01")
        await pilot.press(*"/state:off")
        shown = await until(pilot, "1 of ")
        assert "db-01" in shown
        assert "demo" not in shown
        await pilot.press("escape", "question_mark")
        await until(pilot, "name begins so; also state: cpus: memory:")


async def test_a_filter_that_finds_nothing_says_what_may_be_meant(drive: Drive) -> None:
    service = FakeService()
    async with drive(service) as pilot:
        await pilot.press(*"/state:runing")
        await until(pilot, "No state begins with runing.  Did you mean running?", "Esc clears it.")
        await pilot.press("ctrl+u", *"machine:demo")
        await until(pilot, "There is no field machine:", "state:")
        await pilot.press("ctrl+u", *"/web-9")
        shown = await until(pilot, "Nothing matches this filter.", gone=("There is no field",))
        assert "begins with" not in shown


async def test_a_source_that_cannot_be_read_is_no_slip_of_a_filter(drive: Drive) -> None:
    attic = SourceStatus(SourceName("attic"), "proxmox", Health.FAILED, problem="no answer")
    async with drive(FakeService(status=[attic])) as pilot:
        await pilot.press("3")
        await until(pilot, "no answer")
        await pilot.press("enter")
        shown = await until(pilot, "attic cannot be read now; 3 says why.", "Esc clears it.")
        assert "No source begins with" not in shown
        await pilot.press("slash", "ctrl+u", *"web-9")
        await until(pilot, "Nothing matches this filter.", gone=("cannot be read",))
        await pilot.press("ctrl+u", *'source:"attic"')
        await until(pilot, "attic cannot be read now; 3 says why.")


async def test_the_selected_event_is_said_whole(drive: Drive) -> None:
    service = lively()
    (event, *_) = service.log
    long = f"{'a long story ' * 8}that ends here"
    service.log = [replace(event, text=long, reason="token-expired", client="192.0.2.10:51344")]
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("4")
        shown = await until(pilot, "that ends here")
        assert "token-expired" in shown
        assert "from 192.0.2.10:51344" in shown


async def test_marked_sources_are_asked_together_and_edited_one_at_a_time(drive: Drive) -> None:
    names = [SourceName(name) for name in ("lab", "attic", "cellar")]
    service = FakeService(status=[SourceStatus(name, "static", Health.OK) for name in names])
    async with drive(service) as pilot:
        await pilot.press("3")
        await until(pilot, "cellar")
        await pilot.press("g", "space", "space", "R", "p", "e")
        await until(pilot, "One at a time, please: 2 are marked")
        await settle(pilot)
    asked = [
        what for what in service.asked if what[0] in ("retry_source", "pause_source", "draft_of")
    ]
    wanted = [(verb, name) for verb in ("retry_source", "pause_source") for name in names[:2]]
    assert sorted(what[:2] for what in asked) == sorted(wanted)


async def test_what_was_typed_is_thrown_away_without_a_gap_for_names(drive: Drive) -> None:
    async with drive(FakeService()) as pilot:
        await pilot.press("n")
        await until(pilot, "New VM on this host")
        await pilot.press("x", "escape")
        shown = (await until(pilot, "Throw away what you typed?")).splitlines()
        title = next(n for n, line in enumerate(shown) if "Throw away what you typed?" in line)
        assert "Nothing of it is kept" in shown[title + 2]
