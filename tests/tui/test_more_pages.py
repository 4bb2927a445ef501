"""The proxy, the doctor, the audit log as a file, and keys of one's own."""

from __future__ import annotations

import asyncio
import csv
import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.config.keys_file import read_keys
from broker.errors import ConfigError, StoreError, UsageError
from broker.events import Kind
from broker.findings import Step, broken, fine
from tests.fakes.service import NOW, FakeService, session
from tests.tui.conftest import Drive, settle, text_of, until
from tui import audit, keymap
from tui.app import BrokerApp
from tui.screens.doctor import DoctorScreen
from tui.screens.machine_log import MachineLogScreen
from tui.screens.serial import SerialScreen


async def test_the_proxy_page_shows_where_it_listens_and_who_relays(
    drive: Drive, service: FakeService
) -> None:
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.10:51344")]
    async with drive(service) as pilot:
        await pilot.press("5")
        await settle(pilot)
        shown = text_of(pilot)
        assert "127.0.0.1:5443, TLS only" in shown
        assert "pid 777" in shown
        await pilot.press("enter")
        await settle(pilot)
        assert "192.0.2.10:51344" in text_of(pilot)


@pytest.mark.parametrize(
    ("days", "says"),
    [(62, "good for 62 more days"), (5, "good for 5 more days"), (-1, "has ended")],
)
async def test_the_proxy_page_tells_of_its_certificate_and_warns_near_its_end(
    drive: Drive, service: FakeService, days: int, says: str
) -> None:
    assert service.shown_certificate is not None
    end = NOW + timedelta(days=days, hours=1)
    service.shown_certificate = replace(service.shown_certificate, not_after=end)
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press("5")
        await settle(pilot)
        shown = text_of(pilot)
        assert says in shown
        assert "broker.example" in shown
        assert "A0:A1:A2" in shown
        assert ("start it again" in shown) is (days < 14)


async def test_a_certificate_that_cannot_be_read_is_said_on_the_page(
    drive: Drive, service: FakeService
) -> None:
    service.failing["certificate"] = StoreError("server.pem cannot be read", fix="rm it")
    async with drive(service, size=(110, 36)) as pilot:
        await pilot.press("5")
        await settle(pilot)
        assert "server.pem cannot be read" in text_of(pilot)
        assert "TLS only" in text_of(pilot)


async def test_a_look_that_was_left_does_not_hold_up_the_next(
    drive: Drive, service: FakeService
) -> None:
    service.steps = [Step("name", fine("here/demo"), 0.001)]
    left = service.slow["diagnose"] = asyncio.Event()
    async with drive(service) as pilot:
        await pilot.press("j", "j", "c")
        await until(pilot, "Looking")
        await pilot.press("escape")
        await until(pilot, "Filter")
        del service.slow["diagnose"]
        await pilot.press("c")
        await until(pilot, "is clear")
        left.set()
        await settle(pilot)
        assert "Something broke" not in text_of(pilot)


@pytest.mark.parametrize("left", [DoctorScreen, MachineLogScreen, SerialScreen])
async def test_an_answer_that_comes_while_its_screen_closes_is_dropped(
    drive: Drive, service: FakeService, left: Any
) -> None:
    demo = service.named("demo")
    async with drive(service) as pilot:
        assert isinstance(pilot.app, BrokerApp)
        if left is SerialScreen:
            screen = left(pilot.app, demo)
        else:
            screen = left(pilot.app, demo.machine.key, "demo")
        await pilot.app.push_screen(screen)
        screen.dismiss(None)
        turns = 0
        while screen.is_attached:  # without its children, towards the end
            if isinstance(screen, MachineLogScreen):
                screen._show("late", serial=False)
            else:
                screen._show()
            await asyncio.sleep(0)
            turns += 1
        assert turns


async def test_the_doctor_names_the_first_broken_step_and_its_fix(
    drive: Drive, service: FakeService
) -> None:
    service.steps = [
        Step("name", fine("here/demo"), 0.001),
        Step("proxy", broken("nobody serves", "broker serve"), 0.002),
    ]
    async with drive(service) as pilot:
        await pilot.press("j", "j", "c")
        await settle(pilot)
        shown = text_of(pilot)
        assert "Doctor: demo" in shown
        assert "broken: nobody serves" in shown
        assert "Fix: broker serve" in shown
        await pilot.press("escape")
        await settle(pilot)
        assert "1 Consoles" in text_of(pilot)


async def test_what_is_listed_of_the_audit_log_is_written_to_a_file(
    drive: Drive, service: FakeService, here: Path
) -> None:
    service.say(Kind.SESSION_OPENED, "ana opened demo", service.named("demo"))
    service.say(Kind.MACHINE_FAILED, "web-02 crashed", service.named("web-02"))
    service.log[-1] = replace(service.log[-1], label="ana", channel="main.0", verdict="refused")
    async with drive(service) as pilot:
        await pilot.press("4", *"/crashed", "enter", "e", "enter")
        await settle(pilot)
        assert "1 event" in text_of(pilot)
    with (here / "audit.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["web-02 crashed"]
    told = {name: rows[0][name] for name in ("label", "channel", "verdict")}
    assert told == {"label": "ana", "channel": "main.0", "verdict": "refused"}
    assert stat.S_IMODE((here / "audit.csv").stat().st_mode) == 0o600


async def test_a_place_where_no_file_can_be_is_said_in_the_form(
    drive: Drive, service: FakeService, here: Path
) -> None:
    service.say(Kind.SESSION_OPENED, "ana opened demo", service.named("demo"))
    async with drive(service) as pilot:
        await pilot.press("4", "e", "home", *"~nobody-at-all/", "enter")
        await settle(pilot)
        assert "There is no directory ~nobody-at-all" in text_of(pilot)


def test_a_cell_of_the_file_is_no_formula(service: FakeService, tmp_path: Path) -> None:
    service.say(Kind.SESSION_REFUSED, '=HYPERLINK("http://x")')
    audit.write(tmp_path / "a.csv", service.log)
    assert "'=HYPERLINK" in (tmp_path / "a.csv").read_text()
    audit.write(tmp_path / "a.json", service.log)
    assert json.loads((tmp_path / "a.json").read_text())[0]["text"].startswith("=HYPER")
    with pytest.raises(UsageError):
        audit.write(tmp_path / "a.csv", service.log)


async def test_keys_can_be_others_and_the_hints_say_so(
    drive: Drive, service: FakeService, usual_keys: None
) -> None:
    assert keymap.remap({"vm.start": "ctrl+s"}) == []
    async with drive(service, size=(160, 30)) as pilot:
        await pilot.press("j", "u")
        await settle(pilot)
        assert "start" not in [verb for verb, *_ in service.asked]
        assert "^s Start" in text_of(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
    assert ("start", service.named("db-01").machine.key) in service.asked


def test_keys_that_clash_or_do_nothing_are_told(usual_keys: None) -> None:
    problems = keymap.remap({"vm.strat": "x", "vm.start": "e"})
    assert "vm.strat is nothing that a key does. Did you mean vm.start?" in problems
    assert any("e is both" in problem for problem in problems)


def test_the_usual_keys_do_not_clash() -> None:
    assert keymap.remap({}) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("vm.start: ctrl+s\n", {"vm.start": "ctrl+s"}), ("vm.start: [a, b]\n", {"vm.start": "a,b"})],
)
def test_keys_yaml_is_read(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    assert read_keys(tmp_path / "keys.yaml") == found
    assert read_keys(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize("text", ["- a\n", "vm.start: {a: b}\n", "vm.start: [\n"])
def test_a_keys_yaml_that_means_nothing_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(ConfigError):
        read_keys(tmp_path / "keys.yaml")


async def test_only_the_columns_that_are_wanted_are_shown(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, columns=("name", "uuid", "nonsense")) as pilot:
        header = text_of(pilot).splitlines()[2]
        assert header.split() == ["NAME", "UUID"]
