"""The terminal goes away under the interface: a window is closed, a connection is cut."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from tests.integration.cli import BROKER, environment
from tui.driver import Lasting

PATIENCE = 120.0


def test_it_ends_in_good_order(broker_home: Path) -> None:
    far, near = pty.openpty()
    try:
        process = subprocess.Popen(
            # A session whose terminal this is, so that the kernel tells it of the end.
            ["setsid", "--ctty", *BROKER, "tui"],
            stdin=near,
            stdout=near,
            stderr=near,
            env=environment(BROKER_HOME=str(broker_home), TERM="xterm-256color"),
        )
        os.close(near)
        try:
            seen = b""
            while b"No consoles yet" not in seen:
                seen += os.read(far, 65536)
            os.close(far)
            far = -1
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
    finally:
        if far >= 0:
            os.close(far)


def test_what_is_written_to_a_terminal_that_has_gone_goes_nowhere() -> None:
    far, near = pty.openpty()
    with os.fdopen(near, "w") as terminal:
        os.close(far)
        writing = WriterThread(Lasting(terminal))  # type: ignore[arg-type]  # all that it uses
        writing.start()
        for _ in range(2 * MAX_QUEUED_WRITES):
            writing.write("x" * 10_000)
        writing.stop()
        assert not writing.is_alive()
