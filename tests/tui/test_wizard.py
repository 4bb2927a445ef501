"""The form for a VM: what it asks the service for, what it says about mistakes, what it keeps."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from broker.errors import UsageError
from broker.model import Accel, Disk, DiskBus, Display, Firmware, MachineSpec, Network
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle, text_of, until
from tui import lending
from tui.wizard.items import ITEMS, MEMORY, Document, disk_from, disk_text, item_at
from tui.wizard.preview import command_lines
from tui.wizard.screen import WizardScreen
from tui.wizard.sheet import Sheet


def asked(service: FakeService, verb: str = "define") -> MachineSpec:
    """What the service was asked to define."""
    spec = next(what[-1] for what in service.asked if what[0] == verb)
    assert isinstance(spec, MachineSpec)
    return spec


def put(pilot: Pilot[None], **texts: str) -> None:
    """Type into fields, by id."""
    for id_, text in texts.items():
        pilot.app.screen.query_one(f"#{id_.replace('_', '-')}", Input).value = text


async def judged(pilot: Pilot[None], says: str) -> str:
    """Wait until the form says that; the screen."""
    for _ in range(300):
        shown = " ".join(text_of(pilot).replace("│", " ").split())
        if says in shown:
            return shown
        await pilot.pause(0.1)
    raise AssertionError(f"waited for {says!r}, saw\n{text_of(pilot)}")


async def until_gone(pilot: Pilot[None]) -> None:
    """Wait until the form has closed."""
    for _ in range(300):
        if not isinstance(pilot.app.screen, WizardScreen):
            return
        await pilot.pause(0.1)
    raise AssertionError(text_of(pilot))


@pytest.fixture
def disk(here: Path) -> Path:
    path = here / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture
def demo_image(demo: MachineSpec) -> MachineSpec:
    """The demo guest, its image there."""
    Path(demo.disks[0].path).write_bytes(bytes(512))
    return demo


async def test_a_vm_is_defined_and_started_from_the_form(
    drive: Drive, service: FakeService, disk: Path
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"disk.img", "enter", "enter")
        await pilot.press(*["backspace"] * 4, *"2G", "enter", "backspace", "4", "enter")
        await pilot.press("right", "down", "right", "down", "right", "ctrl+s")
        await until_gone(pilot)
        await settle(pilot)
        spec = asked(service)
        assert spec.disks == (Disk(str(disk), format="raw"),)
        assert (spec.memory, spec.cpus) == (2048, 4)
        assert (spec.accel, spec.display, spec.network) == (Accel.KVM, Display.QXL, Network.NONE)
        assert service.asked[-1][0] == "start"


async def test_a_new_disk_is_made_of_a_size_and_groups_hold_the_rest(
    drive: Drive, service: FakeService, disk: Path
) -> None:
    async with drive(service, size=(100, 40)) as pilot:
        await pilot.press("n")
        put(pilot, name="vm-1", disk_0="20g", disk_1=f"on {disk}", forwards="2222:22, 8080:80")
        await pilot.press("pagedown", "right", "pagedown", "right", "ctrl+s")
        await until_gone(pilot)
    spec = asked(service)
    assert spec.disks == (
        Disk("", bus=DiskBus.SATA, size=20 << 30),
        Disk("", backing=str(disk), backing_format="raw"),
    )
    assert (spec.firmware, spec.forwards) == (Firmware.UEFI, ((2222, 22), (8080, 80)))


async def test_mistakes_are_said_at_their_fields_while_one_types(
    drive: Drive, service: FakeService, here: Path
) -> None:
    (here / "disk-1.qcow2").touch()
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"db-01")
        await judged(pilot, "db-01 exists already")
        put(pilot, disk_0="disk-2.qcow2")
        await judged(pilot, "No such file or directory. Did you mean disk-1.qcow2?")
        put(pilot, memory="lots")
        await judged(pilot, "should be a valid integer")
        await pilot.press("x")
        put(pilot, memory="1G", disk_0="")
        await judged(pilot, "db-01x")
        for _ in range(300):
            if "exists already" not in text_of(pilot) and "integer" not in text_of(pilot):
                break
            await pilot.pause(0.1)
        assert "exists already" not in text_of(pilot)
    assert "define" not in [verb for verb, *_ in service.asked]


async def test_the_first_mistake_gets_the_focus_wherever_it_is(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n")
        put(pilot, name="vm-1", mac="nonsense")
        await pilot.press("ctrl+s")
        await judged(pilot, "Devices!")
        await judged(pilot, "MAC nonsense")
        assert pilot.app.focused is pilot.app.screen.query_one("#mac")


async def test_what_does_not_fit_together_is_said_at_the_field_it_names(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"vm-1", "pagedown", "pagedown", "down", "right")
        await judged(pilot, "secure_boot needs firmware: uefi")
        assert "Secure boot" in text_of(pilot)


async def test_what_the_service_refuses_is_said_in_the_form_and_nothing_typed_is_lost(
    drive: Drive, service: FakeService, demo_image: MachineSpec
) -> None:
    service.failing["define"] = UsageError("disk.qcow2 is in use by web-01", fix="Copy it")
    async with drive(service, demo=demo_image) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo", "ctrl+s")
        shown = await judged(pilot, "disk.qcow2 is in use by web-01. Copy it")
        assert "vm-1" in shown
        await pilot.press("escape")
        await judged(pilot, "Throw away what you typed?")
        await pilot.press("escape")
        await judged(pilot, "New VM on this host")
        await pilot.press("escape", "y")
        await until_gone(pilot)


async def test_the_demo_image_brings_the_accelerator_it_runs_best_on(
    drive: Drive, service: FakeService, demo_image: MachineSpec
) -> None:
    async with drive(service, demo=replace(demo_image, accel=Accel.TCG)) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo", "enter")
        await pilot.press(*["down"] * 6, "right", "ctrl+s")
        await until_gone(pilot)
    assert (asked(service).accel, asked(service).disks) == (Accel.TCG, demo_image.disks)
    assert asked(service).uuid != demo_image.uuid
    assert "start" not in [verb for verb, *_ in service.asked]


async def test_a_burst_of_letters_and_backspaces_counts_in_its_order(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", "enter", "enter", "enter")
        for key in (*["backspace"] * 6, "6", "4", "home", "1", "end", "M"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert pilot.app.screen.query_one("#memory", Input).value == "164M"


# -- a VM that is there


async def test_one_that_is_there_is_changed_and_keeps_its_name(
    drive: Drive, service: FakeService, disk: Path
) -> None:
    key = service.named("web-01").machine.key
    own = Disk(str(disk), format="raw", readonly=True)
    service.specs[key] = MachineSpec(
        "web-01", key.uuid, memory=4096, disks=(own,), extra_args=("-device", "pvpanic")
    )
    async with drive(service, size=(100, 30)) as pilot:
        await pilot.press("6")
        await settle(pilot)
        pilot.app.screen.select(key)  # type: ignore[attr-defined] # the page of machines
        await pilot.press("e")
        await judged(pilot, "Edit web-01")
        assert pilot.app.screen.query_one("#name", Input).disabled
        assert pilot.app.screen.query_one("#memory", Input).value == "4096"
        put(pilot, memory="8G")
        await pilot.press("ctrl+s")
        await until_gone(pilot)
        await settle(pilot)
    assert asked(service, "redefine") == replace(service.specs[key], memory=8192)


async def test_nothing_changed_closes_without_a_question(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("n", "escape")
        await until_gone(pilot)


# -- its YAML


async def test_the_yaml_and_the_fields_are_one_document(drive: Drive, service: FakeService) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"vm-1", "pageup", "pageup")
        await judged(pilot, "name: vm-1")
        text = pilot.app.screen.query_one("#yaml", TextArea)
        text.load_text("name: vm-1\nmemry: 512\n")
        await judged(pilot, "memry is not a setting. Did you mean memory?")
        text.load_text("name: [vm-1\n")
        await judged(pilot, "is not YAML")
        await pilot.press("pagedown")
        await judged(pilot, "Mend the YAML first")
        assert text.text == "name: [vm-1\n"
        text.load_text("name: vm-2\nmemory: 512\ndisks:\n- size: 1G\nenv: {A: b}\n")
        for _ in range(300):
            if pilot.app.screen.query_one("#name", Input).value == "vm-2":
                break
            await pilot.pause(0.1)
        await pilot.press("ctrl+s")
        await until_gone(pilot)
    spec = asked(service)
    assert (spec.name, spec.memory, spec.cpus, spec.env) == ("vm-2", 512, 1, (("A", "b"),))
    assert spec.disks == (Disk("", size=1 << 30),)


async def test_a_preview_shows_the_command_or_why_there_is_none(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(140, 40)) as pilot:
        await pilot.press("n")
        await judged(pilot, "nothing, until what is wrong is mended")
        await pilot.press(*"vm-1")
        await judged(pilot, "-name guest=vm-1")
        assert "name: vm-1" in text_of(pilot)


async def test_without_a_terminal_to_lend_the_editor_says_so(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        await pilot.press("n", "f4")
        await judged(pilot, "the YAML page does the same")


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("", {}),
        ("20g", {"size": "20G"}),
        ("20 GiB", {"size": "20 GIB"}),
        ("on base.qcow2", {"backing": "base.qcow2"}),
        ("20G on my base.qcow2", {"size": "20G", "backing": "my base.qcow2"}),
        ("/a/b.qcow2", {"path": "/a/b.qcow2"}),
    ],
)
def test_a_disk_is_a_path_or_a_size(text: str, disk: Document) -> None:
    assert disk_from(text) == disk
    assert disk_from(disk_text(disk)) == disk


@pytest.mark.parametrize("item", ITEMS.values(), ids=list(ITEMS))
def test_what_is_written_into_a_field_is_read_from_it(item: object) -> None:
    from tui.wizard.items import Item

    assert isinstance(item, Item)
    document: Document = {"disks": [{"path": "/a"}, {"path": "/b"}, {"path": "/c"}]}
    usual = item.read(document)
    texts = item.words or ("/some/thing", "7")
    for text in texts:
        item.write(document, text)
        assert item.read(document) == text
        json.dumps(document)
    item.write(document, usual)
    assert item.read(document) == usual


@pytest.mark.parametrize(
    ("place", "why", "id_"),
    [
        ("memory", "x", "memory"),
        ("disks.0", "x", "disk-0"),
        ("disks.1.size", "x", "disk-1"),
        ("disks.1.bus", "x", "disk-1-bus"),
        ("forwards.0", "x", "forwards"),
        ("", "secure_boot needs firmware: uefi", "secure-boot"),
        ("", "disks: too many", ""),
        ("nonsense", "is not a setting", ""),
    ],
)
def test_a_problem_finds_its_field(place: str, why: str, id_: str) -> None:
    assert item_at(place, why) == id_


def test_a_command_is_shown_option_by_option() -> None:
    shown = command_lines(("qemu", "-name", "a b", "-nodefaults"))
    assert shown == "qemu \\\n  -name 'a b' \\\n  -nodefaults"


async def test_a_form_whose_vm_is_there_goes_with_the_question_over_it(
    drive: Drive, service: FakeService, demo_image: MachineSpec
) -> None:
    there = service.slow["define"] = asyncio.Event()
    async with drive(service, demo=demo_image) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo", "ctrl+s", "escape")
        await judged(pilot, "Throw away what you typed?")
        there.set()
        await until(pilot, "vm-1", gone=("Throw away", "New VM on this host"))


async def test_what_is_refused_behind_a_closed_form_is_said(
    drive: Drive, service: FakeService, demo_image: MachineSpec
) -> None:
    answers = service.slow["define"] = asyncio.Event()
    service.failing["define"] = UsageError("disk.qcow2 is in use by web-01", fix="Copy it")
    async with drive(service, demo=demo_image) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo", "ctrl+s", "escape")
        await judged(pilot, "Throw away what you typed?")
        await pilot.press("y")
        await until_gone(pilot)
        answers.set()
        assert "Not kept" in await judged(pilot, "disk.qcow2 is in use by web-01. Copy it")


async def test_an_editor_s_file_that_is_not_utf_8_is_said(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path) -> bool:
        return path.write_bytes(b"name: b\xfcro\n") > 0

    async def edit(_: object, path: Path, __: str) -> bool:
        return write(path)

    monkeypatch.setattr(lending, "can_lend", lambda _: True)
    monkeypatch.setattr(lending, "edit", edit)
    async with drive(service) as pilot:
        await pilot.press("n", *"vm-1", "f4")
        assert "not UTF-8" in await judged(pilot, "Not taken over")
        assert pilot.app.screen.query_one("#name", Input).value == "vm-1"


async def test_what_is_being_judged_is_not_judged_yet(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = Sheet(None)
    seen = []
    judge = service.draft

    async def draft(*args: object, **kwargs: object) -> object:
        seen.append(sheet.is_stale)
        if len(seen) == 1:
            sheet.write(MEMORY, "4G")
        return await judge(*args, **kwargs)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(service, "draft", draft)
    sheet.write(MEMORY, "2G")
    await sheet.judge(service)  # what was typed meanwhile is not in that answer
    assert sheet.is_stale
    await sheet.judge(service)
    assert seen == [True, True]
    assert not sheet.is_stale


@pytest.mark.parametrize("id_", ["memory", "cpus"])
def test_a_number_of_thousands_of_digits_is_kept_as_it_was_typed(id_: str) -> None:
    document: Document = {}
    ITEMS[id_].write(document, "9" * 5000)
    assert document == {id_: "9" * 5000}
