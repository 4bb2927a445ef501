"""How long until the TUI shows the list: `broker` on a pseudo-terminal until a name stands there.

The clock runs from before the fork until the read from the terminal that completed the name. What
was written is played into a terminal emulator afterwards, chunk by chunk, so the emulator costs
the measured program nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

from bench.measure import Case, clean_env, interleaved, process, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from bench.stock import furnish, name

COUNTS = (100, 1000)
ROWS, COLUMNS = 40, 120
PATIENCE = 20.0
"""Seconds after which a start that shows nothing has failed."""
GOAL = "< 600 ms"

ANSWERS = {
    b"\x1b[c": b"\x1b[?62;22c",
    b"\x1b[?2026$p": b"\x1b[?2026;2$y",
    b"\x1b[?2048$p": b"\x1b[?2048;0$y",
}
"""What a usual terminal answers to the questions a program asks at its start."""


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The table of first paints, beside the bare interpreter."""
    cases = [Case("`python -c pass`", lambda: process([sys.executable, "-c", "pass"], clean_env()))]
    for count in COUNTS:
        home = work / f"paint-{count}"
        furnish(home, count)
        env = clean_env(BROKER_HOME=str(home), TERM="xterm-256color", COLORTERM="truecolor")
        process([BROKER, "list", "--refresh", "--json"], env)
        cases.append(Case(f"`broker`, {count:,} consoles", _starter([BROKER], env)))
    found = interleaved(cases, rounds)
    rows = [
        Row(label, summarise(row), GOAL if label.startswith("`broker`") else "")
        for label, row in found.items()
    ]
    how = (
        f"`broker` on a {COLUMNS}x{ROWS} pseudo-terminal, from fork until the name of the first "
        "console stands on the screen. The store is filled; each start is a process of its own."
    )
    return [Part("First paint of the TUI", how, rows)], found


def _starter(argv: Sequence[str], env: Mapping[str, str]) -> Callable[[], float]:
    return lambda: first_sight(argv, env, name(1))


def first_sight(argv: Sequence[str], env: Mapping[str, str], text: str) -> float:
    """Seconds from before the fork until `text` stands on the program's screen.

    Raises:
        RuntimeError: It did not show in time; what was on the screen is in the message.
    """
    begin = time.perf_counter()
    pid, master = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execve(argv[0], list(argv), dict(env))
    try:
        chunks = _watch(master, begin, text.encode())
    finally:
        _end(pid, master)
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    for moment, chunk in chunks:
        stream.feed(chunk)
        if any(text in line for line in screen.display):
            return moment - begin
    shown = "\n".join(line.rstrip() for line in screen.display if line.strip())
    raise RuntimeError(f"{text!r} did not show within {PATIENCE:.0f} s; the screen was:\n{shown}")


def _watch(master: int, begin: float, text: bytes) -> list[tuple[float, bytes]]:
    """What was written and when, until a little after `text` went by or patience ends."""
    chunks: list[tuple[float, bytes]] = []
    deadline = begin + PATIENCE
    tail = b""
    while (left := deadline - time.perf_counter()) > 0:
        if not select.select([master], [], [], left)[0]:
            break
        try:
            data = os.read(master, 65536)
        except OSError:  # the program is gone
            break
        if not data:
            break
        chunks.append((time.perf_counter(), data))
        for question, answer in ANSWERS.items():
            if question in data:
                os.write(master, answer)
        if text in tail + data:
            # A screen is written in several chunks, and the name may stand in an early one.
            deadline = min(deadline, time.perf_counter() + 0.2)
        tail = data[-len(text) :]
    return chunks


def _end(pid: int, master: int) -> None:
    """End the process we started; it has nothing to lose in its throw-away home."""
    os.kill(pid, signal.SIGTERM)
    limit = time.perf_counter() + 5
    while time.perf_counter() < limit:
        # Keep reading: a program that is writing its goodbye must not hang on a full terminal.
        if select.select([master], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                os.read(master, 65536)
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(master)
