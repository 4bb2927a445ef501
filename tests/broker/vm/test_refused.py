import os
from pathlib import Path

import pytest

from broker.vm import process, refused
from broker.vm.paths import VmPaths
from broker.vm.refused import Refused

HOST_CPU = "KVM with CPU model host"


@pytest.fixture
def paths(broker_home: Path) -> VmPaths:
    made = VmPaths.of(broker_home, broker_home / "data", "vm", "u")  # type: ignore[arg-type]
    made.prepare()
    return made


@pytest.fixture
def qemu(tmp_path: Path) -> Path:
    path = tmp_path / "qemu"
    path.write_text("one")
    return path


def test_nothing_is_known_at_first(paths: VmPaths, qemu: Path) -> None:
    assert Refused(paths, str(qemu)).recall() == frozenset()


def test_what_is_remembered_is_known_to_others_until_it_is_forgotten(
    paths: VmPaths, qemu: Path
) -> None:
    Refused(paths, str(qemu)).remember([HOST_CPU])
    other = Refused(paths, str(qemu))
    assert other.recall() == {HOST_CPU}
    other.forget()
    other.forget()
    assert other.recall() == frozenset()


def test_it_holds_for_one_boot(paths: VmPaths, qemu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Refused(paths, str(qemu)).remember([HOST_CPU])
    monkeypatch.setattr(process, "boot_id", lambda: "another")
    assert Refused(paths, str(qemu)).recall() == frozenset()


def test_it_holds_for_one_version_of_qemu(paths: VmPaths, qemu: Path) -> None:
    Refused(paths, str(qemu)).remember([HOST_CPU])
    os.utime(qemu, ns=(1, 1))
    assert Refused(paths, str(qemu)).recall() == frozenset()


@pytest.mark.parametrize("name", ["KVM_DEVICE", "CPU_INFO"])
def test_it_holds_for_one_kvm_and_one_cpu(
    paths: VmPaths, qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Refused(paths, str(qemu)).remember([HOST_CPU])
    monkeypatch.setattr(refused, name, str(tmp_path / "none"))
    assert Refused(paths, str(qemu)).recall() == frozenset()


def test_a_cpu_is_the_same_at_another_clock_rate(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    found = []
    for rate, flags in (("1", "fpu"), ("2", "fpu"), ("2", "fpu vme")):
        info.write_text(f"model\t\t: 17\ncpu MHz\t\t: {rate}\nflags\t\t: {flags}\n\nmodel\t: 9\n")
        found.append(refused._cpu(str(info)))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"host": 1}', b"\xff", b"null"])
def test_a_damaged_file_is_nothing_known(paths: VmPaths, qemu: Path, content: bytes) -> None:
    (paths.run.parent / refused.FILE_NAME).write_bytes(content)
    assert Refused(paths, str(qemu)).recall() == frozenset()


def test_what_cannot_be_written_is_not_remembered(paths: VmPaths, qemu: Path) -> None:
    (paths.run.parent / refused.FILE_NAME).mkdir()
    Refused(paths, str(qemu)).remember([HOST_CPU])
    assert Refused(paths, str(qemu)).recall() == frozenset()
