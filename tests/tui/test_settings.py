"""Settings: in force at once, kept in the person's own files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import CommandList
from textual.pilot import Pilot

from broker.config.locations import Locations
from tests.fakes.service import FakeService
from tests.tui import cells
from tests.tui.conftest import Drive, settle, text_of, until
from tests.tui.test_looks import at_rest
from tui import keymap, preferences

TITLES = ["NAME", "STATE", "UUID"]


@pytest.fixture
def files(locations: Locations) -> Path:
    locations.broker_yaml.write_text("# mine\nproxy:\n  tls_port: 5930   # not 5920\n")
    locations.keys_yaml.write_text("# also mine\nvm.start: f5\n")
    return locations.config_dir


def said(directory: Path, name: str) -> str:
    return (directory / name).read_text()


async def kept(
    pilot: Pilot[None], directory: Path, name: str, holds: Callable[[str], bool]
) -> None:
    """Wait until the file is as it should be: a thread writes it, after the screen has changed."""
    for _ in range(600):
        if holds(said(directory, name)):
            return
        await pilot.pause(0.05)
    raise AssertionError(said(directory, name))


async def find(pilot: Pilot[None], text: str) -> None:
    """Narrow the list to that, and wait until what is left is drawn."""
    await pilot.press("slash", "ctrl+u", *text, "enter")
    await until(pilot, " of ", text)
    await settle(pilot)


async def test_a_theme_is_seen_at_once_and_kept(
    drive: Drive, service: FakeService, files: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("comma")
        await until(pilot, "● in use")
        await find(pilot, "light")
        await pilot.press("enter")
        await until(pilot, "broker.yaml")
        assert pilot.app.theme == "broker-light"
        light = "# mine\nproxy:\n  tls_port: 5930   # not 5920\ntui:\n  theme: light\n"
        await kept(pilot, files, "broker.yaml", light.__eq__)
        await pilot.press("backspace")
        await until(pilot, "light", gone=("broker.yaml",))
        assert pilot.app.theme == "broker-dark"
        await kept(pilot, files, "broker.yaml", lambda words: "theme: light" not in words)


async def test_a_theme_that_a_variable_overrides_says_so(
    drive: Drive, service: FakeService, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_TUI_THEME", "dark")
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("comma")
        await until(pilot, "$BROKER_TUI_THEME")
        await find(pilot, "light")
        await pilot.press("enter")
        await until(pilot, "counts again at the next start")
        await kept(pilot, files, "broker.yaml", lambda words: "theme: light" in words)


async def only_offer(pilot: Pilot[None], text: str) -> None:
    """Wait until the palette offers that and nothing else, and would take it."""
    for _ in range(600):
        await pilot.pause(0.05)
        offers = pilot.app.screen.query(CommandList)
        if offers and offers.first().option_count == 1 and offers.first().highlighted == 0:
            break
    assert text in text_of(pilot)


async def choose_contrast(pilot: Pilot[None]) -> None:
    """Take that theme in the palette."""
    await pilot.press("colon", *"theme")
    await only_offer(pilot, "Choose colours")
    await pilot.press("enter")
    await until(pilot, "ansi-light")
    await pilot.press(*"contrast")
    await only_offer(pilot, "contrast")
    await pilot.press("enter")


async def test_a_theme_of_the_palette_is_kept_as_one_of_the_settings(
    drive: Drive, service: FakeService, files: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await choose_contrast(pilot)
        await kept(pilot, files, "broker.yaml", lambda words: "theme: contrast" in words)
        assert pilot.app.theme == "broker-contrast"
    assert said(files, "broker.yaml").endswith("# not 5920\ntui:\n  theme: contrast\n")


async def test_a_theme_of_the_palette_is_seen_in_the_settings_below(
    drive: Drive, service: FakeService, files: Path
) -> None:
    async with drive(service, size=(160, 36)) as pilot:
        await pilot.press("comma")
        await until(pilot, "wanted")
        await choose_contrast(pilot)
        row = ""
        for _ in range(600):
            row = next((r for r in text_of(pilot).splitlines() if " contrast " in r), "")
            if "in use" in row and "broker.yaml" in row:
                break
            await pilot.pause(0.05)
        assert "broker.yaml" in row


async def test_columns_are_hidden_and_moved(
    drive: Drive, service: FakeService, files: Path
) -> None:
    columns = ("NAME", "STATE", "UUID", "HOST")
    async with drive(service, size=(160, 36), columns=columns) as pilot:
        await pilot.press("comma")
        await until(pilot, "wanted", "shown, 4")
        await find(pilot, "UUID")
        await pilot.press("enter")
        await until(pilot, "○ hidden")
        await find(pilot, "HOST")
        await pilot.press("K")
        moved = "columns: [NAME, HOST, STATE]"
        await kept(pilot, files, "broker.yaml", lambda words: moved in words)
        await pilot.press("1")
        await settle(pilot)
        assert text_of(pilot).splitlines()[2].split()[:3] == ["NAME", "HOST", "STATE"]
        await pilot.press("comma")
        await until(pilot, "shown, 2")
        await settle(pilot)
        await pilot.press("backspace")
        await until(pilot, "shown, 5")
        await kept(pilot, files, "broker.yaml", lambda words: "columns" not in words)


async def test_another_key_works_at_once_and_is_kept(
    drive: Drive, service: FakeService, files: Path, usual_keys: None
) -> None:
    async with drive(service, size=(160, 36)) as pilot:
        await pilot.press("comma")
        await until(pilot, "as it comes")
        await find(pilot, "console.doctor")
        await pilot.press("enter")
        await until(pilot, "Press the key for: Check", "Now: c")
        await pilot.press("e")
        await until(pilot, "e is Export (console.export-vv) on Consoles")
        await pilot.press("f7")
        await until(pilot, "F7", "keys.yaml", gone=("Press the key",))
        own = "# also mine\nvm.start: f5\n"
        await kept(pilot, files, "keys.yaml", (own + "console.doctor: f7\n").__eq__)
        await pilot.press("plus")
        await until(pilot, "Press the key for: Check")
        await pilot.press("c")
        await until(pilot, "F7 c")
        await pilot.press("1")
        await settle(pilot)
        await pilot.press("j")
        await settle(pilot)
        await pilot.press("f7")
        await until(pilot, "Doctor: ")
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("comma")
        await until(pilot, "F7 c")
        await settle(pilot)
        await pilot.press("backspace")
        await until(pilot, "1 of", gone=("F7",))
        await kept(pilot, files, "keys.yaml", own.__eq__)
        await pilot.press("1")
        await settle(pilot)
        await pilot.press("c")
        await until(pilot, "Doctor: ")


async def test_a_key_is_not_given_back_to_where_it_means_something_else_now(
    drive: Drive, service: FakeService, files: Path, usual_keys: None
) -> None:
    assert keymap.remap({"console.doctor": "f7", "view.wall": "c"}) == []
    async with drive(service, size=(120, 30)) as pilot:
        await pilot.press("comma")
        await until(pilot, "as it comes")
        await find(pilot, "console.doctor")
        await pilot.press("backspace")
        await until(pilot, "One of its keys is view.wall on Consoles now")
    assert said(files, "keys.yaml") == "# also mine\nvm.start: f5\n"


async def test_a_file_that_is_wrong_is_said_and_left(
    drive: Drive, service: FakeService, files: Path
) -> None:
    wrong = "tui: {thema: dark}\n"
    (files / "broker.yaml").write_text(wrong)
    async with drive(service, size=(120, 30)) as pilot:
        await pilot.press("comma")
        await until(pilot, "thema is not a setting")
        await pilot.press("down")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, "thema is not a setting")
    assert said(files, "broker.yaml") == wrong


async def test_what_asking_for_a_key_looks_like(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("comma")
        await until(pilot, "wanted")
        await find(pilot, "console.doctor")
        await pilot.press("enter")
        await until(pilot, "Press the key for")
        await pilot.press("e")
        looks = {"80x24": await at_rest(pilot, "e is Export")}
    cells.check(looks, "press-key")


def test_columns_that_are_all_there_are_need_no_line() -> None:
    assert preferences.toggled("STATE", TITLES, None) == ("NAME", "UUID")
    assert preferences.toggled("STATE", TITLES, ("NAME", "UUID")) == ("NAME", "UUID", "STATE")
    assert preferences.shifted("STATE", -1, TITLES, ("NAME", "UUID", "STATE")) is None
    assert preferences.shifted("NAME", -1, TITLES, None) is None
    assert preferences.toggled("NAME", TITLES, ("NAME",)) == ()


def test_a_key_that_means_something_only_elsewhere_is_free() -> None:
    assert [act.id for _, act in keymap.taken_by("session.disconnect", "e")] == []
    assert [act.id for _, act in keymap.taken_by("session.disconnect", "j")] == ["list.down"]
    assert [act.id for _, act in keymap.taken_by("app.quit", "z")][:1] == ["app.undo"]


async def test_what_is_chosen_while_something_is_being_kept_is_kept_after_it(
    drive: Drive, service: FakeService, files: Path
) -> None:
    writes = service.slow["prefer"] = asyncio.Event()
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("comma")
        await until(pilot, "● in use")
        await find(pilot, "light")
        await pilot.press("enter")
        await find(pilot, "contrast")
        await pilot.press("enter")
        for _ in range(600):
            if pilot.app.theme == "broker-contrast":
                break
            await pilot.pause(0.05)
        writes.set()
        await kept(pilot, files, "broker.yaml", lambda words: "theme: contrast" in words)
