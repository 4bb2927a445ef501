import errno
import os
from pathlib import Path

import pytest

from broker.errors import StoreError
from broker.model import MachineId
from broker.vm.paths import VmPaths, cannot_use, make_private

UUID = MachineId("6f4e2c1a-0000-4000-8000-000000000001")
LIKE_IT = MachineId("6f4e2c1a-0000-4000-8000-000000000002")


def paths(runtime: Path, uuid: MachineId = UUID) -> VmPaths:
    return VmPaths.of(runtime, runtime, "web-01", uuid)


def test_uuids_that_look_alike_have_directories_of_their_own() -> None:
    assert paths(Path("/run")).run != paths(Path("/run"), LIKE_IT).run


def test_the_runtime_directory_is_made_for_us_alone(broker_home: Path) -> None:
    there = paths(broker_home)
    there.prepare()
    there.prepare()
    assert (there.run.stat().st_mode & 0o777, there.run.parent.stat().st_mode & 0o777) == (
        0o700,
        0o700,
    )


def test_the_longest_path_that_fits_is_accepted() -> None:
    rest = len("/vms/0123456789ab/serial.sock")
    paths(Path("/" + "a" * (107 - rest - 1))).check_lengths()


def test_a_path_too_long_for_a_socket_is_said_before_qemu_is_asked() -> None:
    with pytest.raises(StoreError, match="108 bytes, and Unix allows 107") as caught:
        paths(Path("/" + "a" * (108 - len("/vms/0123456789ab/serial.sock") - 1))).check_lengths()
    assert "BROKER_HOME" in caught.value.fix


def test_length_is_counted_in_bytes() -> None:
    with pytest.raises(StoreError):
        paths(Path("/" + "ü" * 60)).prepare()


def test_a_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(StoreError, match="open to other users") as caught:
        make_private(tmp_path)
    assert caught.value.fix == f"Close it: chmod 700 {tmp_path}"


def test_somebody_elses_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StoreError, match="belongs to user"):
        make_private(tmp_path)


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(StoreError, match="is not a directory"):
        make_private(tmp_path / "link")


def test_a_file_in_the_way_is_refused(broker_home: Path) -> None:
    (broker_home / "vms").write_text("")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        paths(broker_home).prepare()
    assert "Move it away" in caught.value.fix


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        pytest.param(errno.ENOSPC, "Free some space", id="full"),
        pytest.param(errno.EROFS, "read-only", id="read-only"),
        pytest.param(errno.EACCES, "ownership", id="denied"),
        pytest.param(errno.EIO, "the disk under it", id="broken"),
    ],
)
def test_each_no_of_the_system_has_its_advice(number: int, fix: str) -> None:
    problem = cannot_use(Path("/x"), OSError(number, os.strerror(number)))
    assert fix in problem.fix
    assert os.strerror(number) in problem.what
