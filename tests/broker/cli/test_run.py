from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.cli.images import Image, existing, look_at
from broker.cli.run import name_for
from broker.errors import BrokerError, UsageError
from broker.model import DiskBus, MachineSpec
from tests.broker.cli.calling import called, called_with
from tests.fakes.service import FakeService


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "my disk.img"
    path.write_bytes(b"\0" * 4096)
    return path


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / "live.iso"
    path.write_bytes(b"\0" * 0x8001 + b"CD001" + b"\0" * 4000)
    return path


def defined(service: FakeService) -> MachineSpec:
    return next(what[1] for what in service.asked if what[0] == "define")  # type: ignore[return-value]  # as define was called


def test_an_image_is_defined_started_and_told_how_to_be_seen(disk: Path) -> None:
    service = FakeService()
    ran = called_with(["run", str(disk), "-m", "2G", "--", "-device", "x"], service)
    spec = defined(service)
    assert ran.code == 0
    assert (spec.name, spec.memory, spec.extra_args) == ("my-disk", 2048, ("-device", "x"))
    assert (spec.disks[0].path, spec.disks[0].format) == (str(disk), "raw")
    assert "my-disk is running" in ran.err
    assert "broker export-vv my-disk -o - | remote-viewer -" in ran.err


def test_an_iso_goes_into_the_drive(iso: Path) -> None:
    service = FakeService()
    assert called_with(["run", str(iso), "--headless"], service).code == 0
    assert (defined(service).cdrom, defined(service).disks) == (str(iso), ())


def test_options_of_the_disk_are_kept(disk: Path) -> None:
    service = FakeService()
    words = ["run", str(disk), "--bus", "sata", "--snapshot", "--read-only", "--headless"]
    called_with(words, service)
    (made,) = defined(service).disks
    assert (made.bus, made.snapshot, made.readonly) == (DiskBus.SATA, True, True)


def test_the_demo_guest_needs_no_image() -> None:
    service = FakeService()
    service.rows.clear()
    ran = called("run --demo --headless --json", service)
    assert json.loads(ran.out)["state"] == "running"
    assert Path(defined(service).disks[0].path).stat().st_size == 1024 * 1024


def test_export_writes_the_file_instead(disk: Path, tmp_path: Path) -> None:
    service = FakeService()
    target = tmp_path / "x.vv"
    assert called_with(["run", str(disk), "--export", str(target)], service).code == 0
    assert target.read_text().startswith("[virt-viewer]")


def test_a_taken_name_with_other_disks_is_refused(disk: Path) -> None:
    service = FakeService()
    ran = called_with(["run", str(disk), "--name", "web-01"], service)
    assert ran.code == 2
    assert "broker vm start web-01" in ran.err
    assert service.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run", "Name an image, or --demo"),
        ("run x --demo", "Name an image, or --demo"),
        ("run /no/such.qcow2", "There is no image /no/such.qcow2"),
        ("run /tmp", "is a directory"),
        ("run x --export a --headless", "not allowed with"),
    ],
)
def test_what_cannot_be_run_exits_with_2(words: str, said: str) -> None:
    service = FakeService()
    ran = called(words, service)
    assert (ran.code, ran.out, service.asked) == (2, "", [])
    assert said in ran.err


def test_a_near_file_name_is_offered(disk: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean my disk\.img\?"):
        existing(str(disk.with_name("my_disk.img")))


@pytest.mark.parametrize(
    ("file", "name"),
    [("web.qcow2", "web"), ("a b(1).img", "a-b-1"), (".hidden", "hidden"), ("日本.iso", "vm")],
)
def test_a_vm_is_named_after_its_file(file: str, name: str) -> None:
    assert name_for(Path(file)) == name


def test_formats_are_asked_of_qemu_img(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    assert look_at(path) == Image("qcow2", is_iso=False)


@pytest.mark.parametrize(
    ("head", "expected"), [(b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"\0" * 8, "raw")]
)
def test_without_qemu_img_the_first_bytes_tell(
    head: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "a"
    path.write_bytes(head.ljust(4096, b"\0"))
    assert look_at(path).format == expected


def test_qemu_img_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    path.write_bytes(b"QFI\xfb\xff\xff\xff\xff")
    with pytest.raises(BrokerError, match="not an image that QEMU can read"):
        look_at(path)
