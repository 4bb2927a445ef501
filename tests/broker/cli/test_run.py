from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.cli.run import name_for
from broker.errors import BrokerError, UsageError
from broker.model import CloudInit, Disk, DiskBus, MachineSpec, Network, Nic, SpicePort
from broker.vm.image_kinds import Image, existing, look_at
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


def test_an_image_typed_in_two_ways_is_one_image(disk: Path) -> None:
    (disk.parent / "sub").mkdir()
    assert existing(str(disk.parent / "sub" / ".." / disk.name)) == disk


def test_two_dots_behind_a_link_lead_where_the_system_says(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "sub").mkdir(parents=True)
    other = tmp_path / "elsewhere" / disk.name
    other.write_bytes(b"another image")
    (disk.parent / "link").symlink_to(tmp_path / "elsewhere" / "sub")
    typed = disk.parent / "link" / ".." / disk.name
    assert existing(str(typed)).samefile(other)
    assert existing(str(typed)) != disk


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


def qcow2(path: Path, *words: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "1M"], check=True)
    return path


@pytest.mark.parametrize("name", ["disk.img", "disk.raw", "disk"])
def test_what_a_guest_could_have_written_is_not_believed(name: str, tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base.qcow2")
    path = qcow2(tmp_path / name, "-b", str(base), "-F", "qcow2")
    with pytest.raises(UsageError, match=r"holds a qcow2 image that builds on .*base") as caught:
        look_at(path)
    assert "--format qcow2, or --format raw" in caught.value.fix
    assert look_at(path, named="raw") == Image("raw", is_iso=False)


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vhdx", "qcow2"])
def test_images_of_other_programs_are_known(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"disk.{kind}"
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, str(path), "4M"], check=True)
    assert look_at(path) == Image(kind, is_iso=False)
    renamed = path.rename(tmp_path / "disk.img")  # alone, it is what it is whatever it is called
    assert look_at(renamed) == Image(kind, is_iso=False)


def test_a_text_that_names_a_file_of_this_host_as_its_data_is_not_believed(tmp_path: Path) -> None:
    """A guest that writes this to its raw disk would read that file after the next start."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * 512)
    path = tmp_path / "disk.img"
    text = (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\nRW 1 FLAT "{secret}" 0\n'
        'ddb.adapterType = "ide"\n'
    )
    path.write_text(text.ljust(4096, "\n"))
    with pytest.raises(UsageError, match=r"vmdk image that builds on .*secret"):
        look_at(path)


def test_an_overlay_that_is_called_one_is_believed(tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base.img")
    path = qcow2(tmp_path / "top.qcow2", "-b", str(base), "-F", "qcow2")
    assert [look_at(each).format for each in (base, path)] == ["qcow2", "qcow2"]


def test_the_command_is_printed_and_nothing_started(disk: Path) -> None:
    service = FakeService()
    words = ["run", str(disk), "--print-command", "--env", "TMPDIR=/a b"]
    ran = called_with(words, service)
    assert ran.out == "TMPDIR='/a b' qemu-system-x86_64 -name guest=my-disk 'a b'\n"
    assert [what[0] for what in service.asked] == ["command"]
    ran = called_with([*words, "--json"], FakeService())
    assert json.loads(ran.out)["env"] == {"TMPDIR": "/a b"}


def test_a_vm_of_the_moment_is_forgotten_also_when_nothing_could_be_opened(disk: Path) -> None:
    service = FakeService()
    assert called_with(["run", str(disk), "--rm", "--open"], service).code == 1
    assert [what[0] for what in service.asked] == ["define", "start", "stop", "delete"]


def test_a_vm_that_was_there_before_is_not_forgotten(disk: Path) -> None:
    service = FakeService()
    ran = called_with(["run", str(disk), "--name", "web-01", "--rm"], service)
    assert (ran.code, service.asked) == (2, [])


def test_a_machine_is_described_by_options(disk: Path, tmp_path: Path) -> None:
    service = FakeService()
    seed = tmp_path / "user-data"
    seed.touch()
    words = (
        "--headless --machine pc --cpu host,-svm --firmware uefi --tpm --no-tablet --nic e1000"
        " --network bridge --interface br0 --spice-port [::1]:5901 --floppy empty --no-sandbox"
        f" --disk size=20G,bus=nvme --append quiet --kernel {seed} --cloud-init {seed}"
        " --allow-insecure --snapshot"
    )
    assert called_with(["run", str(disk), *words.split()], service).code == 0
    spec = defined(service)
    assert (spec.machine, spec.cpu, spec.tpm, spec.tablet) == ("pc", "host,-svm", True, False)
    assert (spec.nic, spec.network, spec.interface) == (Nic.E1000, Network.BRIDGE, "br0")
    assert (spec.spice, spec.floppy, spec.sandbox) == (SpicePort("::1", 5901), "empty", False)
    assert (spec.kernel, spec.append, spec.allow_insecure) == (str(seed), "quiet", True)
    assert spec.cloud_init == CloudInit(user_data_file=str(seed))
    assert spec.disks[1] == Disk("", bus=DiskBus.NVME, snapshot=True, size=20 << 30)
    assert spec.disks[0].snapshot


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--spice-port x", "is not auto, PORT or ADDRESS:PORT"),
        ("--env X", "'X' is not NAME=VALUE"),
        ("--disk size=20", "'20' is not the size of a disk"),
        ("--disk a.img,sise=1", "Did you mean size?"),
        ("--disk ,bus=scssi,size=1G", "'scssi' is not a bus"),
        ("--kernel /no/such", "There is no file /no/such"),
    ],
)
def test_a_wrong_option_is_explained(words: str, said: str, disk: Path) -> None:
    service = FakeService()
    ran = called_with(["run", str(disk), *words.split()], service)
    assert (ran.code, service.asked) == (2, [])
    assert said in ran.err
