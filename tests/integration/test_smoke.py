"""`broker smoke`, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from broker import demo
from broker.cli.smoke_seats import needed
from broker.errors import UsageError
from tests.guests import DEAF, needs_qemu
from tests.integration.cli import BROKER, broker, environment
from tests.integration.test_latency import until


@needs_qemu
@pytest.mark.qemu
def test_every_step_holds_and_nothing_is_left_behind(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    said = broker("smoke", "--budget", "120", "--keep", str(kept), "--json", seconds=270)
    assert said.code == 0, said.out + said.err
    assert said.document["ok"] is True
    assert {step["mark"] for step in said.document["steps"]} <= {"ok", "warn"}  # type: ignore[attr-defined]  # a list of objects
    assert json.loads((kept / "report.json").read_text()) == said.document
    assert "K1" in (kept / "serial.log").read_text()
    assert "password=(taken out)" in (kept / "console.vv").read_text()
    assert (kept / "screen.png").read_bytes().startswith(b"\x89PNG")
    session = json.loads((kept / "session.json").read_text())
    assert session["label"] == "smoke"
    guest = re.search(r"demo is process (\d+)", said.out)
    assert guest is not None
    until(lambda: is_gone(session["worker"]) and is_gone(guest[1]))  # on a busy host, later


@needs_qemu
@pytest.mark.qemu
@pytest.mark.viewer
@pytest.mark.parametrize("client", ["ryll", "remote-viewer"])
def test_another_viewer_does_it_too(client: str, tmp_path: Path) -> None:
    try:
        needed(client)
    except UsageError as exc:
        pytest.skip(str(exc))
    kept = tmp_path / "kept"
    words = ("--client", client, "--budget", "120", "--keep", str(kept), "--json")
    said = broker("smoke", *words, seconds=270)
    assert said.code == 0, said.out + said.err
    assert (kept / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert (kept / "viewer.log").exists()


@needs_qemu
@pytest.mark.qemu
def test_an_image_of_ones_own(tmp_path: Path) -> None:
    image, kept = tmp_path / "disk.img", tmp_path / "kept"
    image.write_bytes(demo.image_bytes())
    before = image.read_bytes()
    words = ("--format", "raw", "--banner", demo.BANNER.decode().strip(), "--accel", "tcg")
    more = ("-m", "64M", "--budget", "120", "--keep", str(kept), "--json")
    said = broker("smoke", "--image", str(image), *words, *more, seconds=270)
    assert said.code == 0, said.out + said.err
    assert image.read_bytes() == before


@needs_qemu
@pytest.mark.qemu
def test_a_guest_that_never_says_it_is_up_and_a_viewer_without_time_are_said(
    tmp_path: Path,
) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(DEAF)
    words = ("--format", "raw", "--banner", "UP", "--boot-timeout", "2", "--accel", "tcg")
    said = broker("smoke", "--image", str(image), *words, "--keep", str(tmp_path), "--json")
    assert (said.code, said.document["failed"]) == (1, "banner")
    late = broker("smoke", "--budget", "0.001", "--keep", str(tmp_path), "--json")
    assert (late.code, late.document["failed"]) == (1, "connect")
    assert "--budget" in late.error["fix"]


@needs_qemu
@pytest.mark.qemu
def test_one_that_is_killed_leaves_neither_its_guest_nor_its_home(tmp_path: Path) -> None:
    """It never says that it is up, so there is time."""
    image = tmp_path / "disk.img"
    image.write_bytes(DEAF)
    words = ("smoke", "--image", str(image), "--format", "raw", "--banner", "UP", "--accel", "tcg")
    smoke = subprocess.Popen(
        [*BROKER, *words, "--keep", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(TMPDIR=str(tmp_path)),
    )
    assert smoke.stdout is not None
    try:
        with smoke.stdout as said:
            guest = next(filter(None, (re.search(r"is process (\d+)", line) for line in said)))
            homes = {each for each in homes_of(guest[1]) if each.exists()}
            assert len(homes) == 1
            smoke.kill()
    finally:
        smoke.kill()
        smoke.wait()
    until(lambda: is_gone(guest[1]) and not any(each.exists() for each in homes))


def homes_of(pid: str) -> set[Path]:
    """Directories of `broker smoke` that a command line names."""
    words = Path(f"/proc/{pid}/cmdline").read_text()
    return {Path(each) for each in re.findall(r"/tmp/cb[^/,=\0]+", words)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--image", "disk.img"), "--banner"),
        (("--firmware", "uefi"), "--image"),
        (("--banner", "UP"), "--image"),
        (("--client", "wine"), "remote-viewer"),
        (("--image", "nowhere.img", "--banner", "UP"), "nowhere.img"),
        (("--budget", "0"), "duration"),
    ],
)
def test_what_makes_no_sense(words: tuple[str, ...], says: str) -> None:
    said = broker("smoke", *words)
    assert (said.code, says in said.err) == (2, True), said.err


def is_gone(pid: object) -> bool:
    """Whether a process has ended; where nobody collects the dead, one may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_artefacts_that_cannot_be_kept_are_said() -> None:
    said = broker("smoke", "--keep", "/proc/nowhere", "--json")
    assert (said.code, said.out) == (1, "")
    assert "--keep" in said.error["fix"]


def test_a_guest_that_does_not_start_is_told_in_qemus_words(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*--version*) echo QEMU emulator version 7.2.0 ;;\n"
        '"-spice help") echo spice options: ;;\n'
        "*) echo qemu-system-x86_64: no room in this machine >&2; exit 1 ;;\n"
        "esac\n"
    )
    program.chmod(0o755)
    kept = tmp_path / "kept"
    env = environment(PATH=f"{program.parent}:{os.environ['PATH']}")
    said = broker("smoke", "--keep", str(kept), "--json", env=env)
    assert said.code == 1
    assert said.document["failed"] == "guest"
    assert "no room in this machine" in said.error["what"]
    assert "no room in this machine" in (kept / "qemu.log").read_text()
