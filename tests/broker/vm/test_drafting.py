"""A definition while it is written: what it makes, and what is wrong where."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from broker.model import CloudInit, Disk, DiskBus, Firmware, MachineId, MachineSpec, SpicePort
from broker.provisioning import VmDraft
from broker.vm import drafting, schema

UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")


def draft(text: str, start: Path, known: MachineSpec | None = None) -> VmDraft:
    return drafting.draft(text, start=start, taken={"taken"}, known=known)


def test_a_sound_one_makes_a_machine_with_paths_spelled_out(tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    made = draft("memory: 512\nname: web-01\ndisks: [disk.qcow2, {size: 20G}]\n", tmp_path)
    assert made.wrong == ()
    assert made.spec is not None
    assert made.spec.disks == (Disk(str(image)), Disk("", size=20 << 30))
    assert made.text == "name: web-01\nmemory: 512\ndisks:\n- disk.qcow2\n- size: 20G\n"


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("memory: 512", "name", "is missing"),
        ("name: taken", "name", "exists already"),
        ("name: a\nmemry: 1", "memry", "is not a setting. Did you mean memory?"),
        ("name: a\nmemory: lots", "memory", "valid integer"),
        ("name: a\ndisks: [{size: big}]", "disks.0.size", "such as 20G"),
        ("name: a\ndisks: [{path: no.qcow2}]", "disks.0", "No such file"),
        ("name: a\ndisks: [nothing.img]", "disks.0", "There is no image"),
        ("name: a\ndisks: [{size: 1G, backing: no.qcow2}]", "disks.0", "No such file"),
        ("name: a\ndisks: [{size: 1G, path: /no/such/disk.qcow2}]", "disks.0", "no directory"),
        ("name: a\ncdrom: .", "cdrom", "is not a file"),
        ("name: a\nsecure_boot: true", "", "secure_boot needs firmware: uefi"),
        ("name: a\nextra_args: [-vnc, ':1']", "extra_args", "allow_insecure"),
        ("name: [a", "", "is not YAML"),
        ("- a", "", "does not describe a machine"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(
    tmp_path: Path, text: str, place: str, why: str
) -> None:
    made = draft(text, tmp_path)
    assert made.spec is None
    assert why in dict(made.wrong)[place]


def test_mistakes_of_several_kinds_are_told_at_once(tmp_path: Path) -> None:
    made = draft("name: a b\nmemory: lots\ncdrom: no.iso\ndisks: [{path: x}]\n", tmp_path)
    assert dict(made.wrong).keys() == {"name", "memory", "cdrom", "disks.0"}


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "debian-12.iso").touch()
    made = draft("name: a\ncdrom: debian-13.iso", tmp_path)
    assert "Did you mean debian-12.iso?" in dict(made.wrong)["cdrom"]


def test_one_that_is_there_keeps_its_name_and_uuid(tmp_path: Path) -> None:
    known = MachineSpec("web-01", UUID, memory=2048)
    same = draft("memory: 4096", tmp_path, known)
    assert same.spec == MachineSpec("web-01", UUID, memory=4096)
    other = draft("name: web-02\nuuid: 6f4e2c1a-0000-4000-8000-000000000009", tmp_path, known)
    assert dict(other.wrong).keys() == {"name", "uuid"}


def test_what_one_is_comes_back_as_it_was(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.touch()
    spec = MachineSpec(
        "web-01",
        UUID,
        memory=2048,
        firmware=Firmware.UEFI,
        disks=(Disk(str(image), format="raw", bus=DiskBus.NVME, snapshot=True),),
        spice=SpicePort(port=5901),
        cloud_init=CloudInit(user_data="#cloud-config\n"),
        forwards=((2222, 22),),
        env=(("A", "b"),),
    )
    shown = drafting.present(spec)
    assert "uuid" not in shown.text
    assert draft(shown.text, tmp_path, spec).spec == spec
    assert shown.values["disks"] == [
        {"path": str(image), "format": "raw", "bus": "nvme", "snapshot": True}
    ]


def test_a_plain_one_says_little() -> None:
    assert schema.brief(MachineSpec("web-01", UUID)) == {"name": "web-01"}


@pytest.mark.parametrize(
    "text",
    ["name: 2024-01-01", "name: 2024-13-45", "a: &a [*a]", f"memory: {'9' * 5000}", "[" * 5000],
)
def test_what_yaml_has_and_no_definition_is_said(text: str, tmp_path: Path) -> None:
    made = draft(text, tmp_path)
    assert (made.values, made.spec, made.text) == ({}, None, text)
    assert [place for place, _ in made.wrong] == [""]
