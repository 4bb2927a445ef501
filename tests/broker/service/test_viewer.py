from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker.errors import StoreError, ViewerMissing
from broker.model import MachineId, MachineKey, SourceName
from broker.service import viewer
from broker.service.port import Exported
from broker.service.viewer import Viewers, ended, find_viewer, has_display

EXPORTED = Exported(
    text="[virt-viewer]\ntype=spice\npassword=s3cret\n",
    key=MachineKey(SourceName("here"), MachineId("0")),
    name="web-01",
    host="127.0.0.1",
    tls_port=5920,
    expires_at=None,
)
DISPLAY = {"DISPLAY": ":0", "PATH": os.environ["PATH"]}


def python(code: str) -> tuple[str, ...]:
    """A viewer made of a line of Python; the file is its first argument."""
    return (sys.executable, "-c", code)


def wait(pid: int, poll_seconds: float = 0.2) -> None:
    """Wait for the end of a process."""

    async def waited() -> None:
        async with asyncio.timeout(60):
            await ended(pid, poll_seconds=poll_seconds)

    asyncio.run(waited())


@pytest.fixture
def awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer that ends has done so when it counts as started, however slow this host is."""
    monkeypatch.setattr(viewer, "STARTING_SECONDS", 60.0)


def never(name: str) -> str | None:
    del name
    return None


def test_the_first_known_viewer_is_taken() -> None:
    assert find_viewer(None, lambda name: f"/usr/bin/{name}") == ("/usr/bin/remote-viewer",)


def test_a_configured_viewer_keeps_its_arguments() -> None:
    found = find_viewer(("ryll", "--full-screen"), lambda name: f"/opt/{name}")
    assert found == ("/opt/ryll", "--full-screen")


def test_a_configured_viewer_that_is_missing_is_named() -> None:
    with pytest.raises(ViewerMissing, match=r"viewer\.command names ryll"):
        find_viewer(("ryll",), never)


def test_no_viewer_at_all_says_what_to_install() -> None:
    with pytest.raises(ViewerMissing, match="apt install virt-viewer"):
        find_viewer(None, never)


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({}, "linux", False),
        ({}, "darwin", True),
    ],
    ids=["x11", "wayland", "empty", "none", "mac"],
)
def test_a_display_is_x11_or_wayland(
    environ: dict[str, str], platform: str, expected: bool
) -> None:
    assert has_display(environ, platform) is expected


def test_no_display_tells_the_way_from_another_machine(tmp_path: Path) -> None:
    viewers = Viewers(python("pass"), tmp_path, environ={})
    with pytest.raises(ViewerMissing) as caught:
        viewers.check("web-01")
    assert caught.value.fix.endswith("broker export-vv web-01 -o - | remote-viewer -")


def test_no_viewer_also_tells_the_way_from_another_machine(tmp_path: Path) -> None:
    with pytest.raises(ViewerMissing, match="broker export-vv NAME -o -"):
        Viewers(None, tmp_path, environ=DISPLAY, which=never).check()


def test_the_viewer_gets_a_private_file(tmp_path: Path) -> None:
    copy = tmp_path / "seen"
    code = f"import sys, time; open({str(copy)!r}, 'w').write(sys.argv[1]); time.sleep(600)"
    opened = Viewers(python(code), tmp_path / "run", environ=DISPLAY).start(EXPORTED, "web-01")
    try:
        file = Path(written(copy))
        assert file.read_text() == EXPORTED.text
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "s3cret" not in " ".join(opened.command)
    finally:
        os.kill(opened.pid, 15)
    wait(opened.pid)


def written(file: Path) -> str:
    """What another process writes there."""
    end = time.monotonic() + 60
    while not (file.exists() and (text := file.read_text())):
        assert time.monotonic() < end
        time.sleep(0.02)
    return text


@pytest.mark.usefixtures("awaited")
def test_the_file_goes_where_the_command_wants_it(tmp_path: Path) -> None:
    copy = tmp_path / "seen"
    code = f"import sys; open({str(copy)!r}, 'w').write(' '.join(sys.argv[1:]))"
    Viewers((*python(code), "--file={file}", "-x"), tmp_path, environ=DISPLAY).start(
        EXPORTED, "web-01"
    )
    assert copy.read_text().startswith(f"--file={tmp_path}")
    assert copy.read_text().endswith(".vv -x")


@pytest.mark.usefixtures("awaited")
def test_a_viewer_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    code = "import sys; print('cannot open display', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ViewerMissing, match='with code 3: "cannot open display"'):
        Viewers(python(code), tmp_path, environ=DISPLAY).start(EXPORTED, "web-01")
    assert list((tmp_path / "viewer").glob("*.vv")) == []


def test_a_runtime_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot be started"):
        Viewers(python("pass"), blocked, environ=DISPLAY).start(EXPORTED, "web-01")


def test_left_over_files_are_removed(tmp_path: Path) -> None:
    old = tmp_path / "viewer" / "old.vv"
    old.parent.mkdir()
    old.write_text("old")
    os.utime(old, (1, 1))
    Viewers(python("pass"), tmp_path, environ=DISPLAY).start(EXPORTED, "web-01")
    assert not old.exists()


def test_a_viewer_that_has_ended_is_let_go_when_the_next_one_starts(tmp_path: Path) -> None:
    viewers = Viewers(python("import time; time.sleep(600)"), tmp_path, environ=DISPLAY)
    first = viewers.start(EXPORTED, "web-01")
    os.kill(first.pid, 15)
    wait(first.pid)
    second = viewers.start(EXPORTED, "web-01")
    os.kill(second.pid, 15)
    with pytest.raises(ChildProcessError):
        os.waitpid(first.pid, os.WNOHANG)
    wait(second.pid)


def test_waiting_for_a_process_that_is_gone_returns() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    wait(gone.pid)


def test_waiting_works_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"])
    wait(process.pid, poll_seconds=0.02)
    process.returncode = 0
