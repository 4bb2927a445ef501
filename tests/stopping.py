"""Processes that a signal holds, for tests of what becomes of those who wait for them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 60.0


def hold(pid: int) -> None:
    """Stop a process, and return when none of its threads runs any more.

    The signal alone is only a wish: on a busy machine a process goes on, and answers, until its
    threads come to a processor and see it.
    """
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + SECONDS
    while any(_letter(task) not in "TtZ" for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < until, f"process {pid} does not stop"
        time.sleep(0.001)


@contextlib.contextmanager
def on_hold(pid: int) -> Iterator[None]:
    """Stopped, and let go on afterwards."""
    hold(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _letter(task: Path) -> str:
    """The state of one thread; a thread that has ended since is in nobody's way."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
