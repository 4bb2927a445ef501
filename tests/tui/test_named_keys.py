"""Messages name the keys that are in force, also those that the person chose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from broker.errors import UsageError
from broker.model import Health, SourceName, SourceStatus
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle, text_of, until
from tui import keymap, keys, preferences
from tui.allowed import why_not
from tui.app import BrokerApp
from tui.preferences import Choice
from tui.screens.text import TextScreen
from tui.screens.trouble import TroubleScreen

pytestmark = pytest.mark.usefixtures("usual_keys")


def remapped(**by_id: str) -> None:
    """`vm__start="f5"`: other keys from now on."""
    assert keymap.remap({id_.replace("__", "."): key for id_, key in by_id.items()}) == []


def test_why_not_names_the_key_that_starts() -> None:
    service = FakeService()
    off = service.named("db-01")
    usual = [why_not(verb, off) for verb in ("open", "live", "serial", "pause")]
    assert all("u starts it" in said for said in usual)
    remapped(vm__start="f5,u", vm__reset="f6", vm__stop="f7", power__start="f8")
    mended = [why_not(verb, off) for verb in ("open", "live", "serial", "pause")]
    assert mended == [said.replace("u starts it", "F5 starts it") for said in usual]
    assert "F6 resets it, F7 shuts it down, and then F8 starts it" in why_not("reboot", off)


def test_settings_name_the_keys_that_choose_and_move() -> None:
    remapped(settings__change="f5", settings__later="f6", settings__earlier="f7")
    said = preferences.explained(Choice(preferences.COLUMN, "HOST", "", "", False, ""))
    assert said.startswith("F5 shows or hides it, F6 and F7 move it.")


def test_no_help_of_an_act_names_a_key_of_another() -> None:
    named = re.compile(
        r"(?:^|[;,] )(?:[a-zA-Z!?]|Esc|Enter|Space) (?:undoes|starts|shows|closes)\b"
    )
    assert [act.id for act in keys.BY_ID.values() if named.search(act.help)] == []


async def test_empty_pages_name_the_keys_that_begin(drive: Drive) -> None:
    remapped(vm__demo="f2", vm__new="f4", vm__adopt="f5", console__add="f6", screen__1="f7")
    remapped(source__add="f8", screen__3="f9", screen__6="f10")
    async with drive(FakeService(rows=[], status=[]), size=(120, 30)) as pilot:
        shown = await until(pilot, "Begin with one of these")
        for line in ("F2  the demo", "F4  a VM of", "F5  a QEMU", "F6  a console", "What F6"):
            assert line in shown
        assert "F7 Consoles  2 Sessions  F9 Sources" in shown
        await pilot.press("f9")
        await until(pilot, "No sources.", "F8 adds one")
        await pilot.press("f10")
        await until(pilot, "F4  make one", "F7  the consoles")


async def test_a_page_that_comes_back_names_keys_that_were_chosen_meanwhile(drive: Drive) -> None:
    async with drive(FakeService(rows=[], status=[]), size=(120, 30)) as pilot:
        await until(pilot, "D   the demo guest")
        await pilot.press("comma")
        await until(pilot, "as it comes")
        keymap.use("vm.demo", "f2")
        pilot.app.set_keymap(keymap.bound())
        await pilot.press("1")
        await until(pilot, "F2  the demo guest", gone=("D   the demo guest",))


async def test_a_filter_that_finds_nothing_names_the_key_that_clears_it(drive: Drive) -> None:
    attic = SourceStatus(SourceName("attic"), "proxmox", Health.FAILED, problem="no answer")
    remapped(app__back="f7", screen__3="f9")
    async with drive(FakeService(status=[attic])) as pilot:
        await pilot.press(*"/source:attic")
        await until(pilot, "attic cannot be read now; F9 says why.", "F7 clears it.")
        await pilot.press("enter", "f7")
        await until(pilot, "web-01", gone=("Nothing matches",))


async def test_toasts_name_the_keys_in_force(drive: Drive, service: FakeService) -> None:
    remapped(app__undo="f5", app__failures="f6", app__quit="f8", vm__start="f7")
    service.failing["start"] = UsageError("No room", fix="Make some")
    async with drive(service, size=(140, 40), undo_seconds=600) as pilot:
        await pilot.press("ctrl+c")
        await until(pilot, "F8 quits")
        await pilot.press("asterisk", "f7")
        await until(pilot, "F6 shows why")
        await pilot.press("f6")
        await until(pilot, "What failed")
        await pilot.press("escape")
        await until(pilot, "web-01", gone=("What failed",))
        await pilot.press("p")
        await until(pilot, "Power: 8 machines")
        await pilot.press("d")
        await until(pilot, "F5 undoes it")


async def test_a_paused_source_names_the_key_that_wakes_it(
    drive: Drive, service: FakeService
) -> None:
    remapped(source__pause="f5")
    service.status = [replace(service.status[0], type="proxmox", health=Health.PAUSED)]
    async with drive(service) as pilot:
        await pilot.press("3")
        await until(pilot, "nobody asks it", "F5 goes on.")


async def test_dialogs_to_read_name_the_keys_that_copy_and_close(
    drive: Drive, service: FakeService
) -> None:
    remapped(text__copy="f5", app__close="f6")
    async with drive(service) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        await pilot.app.push_screen(TextScreen("Lines", "one"))
        await until(pilot, "F5 copies, F6 closes")
        await pilot.press("f6")
        await until(pilot, "web-01", gone=("F5 copies",))
        await pilot.app.push_screen(TroubleScreen("Traceback", None))
        await until(pilot, "F5 copies this", "F6 goes")
        await pilot.press("f6")
        await settle(pilot)
        assert "Traceback" not in text_of(pilot)
        await pilot.press("p")
        await until(pilot, "F6 closes")
