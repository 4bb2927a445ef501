"""A VM made of another: real images by the real qemu-img, and nothing left of what fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.errors import BrokerError, ConfigError, Refused, StoreError, UsageError
from broker.model import CloudInit, Disk, DiskBus, MachineId, MachineSpec
from broker.vm.cloning import SCRATCH, clone
from broker.vm.definitions import Definitions
from broker.vm.overlays import see_that_it_may_change, see_that_it_may_go
from broker.vm.paths import VmPaths

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")

UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")
MIB = 1 << 20


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def info(path: str | Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("qemu-img", "info", "--output=json", str(path)))
    return found


def content(path: str, format_: str = "qcow2") -> bytes:
    """What a guest would read at the beginning of that disk."""
    said = run("qemu-io", "-f", format_, "-r", "-c", "read -v 0 16", path)
    return bytes.fromhex(said.splitlines()[0].split(":")[1][:49].replace(" ", "").split("..")[0])


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def bytes_of(path: str) -> bytes:
    return Path(path).read_bytes()


def remove(path: str) -> None:
    Path(path).unlink()


def is_there(path: str) -> bool:
    return Path(path).exists()


@contextlib.contextmanager
def program(*command: str, say: bytes, until: bytes) -> Iterator[None]:
    """It is told something, answers with a line, and is at it until the block ends."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(say)
        process.stdin.flush()
        assert until in process.stdout.readline()
        yield
    finally:
        process.communicate(b"quit\n", timeout=30)


@pytest.fixture
def definitions(broker_home: Path) -> Definitions:
    return Definitions(broker_home / "data")


@pytest.fixture
def paths(broker_home: Path) -> VmPaths:
    return VmPaths.of(broker_home / "run", broker_home / "data", "web-01", UUID)


@pytest.fixture
def spec(definitions: Definitions, paths: VmPaths, broker_home: Path) -> MachineSpec:
    """One with an overlay of its own, a raw disk elsewhere, a shared one, one yet to be made."""
    paths.data.mkdir(parents=True, mode=0o700)
    for directory in (paths.data.parent, paths.data.parent.parent):
        directory.chmod(0o700)
    base, own = broker_home / "base.qcow2", paths.data / "disk0.qcow2"
    raw, shared = broker_home / "data.img", broker_home / "tools.img"
    run("qemu-img", "create", "-q", "-f", "qcow2", str(base), "4M")
    run("qemu-io", "-f", "qcow2", "-c", "write -q -P 0x41 0 64k", str(base))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(own))
    raw.write_bytes(b"B" * MIB)
    shared.write_bytes(b"C" * MIB)
    paths.uefi_vars.write_bytes(b"variables")
    (paths.data / "seed.yaml").write_text("#cloud-config\n")
    made = MachineSpec(
        "web-01",
        UUID,
        memory=2048,
        mac="52:54:00:12:34:56",
        autostart=True,
        disks=(
            Disk(str(own), backing=str(base), backing_format="qcow2"),
            Disk(str(raw), format="raw", bus=DiskBus.SATA),
            Disk(str(shared), format="raw", readonly=True),
            Disk(str(paths.data / "disk3.qcow2"), size=8 * MIB),
        ),
        cloud_init=CloudInit(user_data_file=str(paths.data / "seed.yaml")),
        forwards=((2222, 22),),
    )
    definitions.add(made)
    return made


def left_over(paths: VmPaths) -> list[str]:
    return sorted(path.name for path in paths.data.parent.iterdir() if path.name != "web-01")


async def test_a_full_clone_has_an_identity_and_disks_of_its_own(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    said: list[str] = []
    made = await clone(definitions, spec, paths, "web-02", tell=said.append)
    home = paths.data.with_name("web-02")
    assert definitions.spec(made.uuid) == made
    assert (made.name, made.uuid != UUID, made.mac, made.autostart) == ("web-02", True, None, False)
    assert (made.memory, made.forwards) == (2048, ((2222, 22),))
    assert made.disks == (
        Disk(str(home / "disk0.qcow2")),
        Disk(str(home / "disk1.img"), format="raw", bus=DiskBus.SATA),
        spec.disks[2],
        Disk(str(home / "disk3.qcow2"), size=8 * MIB),
    )
    whole = info(made.disks[0].path)
    assert (whole["virtual-size"], "backing-filename" in whole) == (4 * MIB, False)
    assert content(made.disks[0].path) == b"A" * 16
    assert bytes_of(made.disks[1].path) == b"B" * MIB
    assert not is_there(made.disks[3].path)
    assert (home / "uefi-vars.fd").read_bytes() == b"variables"
    assert made.cloud_init == CloudInit(user_data_file=str(home / "seed.yaml"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert (modes, stat.S_IMODE(home.stat().st_mode)) == ({0o600}, 0o700)
    assert said[0] == "copying disk 1 of 4"
    assert "copying disk 2 of 4: 100 %" in said
    assert left_over(paths) == ["web-02"]


async def test_a_linked_clone_holds_only_what_differs(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    made = await clone(definitions, spec, paths, "web-02", linked=True)
    first, raw = made.disks[:2]
    assert (first.backing, first.backing_format) == (spec.disks[0].path, "qcow2")
    assert (raw.backing, raw.backing_format, raw.format) == (spec.disks[1].path, "raw", "qcow2")
    assert info(first.path)["backing-filename"] == spec.disks[0].path
    assert content(first.path) == b"A" * 16
    run("qemu-io", "-f", "qcow2", "-c", "write -q -P 0x5a 0 64k", first.path)
    assert content(spec.disks[0].path) == b"A" * 16
    assert mode(first.path) == 0o600


async def test_what_is_built_upon_is_not_started_renamed_or_removed(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    see_that_it_may_change(spec, definitions.all())
    made = await clone(definitions, spec, paths, "web-02", linked=True)
    with pytest.raises(Refused, match="web-01 is not started: the disks of web-02 are built") as no:
        see_that_it_may_change(spec, definitions.all())
    assert "broker vm clone web-01 NEW" in no.value.fix
    with pytest.raises(Refused, match="web-01 is not renamed"):
        see_that_it_may_go("web-01", UUID, paths.data, definitions.all(), "renamed")
    see_that_it_may_change(made, definitions.all())
    thrown_away = tuple(replace(disk, snapshot=True) for disk in spec.disks)
    see_that_it_may_change(replace(spec, disks=thrown_away), definitions.all())
    for disk in made.disks[:2]:
        remove(disk.path)
    see_that_it_may_change(spec, definitions.all())
    see_that_it_may_go("web-01", UUID, paths.data, definitions.all(), "renamed")


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("web-01", UsageError, "There is a VM called web-01 already"),
        ("a b", ConfigError, "a name has 1 to 63 letters"),
        ("kept", UsageError, "is there already, with files of another VM"),
    ],
)
async def test_a_name_that_will_not_do_leaves_nothing(
    definitions: Definitions,
    spec: MachineSpec,
    paths: VmPaths,
    name: str,
    kind: type[BrokerError],
    says: str,
) -> None:
    kept = paths.data.with_name("kept")
    kept.mkdir(mode=0o700)
    (kept / "disk0.qcow2").write_bytes(b"precious")
    with pytest.raises(kind, match=says):
        await clone(definitions, spec, paths, name)
    assert left_over(paths) == ["kept"]
    assert (kept / "disk0.qcow2").read_bytes() == b"precious"


async def test_an_image_that_is_no_image_is_told_in_qemu_imgs_words(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    shutil.copyfile("/bin/sh", spec.disks[0].path)
    with pytest.raises(UsageError, match="Image is not in qcow2 format") as caught:
        await clone(definitions, spec, paths, "web-02")
    assert "qemu-img info" in caught.value.fix
    assert left_over(paths) == []


async def test_an_image_in_use_is_not_copied(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    with (
        program("qemu-io", "-f", "qcow2", spec.disks[0].path, say=b"length\n", until=b"4 MiB"),
        pytest.raises(UsageError, match="lock") as caught,
    ):
        await clone(definitions, spec, paths, "web-02")
    assert caught.value.fix == "Something runs on that image: stop it first"
    assert left_over(paths) == []


async def test_a_full_disk_leaves_nothing(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "vars")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match="No space left"):
        await clone(definitions, spec, paths, "web-02")
    assert left_over(paths) == []


async def test_one_that_nobody_waits_for_any_more_ends_and_leaves_nothing(
    definitions: Definitions,
    spec: MachineSpec,
    paths: VmPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = tmp_path / "qemu-img"
    fake.write_text("#!/bin/sh\nprintf '    (1.00/100%%)\\r'\nexec sleep 600\n")
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    begun = asyncio.Event()
    said: list[str] = []

    def heard(text: str) -> None:
        said.append(text)
        if text.endswith("1 %"):
            begun.set()

    task = asyncio.ensure_future(clone(definitions, spec, paths, "web-02", tell=heard))
    async with asyncio.timeout(60):
        await begun.wait()
    (scratch,) = paths.data.parent.glob(f"{SCRATCH}*")
    assert scratch.is_dir()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_over(paths) == []


async def test_what_a_killed_broker_left_is_swept_up_but_not_what_another_makes(
    definitions: Definitions, spec: MachineSpec, paths: VmPaths
) -> None:
    dead, living = (paths.data.with_name(f"{SCRATCH}{end}") for end in ("dead", "living"))
    for place in (dead, living):
        place.mkdir(mode=0o700)
        (place / ".held").touch(mode=0o600)
    holding = ("flock", str(living / ".held"), "sh", "-c", "echo held; read _")
    with program(*holding, say=b"", until=b"held"):
        await clone(definitions, spec, paths, "web-02", linked=True)
    assert left_over(paths) == [living.name, "web-02"]
