"""The scripts, in the shells that are here."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.cli.completion import SCRIPTS
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService


@pytest.fixture
def path_with_broker(tmp_path: Path) -> str:
    """A PATH whose first `broker` is this one."""
    command = tmp_path / "bin" / "broker"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nfrom broker.cli.main import entry\nentry()\n", encoding="utf-8"
    )
    command.chmod(0o755)
    return f"{command.parent}:{os.environ['PATH']}"


def offered_by_bash(line: str, path: str, directory: Path) -> list[str]:
    """What bash would offer at the end of a line."""
    script = directory / "script"
    script.write_text(SCRIPTS["bash"])
    code = (
        f"source {script}; COMP_LINE=$1; COMP_POINT=${{#1}}; _broker;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", line],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=directory,
        env={**os.environ, "PATH": path},
    )
    assert ran.stderr == ""
    return sorted(ran.stdout.split())


def test_a_shell_that_is_none_is_refused() -> None:
    ran = called("completion basg", FakeService())
    assert ran.code == 2
    assert "Did you mean bash?" in ran.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("broker ex", ["export-vv"]),
        ("broker vm st", ["start", "stop"]),
        ("broker list --s", ["--source", "--state"]),
        ("broker completion ", ["bash", "fish", "zsh"]),
        ("broker run im", ["image.iso"]),
        ("broker nonsense ", []),
    ],
)
def test_bash_offers_what_fits(
    line: str, expected: list[str], path_with_broker: str, tmp_path: Path
) -> None:
    (tmp_path / "image.iso").touch()
    assert offered_by_bash(line, path_with_broker, tmp_path) == expected


@pytest.fixture
def terminal(path_with_broker: str, tmp_path: Path) -> Iterator[int]:
    """An interactive bash on a pseudo-terminal, completion loaded."""
    child, descriptor = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        environment = {**os.environ, "PATH": path_with_broker, "TERM": "dumb", "PS1": "ready> "}
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    os.write(descriptor, b"source <(broker completion bash); echo loa''ded\n")
    read_until(descriptor, b"loaded\r\n")
    yield descriptor
    os.close(descriptor)
    os.kill(child, 9)
    os.waitpid(child, 0)


def read_until(descriptor: int, text: bytes, seconds: float = 90.0) -> bytes:
    """What the terminal shows, until that stands there."""
    seen, until = b"", time.monotonic() + seconds
    while text not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        assert ready, seen
        seen += os.read(descriptor, 4096)
    return seen


def test_the_tab_key_completes_a_command(terminal: int) -> None:
    os.write(terminal, b"broker expo\t")
    read_until(terminal, b"broker export-vv ")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(script)], check=True, timeout=90)
