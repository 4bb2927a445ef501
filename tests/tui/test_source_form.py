"""Adding, editing, pausing and removing sources, from key presses to sources.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from textual.pilot import Pilot

from broker.config.locations import Locations
from broker.errors import ConfigError, UsageError
from broker.findings import Step, broken, fine
from broker.model import Health, SourceName, SourceStatus
from tests.fakes.lab import Lab
from tests.fakes.proxmox import FakeProxmox
from tests.fakes.service import FakeService
from tests.tui import cells
from tests.tui.conftest import Drive, settle, text_of, until
from tests.tui.test_looks import SIZES, at_rest
from tui.app import BrokerApp
from tui.glyphs import ASCII, UNICODE
from tui.widgets.choice import Choice
from tui.widgets.form_row import FormRow

SECRET = "s3cr3t"
FILE = f"""\
# by hand
- source: debug
  type: static
  consoles:
  - uuid: 6f4e2c1a-0000-4000-8000-000000000001
    name: sextant   # the old one
    hypervisor: kvm-7
    hypervisor_ip: 192.0.2.7
    insecure_port: 5910
    ticket: {SECRET}
- source: lab
  type: proxmox
  url: https://192.0.2.1:8006
  token_id: broker@pve!x
  token: {SECRET}
"""
WELL = [Step("log in", fine("lets us in"), 0.1), Step("list", fine("12 machines"), 0.2)]
ILL = [
    Step("reach", fine("https://pve:8006"), 0.1),
    Step("log in", broken("pve refuses our token", "Make one: pveum user token add"), 0.1),
]


@pytest.fixture
def path(locations: Locations) -> Path:
    locations.sources_yaml.write_text(FILE)
    return locations.sources_yaml


@pytest.fixture
def service(path: Path) -> FakeService:
    status = [
        SourceStatus(SourceName("debug"), "static", Health.OK, machines=1),
        SourceStatus(SourceName("lab"), "proxmox", Health.OK, machines=12),
        SourceStatus(SourceName("here"), "local", Health.OK, machines=4),
    ]
    return FakeService(status=status)


def said(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def close(path: Path) -> None:
    path.chmod(0o600)


async def to_source(pilot: Pilot[None], *keys: str) -> None:
    """To the sources, and by those keys to one of them; all is drawn."""
    await pilot.press("3")
    await until(pilot, "HEALTH", "proxmox")
    await settle(pilot)
    await pilot.press("g", *keys)
    await settle(pilot)


async def test_a_console_is_written_down_from_the_form(
    drive: Drive, service: FakeService, path: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("enter")
        await until(pilot, "New console")
        await pilot.press(*"box", "down", *"192.0.2.9", "down", *"5911", "down", "down")
        await pilot.press(*"pass word")
        assert "pass word" not in text_of(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, "box is written down", gone=("New console",))
    added = said(path).split(f"ticket: {SECRET}\n")[1].split("- source: lab")[0]
    assert added.splitlines()[1:] == [
        "    name: box",
        "    hypervisor_ip: 192.0.2.9",
        "    insecure_port: 5911",
        "    ticket: pass word",
        "    hypervisor: 192.0.2.9",
    ]
    assert FILE.split("- source: lab")[1] in said(path)
    assert ("refresh_source", "debug") in service.asked


async def test_a_console_is_looked_at_when_asked_and_written_down_all_the_same(
    drive: Drive, service: FakeService, path: Path
) -> None:
    service.trial = [Step("port 5911", broken("Connection refused", "Start it"), 0.1)]
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("enter")
        await until(pilot, "New console", "Check  ^t")
        await pilot.press(*"box", "down", *"192.0.2.9", "down", *"5911", "down", "down", *"pw")
        await pilot.press("ctrl+t")
        await until(pilot, "box does not work as it is", "Connection refused")
        assert said(path) == FILE
        await pilot.press("escape")
        await until(pilot, "New console", gone=("does not work",))
        service.trial = None
        await pilot.press("ctrl+s")
        await until(pilot, "box is written down", gone=("New console",))
    assert len([what for what in service.asked if what[0] == "try_draft"]) == 1


async def test_mistakes_are_told_while_one_types_and_nothing_is_written(
    drive: Drive, service: FakeService, path: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("enter")
        await until(pilot, "New console")
        assert "is needed" not in text_of(pilot)
        await pilot.press("down", "down", *"70000")
        await until(pilot, "less than or equal to 65535")
        await pilot.press("backspace")
        await until(pilot, "insecure port", gone=("less than or equal",))
        await pilot.press("ctrl+s")
        await until(pilot, "is needed")
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "name-field"
    assert said(path) == FILE


async def test_a_console_is_edited_with_its_secret_unseen_and_kept(
    drive: Drive, service: FakeService, path: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("e")
        await until(pilot, "Consoles of debug", "sextant")
        await pilot.press("down", "enter")
        shown = await until(pilot, "Console of debug", "kept; type to replace")
        assert SECRET not in shown
        await pilot.press(*["down"] * 9, "ctrl+s")
        await until(pilot, "written down")
        assert said(path) == FILE
        await pilot.press("e")
        await until(pilot, "Consoles of debug", gone=("Console of debug",))
        await pilot.press("down", "enter")
        await until(pilot, "Console of debug")
        await pilot.press("2", "ctrl+s")
        await until(pilot, "sextant2 is written down")
    assert said(path) == FILE.replace("sextant", "sextant2")


async def test_a_hypervisor_is_tried_before_it_is_written(
    drive: Drive, service: FakeService, path: Path
) -> None:
    service.trial = ILL
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("down", "down", "enter")
        await until(pilot, "New source of type proxmox")
        await pilot.press(*"https://pve:8006", "down", *"broker@pve!x", "down", *"tok")
        await pilot.press("ctrl+s")
        await until(pilot, "does not work as it is", "pve refuses our token", "w")
        assert said(path) == FILE
        await pilot.press("escape")
        await until(pilot, "New source of type proxmox", gone=("does not work",))
        await pilot.press("ctrl+t")
        await until(pilot, "does not work as it is", gone=("Write anyway",))
        await pilot.press("w", "escape", "ctrl+s")
        await until(pilot, "Write anyway")
        await pilot.press("w")
        await until(pilot, "It answered", gone=("New source",))
    added = "- source: proxmox\n  type: proxmox\n  url: https://pve:8006\n"
    assert said(path) == f"{FILE}{added}  token_id: broker@pve!x\n  token: tok\n"
    assert ("retry_source", "proxmox") in service.asked


async def test_what_answers_well_is_written_without_a_question(
    drive: Drive, service: FakeService, path: Path
) -> None:
    service.trial = WELL
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot, "j")
        await pilot.press("e")
        shown = await until(pilot, "lab, of type proxmox", "https://192.0.2.1:8006")
        assert SECRET not in shown
        await pilot.press(*"/pve", "ctrl+s")
        await until(pilot, "It answered", gone=("of type proxmox",))
    assert said(path) == FILE.replace(":8006", ":8006/pve")


async def test_an_entry_that_somebody_changed_meanwhile_is_read_again(
    drive: Drive, service: FakeService, path: Path
) -> None:
    service.trial = WELL
    theirs = FILE.replace("192.0.2.1", "192.0.2.99")
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot, "j")
        await pilot.press("e")
        await until(pilot, "lab, of type proxmox")
        write(path, theirs)
        await pilot.press(*"/pve", "ctrl+s")
        await until(pilot, "Somebody else changed", "(url)", "^s again")
        assert said(path) == theirs
        await pilot.press("ctrl+s")
        await until(pilot, "It answered")
    assert said(path) == FILE.replace(":8006", ":8006/pve")


async def close_while_it_is_written(pilot: Pilot[None]) -> None:
    """Change a source in its form, have it written, and close the form meanwhile."""
    await to_source(pilot, "j")
    await pilot.press("e")
    await until(pilot, "lab, of type proxmox")
    await pilot.press(*"/pve", "ctrl+s")
    await until(pilot, "Writing lab")
    await pilot.press("escape")
    await until(pilot, "Writing lab", gone=("of type proxmox",))


async def test_a_form_that_is_closed_while_it_is_written_breaks_nothing(
    drive: Drive, service: FakeService, path: Path
) -> None:
    service.trial, service.slow["save_draft"] = WELL, asyncio.Event()
    async with drive(service, size=(120, 30)) as pilot:
        await close_while_it_is_written(pilot)
        service.failing["save_draft"] = UsageError("The disk is full", fix="Make room")
        service.slow["save_draft"].set()
        await until(pilot, "The disk is full", gone=("Writing lab", "should not"))
    assert said(path) == FILE


@pytest.mark.parametrize(
    ("changed", "told"), [(False, "Written, though"), (True, "Somebody else changed")]
)
async def test_what_came_of_a_form_that_was_closed_is_said(
    drive: Drive, service: FakeService, path: Path, changed: bool, told: str
) -> None:
    service.trial, service.slow["save_draft"] = WELL, asyncio.Event()
    async with drive(service, size=(120, 30)) as pilot:
        await close_while_it_is_written(pilot)
        if changed:
            write(path, FILE.replace("192.0.2.1", "192.0.2.99"))
        service.slow["save_draft"].set()
        await until(pilot, told, gone=("Writing lab",))


@pytest.mark.parametrize(
    ("key", "farewell"), [("ctrl+s", "cut short: Checking lab"), ("ctrl+t", "")]
)
async def test_leaving_in_the_middle_of_a_check_is_said_where_an_entry_was_to_be_written(
    drive: Drive, service: FakeService, path: Path, key: str, farewell: str
) -> None:
    service.trial, service.slow["try_draft"] = WELL, asyncio.Event()
    async with drive(service, size=(120, 30)) as pilot:
        await to_source(pilot, "j")
        await pilot.press("e")
        await until(pilot, "lab, of type proxmox")
        await pilot.press(*"/pve", key)
        await until(pilot, "Checking lab")
        assert isinstance(pilot.app, BrokerApp)
        pilot.app.quit_from_outside()
        await settle(pilot)
        assert not pilot.app.is_running
        assert pilot.app.farewell == farewell
    assert said(path) == FILE


async def test_without_a_terminal_to_lend_the_file_is_not_opened(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await to_source(pilot)
        await pilot.press("E")
        await until(pilot, "There is no terminal to lend here")
    assert "sources_file" not in [verb for verb, *_ in service.asked]


def test_a_file_that_is_not_there_is_made_for_us_alone_to_be_edited(
    service: FakeService, path: Path
) -> None:
    path.unlink()
    assert asyncio.run(service.sources_file()) == path
    assert (said(path), path.stat().st_mode & 0o777) == ("", 0o600)


async def test_a_file_that_was_edited_is_taken_up_with_what_is_odd_about_it(
    service: FakeService, path: Path
) -> None:
    close(path)
    assert await service.sources_file() == path
    assert await service.take_up_sources() == []
    write(path, FILE.replace("token_id", "tokenid"))
    (odd,) = await service.take_up_sources()
    assert "tokenid" in odd
    write(path, "- source: [\n")
    with pytest.raises(ConfigError, match="line"):
        await service.take_up_sources()


@pytest.fixture
async def proxmox(tmp_path: Path) -> AsyncIterator[FakeProxmox]:
    """A real HTTPS server that answers as Proxmox VE does."""
    fake = FakeProxmox(Lab(trustme.CA(), "CN=lab", 1, 2, tmp_path / "none"))
    async with fake.running():
        yield fake


async def test_a_hypervisor_that_answers_is_added_for_real(
    drive: Drive, service: FakeService, path: Path, proxmox: FakeProxmox, tmp_path: Path
) -> None:
    options = proxmox.options()
    write(path.parent / "ca.pem", str(options["ca_cert"]))
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("down", "down", "enter")
        await until(pilot, "New source of type proxmox")
        form = pilot.app.screen
        texts = {"url": options["url"], "token_id": options["token_id"], "ca_cert": "ca.pem"}
        for key, text in texts.items():
            form.query_one(f"#row-{key}", FormRow).put(str(text))
        form.query_one("#row-token", FormRow).put("wrong")
        await pilot.press("ctrl+s")
        await until(pilot, "does not work as it is", "Fix:")
        await pilot.press("escape")
        form.query_one("#row-token", FormRow).put(str(options["token"]))
        await pilot.press("ctrl+s")
        await until(pilot, "It answered", gone=("New source",))
    assert said(path).startswith(FILE)
    assert "- source: proxmox\n" in said(path)


async def test_libvirt_is_added_for_real(drive: Drive, service: FakeService, path: Path) -> None:
    pytest.importorskip("libvirt")
    async with drive(service, size=(80, 24)) as pilot:
        await to_source(pilot)
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("down", "enter")
        await until(pilot, "New source of type libvirt")
        await pilot.press(*"test:///default", "ctrl+t")
        await until(pilot, "libvirt answers", "1 machine")
        await pilot.press("escape")
        await until(pilot, "New source of type libvirt", gone=("libvirt answers",))
        await pilot.press("ctrl+s")
        await until(pilot, "It answered", gone=("New source",))
    added = "- source: libvirt\n  type: libvirt\n  uri: test:///default\n"
    assert said(path) == FILE + added


async def test_a_paused_source_goes_on_with_the_same_key(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await to_source(pilot, "j")
        await pilot.press("p")
        await until(pilot, "Paused: it is not asked")
        lab = replace(service.status[1], health=Health.PAUSED)
        service.status[1] = lab
        service.changed()
        await until(pilot, "paused", "nobody asks it")
        await pilot.press("p")
        await until(pilot, "It answered")
    verbs = [verb for verb, *what in service.asked if what == ["lab"]]
    assert verbs == ["pause_source", "retry_source"]


async def test_a_source_is_retried_and_looked_into(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await to_source(pilot, "j")
        await pilot.press("R")
        await until(pilot, "It answered")
        await pilot.press("c")
        await until(pilot, "lab does not work as it is", "Grant VM.Audit")
        await pilot.press("escape")
        await settle(pilot)
    assert ("retry_source", "lab") in service.asked


async def test_a_source_is_removed_only_when_that_is_confirmed(
    drive: Drive, service: FakeService, path: Path
) -> None:
    async with drive(service) as pilot:
        await to_source(pilot, "j")
        await pilot.press("D")
        await until(pilot, "Remove lab?", "12 consoles known")
        await pilot.press("escape")
        await settle(pilot)
        assert said(path) == FILE
        await pilot.press("D")
        await until(pilot, "Remove lab?")
        await pilot.press("y")
        await until(pilot, "Removed from sources.yaml")
    assert said(path) == FILE.split("- source: lab")[0]


async def test_read_only_changes_no_source(drive: Drive, service: FakeService, path: Path) -> None:
    async with drive(service, readonly=True) as pilot:
        await to_source(pilot, "j")
        await pilot.press("e", "p", "D", "A")
        await settle(pilot)
        assert type(pilot.app.screen).__name__ == "SourcesScreen"
    assert [verb for verb, *_ in service.asked if verb != "host_proxy"] == []


async def test_an_empty_set_up_begins_with_the_same_form(
    drive: Drive, path: Path, locations: Locations
) -> None:
    write(path, "")
    service = FakeService([], status=[])
    async with drive(service, size=(80, 24)) as pilot:
        await until(pilot, "A   a console whose address you know")
        await pilot.press("A")
        await until(pilot, "Where do consoles come from?")
        await pilot.press("enter")
        await until(pilot, "New console", "consoles")
        form = pilot.app.screen
        for key, text in {"name": "box", "unix_path": "/run/box.sock"}.items():
            form.query_one(f"#row-{key}", FormRow).put(str(text))
        form.query_one("#ticket-choice", Choice).choose("none")
        await pilot.press("ctrl+s")
        await until(pilot, "box is written down")
    assert "- source: consoles\n  type: static\n  consoles:\n" in said(path)
    assert "ticket: null" in said(path)


async def to_form(pilot: Pilot[None]) -> None:
    """A form with a mistake in it."""
    await to_source(pilot)
    await pilot.press("e")
    await until(pilot, "Consoles of debug")
    await pilot.press("down", "enter")
    await until(pilot, "Console of debug")
    await pilot.press(*["down"] * 2, "end", "x")


async def to_wrong(pilot: Pilot[None]) -> None:
    """A hypervisor that does not let us in."""
    await to_source(pilot, "j")
    await pilot.press("e")
    await until(pilot, "lab, of type proxmox")
    await pilot.press("ctrl+s")


def press(key: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Of the proxmox source."""

    async def go(pilot: Pilot[None]) -> None:
        await to_source(pilot, "j")
        await pilot.press(key)

    return go


LOOKS = {
    "source-form": (to_form, "is not a whole number"),
    "source-wrong": (to_wrong, "Write anyway"),
    "source-add": (press("A"), "Where do consoles come from?"),
    "source-check": (press("c"), "Grant VM.Audit"),
    "source-remove": (press("D"), "Remove lab?"),
}


@pytest.mark.parametrize("name", LOOKS)
async def test_what_it_looks_like(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    go, shows = LOOKS[name]
    service.trial = ILL
    looks: dict[str, str] = {}
    for colour in (True, False):
        if not colour:
            monkeypatch.setenv("NO_COLOR", "1")
        glyphs = UNICODE if colour else ASCII
        async with drive(service, size=(80, 24), glyphs=glyphs) as pilot:
            await go(pilot)
            await until(pilot, shows)
            for width, height in SIZES[: None if colour else 1]:
                await pilot.resize_terminal(width, height)
                look = f"{width}x{height}" + ("" if colour else " NO_COLOR, ASCII")
                looks[look] = await at_rest(pilot, shows)
    cells.check(looks, name)
