"""What files say of a VM: held against what qemu-img says of the same image."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.model import Disk, MachineId, MachineKey, MachineSpec, SourceName
from broker.provisioning import DiskFacts, VmFacts
from broker.vm import facts
from broker.vm.paths import VmPaths

MIB = 1 << 20
UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")


def look(disk: Disk) -> DiskFacts:
    (found,) = facts.disks(MachineSpec("vm", UUID, disks=(disk,)))
    return found


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_the_head_of_an_image_says_what_qemu_img_says(tmp_path: Path, version: str) -> None:
    image = tmp_path / "a.qcow2"
    made = ["create", "-q", "-f", "qcow2", "-o", f"compat={version}", str(image), "7M"]
    for words in (made, *(["snapshot", "-c", tag, str(image)] for tag in ("one", "two"))):
        subprocess.run(["qemu-img", *words], check=True)
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", str(image)], check=True, capture_output=True
    )
    info = json.loads(told.stdout)
    assert look(Disk(str(image))) == DiskFacts(
        str(image), info["virtual-size"], info["actual-size"], len(info["snapshots"])
    )


def test_a_raw_image_is_as_large_as_its_file(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(bytes(MIB))
    found = look(Disk(str(image), format="raw"))
    assert (found.size, found.snapshots) == (MIB, 0)


def test_one_that_is_no_qcow2_says_nothing_of_its_size(tmp_path: Path) -> None:
    image = tmp_path / "a.qcow2"
    image.write_bytes(b"junk" * 100)
    assert look(Disk(str(image))).size is None


def test_one_that_is_to_be_made_has_the_size_it_will_have(tmp_path: Path) -> None:
    path = str(tmp_path / "none.qcow2")
    assert look(Disk(path, size=9 * MIB)) == DiskFacts(path, 9 * MIB)


def test_a_vm_that_is_off_has_no_engine(broker_home: Path) -> None:
    assert facts.engine(VmPaths(broker_home / "run", broker_home / "data")) == ""


def test_sizes_add_up_only_where_all_are_known() -> None:
    disks = (DiskFacts("a", MIB, 10, 2), DiskFacts("b", 2 * MIB, None, 1))

    key = MachineKey(SourceName("here"), UUID)
    both = VmFacts(key, disks=disks)
    assert (both.size, both.used, both.snapshots) == (3 * MIB, 10, 2)
    assert VmFacts(key, disks=(*disks, DiskFacts("c"))).size is None
    assert VmFacts(key).snapshots == 0
