import errno
from pathlib import Path

import pytest

from broker.vm import probe


@pytest.fixture(autouse=True)
def _afresh() -> None:
    probe.forget()


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_no_device_is_no_kvm_and_says_where_it_comes_from() -> None:
    found = probe.kvm("/dev/no-kvm-here")
    assert (found.usable, found.detail) == (
        False,
        "/dev/no-kvm-here cannot be opened: No such file or directory",
    )
    assert "kvm_intel" in found.fix


def test_a_device_that_opens_is_not_enough() -> None:
    found = probe.kvm("/dev/null")
    assert (found.usable, "opens, but makes no VM" in found.detail) == (False, True)


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.EACCES, "kvm group"), (errno.EPERM, "--device /dev/kvm"), (errno.EIO, "accel: tcg")],
)
def test_each_reason_has_its_advice(monkeypatch: pytest.MonkeyPatch, number: int, fix: str) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr("os.open", refuse)
    assert fix in probe.kvm().fix


def test_it_is_looked_at_once() -> None:
    assert probe.kvm() is probe.kvm()


def test_a_program_that_is_not_there_is_not_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe.find_qemu("qemu-system-x86_64") is None


def test_an_emulator_is_found_by_name_or_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = program(tmp_path / "my-qemu", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe.find_qemu("my-qemu") == probe.find_qemu(path) == path


def test_the_version_is_read(tmp_path: Path) -> None:
    path = program(tmp_path / "qemu", "echo 'QEMU emulator version 7.2.22 (Debian 1:7.2)'")
    assert probe.emulator(path) == probe.Emulator(path, "7.2.22")


def test_a_version_that_is_not_told_is_empty(tmp_path: Path) -> None:
    assert probe.emulator(program(tmp_path / "qemu", "exit 1")).version == ""


def test_spice_that_is_compiled_in_is_seen(tmp_path: Path) -> None:
    path = program(tmp_path / "qemu", "echo 'spice options:'; exit 1")  # as the real one does
    assert probe.spice(path).usable


def test_spice_that_is_not_says_what_to_install(tmp_path: Path) -> None:
    found = probe.spice(program(tmp_path / "qemu", "echo 'spice support is disabled' >&2; exit 1"))
    assert (found.usable, found.fix) == (False, probe.INSTALL_SPICE)
