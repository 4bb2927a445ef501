"""Who serves: the file is believed only while its lock is held."""

import fcntl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broker.model import ProxyStatus
from broker.runtime.proxy_file import (
    NOT_SERVING,
    AlreadyServing,
    read_status,
    remove_status,
    serving_lock,
    write_status,
)

SERVING = ProxyStatus(serving=True, host="vm.example", tls_port=5920, pid=12, workers=(13, 14))


def test_what_is_written_is_read_while_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    with serving_lock(path):
        write_status(path, SERVING)
        assert read_status(path) == SERVING
    assert read_status(path) == NOT_SERVING


def test_only_we_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    with serving_lock(path):
        write_status(path, SERVING)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"{}", b'{"host": 1}', b"\xff\xfe", b"null"])
def test_a_file_that_says_nothing_is_nobody_serving(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "proxy.json"
    with serving_lock(path):
        path.write_bytes(junk)
        assert read_status(path) == NOT_SERVING


def test_a_second_one_is_told_who_serves(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    with serving_lock(path):
        write_status(path, SERVING)
        with pytest.raises(AlreadyServing, match="process 12"), serving_lock(path):
            pass


def test_what_a_killed_process_left_behind_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "proxy.json"
    script = (
        "import os, pathlib, sys\n"
        "from broker.model import ProxyStatus\n"
        "from broker.runtime.proxy_file import serving_lock, write_status\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with serving_lock(path):\n"
        "    write_status(path, ProxyStatus(True, 'h', 1, os.getpid(), ()))\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path.cwd(),
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert read_status(path).pid == child.pid
        child.kill()
        child.wait()
    assert path.exists()
    assert read_status(path) == NOT_SERVING
    with serving_lock(path):  # the next one, before it serves
        assert read_status(path) == NOT_SERVING


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_status(tmp_path / "proxy.json")


def test_who_only_looks_whether_somebody_serves_keeps_nobody_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "proxy.json"
    lock = path.with_suffix(".lock")
    lock.touch(0o600)
    with lock.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # the look is over once somebody waits for that
        monkeypatch.setattr(
            "broker.runtime.proxy_file.time.sleep", lambda _: fcntl.flock(looking, fcntl.LOCK_UN)
        )
        with serving_lock(path):
            pass
