"""What a shell does when whoever started it was killed, and does not do otherwise."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
import tty
from pathlib import Path

import pytest

from broker import giveback

SECONDS = 60.0
HOLDER = """
import sys, time
from broker import giveback
with giveback.if_killed('echo "$1" >"$2"', "it was", sys.argv[1]):
    print("there", flush=True)
    time.sleep(600)
"""


def test_it_is_done_when_the_process_is_killed(tmp_path: Path) -> None:
    done = tmp_path / "done"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(done)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "there\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(SECONDS)
    end = time.monotonic() + SECONDS
    while not (done.exists() and done.read_text() == "it was\n"):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_is_not_done_when_the_block_is_left(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with giveback.if_killed('echo "$1" >"$2"', "it was", str(done)):
        pass
    assert not done.exists()  # the shell has ended


def test_a_shell_that_does_not_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(giveback, "SECONDS", 0.2)
    seen: list[subprocess.Popen[bytes]] = []
    started = subprocess.Popen

    def stuck(words: list[str], **how: object) -> subprocess.Popen[bytes]:
        words = [*words[:2], "exec sleep 600", *words[3:]]
        seen.append(started(words, **how))  # type: ignore[call-overload]  # as it was called
        return seen[0]

    monkeypatch.setattr(subprocess, "Popen", stuck)
    with giveback.if_killed(":"):
        pass
    assert seen[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize("raw", [False, True])
def test_a_terminal_is_described_as_stty_does(raw: bool) -> None:
    far, near = pty.openpty()
    try:
        if raw:
            tty.setraw(near)
        says = subprocess.run(
            ["stty", "-g"], stdin=near, capture_output=True, check=True, text=True
        )
        assert giveback.as_stty(near) == says.stdout.strip()
    finally:
        os.close(far)
        os.close(near)
