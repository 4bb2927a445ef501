"""The form for a local VM: what it asks the service for, and what it says about mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import UsageError
from broker.model import Accel, Disk, Display, MachineSpec, Network
from tests.fakes.service import FOUND, FakeService
from tests.tui.conftest import Drive, settle, text_of
from tui.newvm import Form, read

GOOD = Form("web-09", "demo", "1024", "1")


def asked(service: FakeService) -> MachineSpec:
    """What the service was asked to define."""
    spec = next(what for verb, *rest in service.asked if verb == "define" for what in rest)
    assert isinstance(spec, MachineSpec)
    return spec


async def test_a_vm_is_defined_and_started_from_the_form(
    drive: Drive, service: FakeService, here: Path
) -> None:
    (here / "disk.qcow2").touch()
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"disk.qcow2", "enter")
        await pilot.press(*["backspace"] * 4, *"2G", "enter", "backspace", "4", "enter")
        await pilot.press("right", "down", "right", "down", "right", "ctrl+s")
        await settle(pilot)
        assert "New VM on this host" not in text_of(pilot)
        spec = asked(service)
        assert spec.disks == (Disk(str(here / "disk.qcow2")),)
        assert (spec.memory, spec.cpus) == (2048, 4)
        assert (spec.accel, spec.display, spec.network) == (Accel.KVM, Display.QXL, Network.NONE)
        assert service.asked[-1][0] == "start"
        await pilot.press("L")
        await settle(pilot)
        assert "vm-1: QEMU's output" in text_of(pilot)


async def test_mistakes_are_said_beside_their_fields_and_the_first_gets_the_focus(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, size=(80, 24)) as pilot:
        await pilot.press("n", *"db-01", "enter", *"nowhere.iso", "ctrl+s")
        await settle(pilot)
        shown = text_of(pilot)
        assert "db-01 exists already" in shown
        assert "There is no nowhere.iso" in shown
        await pilot.press("x")
        await settle(pilot)
        assert "db-01 exists already" not in text_of(pilot)
    assert "define" not in [verb for verb, *_ in service.asked]


async def test_what_the_service_refuses_is_said_in_the_form_and_nothing_typed_is_lost(
    drive: Drive, service: FakeService, demo: MachineSpec
) -> None:
    service.failing["define"] = UsageError("disk.qcow2 is in use by web-01", fix="Copy it")
    async with drive(service, demo=demo) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo", "ctrl+s")
        await settle(pilot)
        shown = text_of(pilot)
        assert "disk.qcow2 is in use by web-01. Copy it" in shown
        assert "vm-1" in shown


async def test_a_vm_can_be_defined_without_starting_it(
    drive: Drive, service: FakeService, demo: MachineSpec
) -> None:
    async with drive(service, demo=demo) as pilot:
        await pilot.press("n", *"vm-1", "enter", *"demo")
        await pilot.press(*["down"] * 6, "right", "ctrl+s")
        await settle(pilot)
    assert asked(service).name == "vm-1"
    assert "start" not in [verb for verb, *_ in service.asked]


@pytest.mark.parametrize(
    ("form", "field", "says"),
    [
        (Form("", "demo", "1", "1"), "name", "letters, digits"),
        (Form("-x", "demo", "1", "1"), "name", "letters, digits"),
        (Form("a b", "demo", "1", "1"), "name", "letters, digits"),
        (Form("taken", "demo", "1", "1"), "name", "exists already"),
        (Form("a", "", "64", "1"), "image", "or: demo"),
        (Form("a", "/no/such.qcow2", "64", "1"), "image", "There is no /no/such.qcow2"),
        (Form("a", "/etc", "64", "1"), "image", "is not a file"),
        (Form("a", "/etc/passwd", "64", "1"), "image", "No suffix: only"),
        (Form("a", "demo", "lots", "1"), "memory", "1024, 512M, 2G"),
        (Form("a", "demo", "4", "1"), "memory", "At least 16 MiB"),
        (Form("a", "demo", "64", "0"), "cpus", "from 1 to"),
        (Form("a", "demo", "64", "many"), "cpus", "from 1 to"),
    ],
)
def test_each_field_says_what_is_wrong_with_it(
    form: Form, field: str, says: str, demo: MachineSpec
) -> None:
    spec, wrong = read(form, taken={"taken"}, demo=demo)
    assert spec is None
    assert says in wrong[field]


@pytest.mark.parametrize(
    ("file", "disks", "cdrom"),
    [
        ("a.qcow2", [("a.qcow2", "qcow2")], False),
        ("a.raw", [("a.raw", "raw")], False),
        ("A.IMG", [("A.IMG", "raw")], False),
        ("a.iso", [], True),
    ],
)
def test_the_suffix_says_what_an_image_is(
    here: Path, file: str, disks: list[tuple[str, str]], cdrom: bool
) -> None:
    (here / file).touch()
    spec, _ = read(Form("a", file, "64", "1"), taken=(), demo=None)
    assert spec is not None
    assert [(Path(disk.path).name, disk.format) for disk in spec.disks] == disks
    assert (spec.cdrom == str(here / file)) is cdrom


def test_the_demo_image_brings_the_accelerator_it_runs_best_on(demo: MachineSpec) -> None:
    best = MachineSpec("demo", demo.uuid, accel=Accel.TCG, disks=demo.disks)
    spec, _ = read(GOOD, taken=(), demo=best)
    assert spec is not None
    assert (spec.accel, spec.disks) == (Accel.TCG, demo.disks)


def test_every_vm_gets_a_uuid_of_its_own(demo: MachineSpec) -> None:
    first, _ = read(GOOD, taken=(), demo=demo)
    second, _ = read(GOOD, taken=(), demo=demo)
    assert first is not None
    assert second is not None
    assert first.uuid != second.uuid


async def test_an_empty_set_up_has_the_demo_guest_in_one_key(
    drive: Drive, demo: MachineSpec
) -> None:
    service = FakeService([], status=[])
    async with drive(service, demo=demo) as pilot:
        assert "D   the demo guest" in text_of(pilot)
        await pilot.press("D")
        await settle(pilot)
        assert "demo" in text_of(pilot)
    assert [verb for verb, *_ in service.asked][1:] == ["define", "start"]


async def test_a_qemu_that_runs_already_is_found_and_taken_in(drive: Drive) -> None:
    service = FakeService(
        [], status=[], found=[FOUND, replace(FOUND, pid=7, why_not="it is root's")]
    )
    async with drive(service) as pilot:
        await pilot.press("a")
        await settle(pilot)
        shown = text_of(pilot)
        assert FOUND.name in shown
        assert "it is root's" in shown
        await pilot.press("enter")
        await settle(pilot)
    assert ("adopt", str(FOUND.pid), None) in service.asked
