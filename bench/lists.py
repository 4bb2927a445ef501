"""The list of consoles at 1,000 to 100,000 rows over a pseudo-terminal, beside a DataTable.

A keystroke's time runs from the byte written to the terminal until the new number of rows was read
from it. Processor time is the process's own, user and system, by the kernel's count.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from bench.list_app import NOW
from bench.list_app import rows as made_up
from bench.measure import clean_env, process, summarise
from bench.paint import ANSWERS, PATIENCE, _end, first_sight
from bench.report import Part, Row
from bench.startup import BROKER
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.config.sources_file import fingerprint
from broker.model import Health, SourceName, SourceStatus
from broker.store.store import Store

COUNTS = (1_000, 10_000, 100_000)
ROWS, COLUMNS = 48, 160
UPDATES = 200
FILTER = "172"
LOOK_SECONDS = 4.0
_COUNT = re.compile(rb"[\d,]+ of [\d,]+")


class Seen:
    """A program on a pseudo-terminal of its own, and what it wrote."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.execve(argv[0], argv, env)
        self.written = 0

    def press(self, keys: str) -> float:
        """Type; the moment."""
        os.write(self.master, keys.encode())
        return time.perf_counter()

    def chunks(self, seconds: float) -> Iterator[bytes]:
        """What it writes within that time."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            data = os.read(self.master, 65536)
            self.written += len(data)
            for question, answer in ANSWERS.items():
                if question in data:
                    os.write(self.master, answer)
            yield data

    def wait(self, what: re.Pattern[bytes], seconds: float = 120.0) -> float:
        """The moment at which that had been read.

        Raises:
            RuntimeError: It was not written in time.
        """
        tail = b""
        for data in self.chunks(seconds):
            if what.search(tail + data):
                return time.perf_counter()
            tail = data[-40:]
        raise RuntimeError(f"{what.pattern!r} was not written within {seconds:.0f} s")

    def quiet(self, seconds: float = 0.3) -> None:
        """Until nothing has come for that long."""
        deadline = time.perf_counter() + PATIENCE
        while time.perf_counter() < deadline:
            if not select.select([self.master], [], [], seconds)[0]:
                return
            for _ in self.chunks(0.01):
                pass

    def cost(self, seconds: float) -> tuple[float, float]:
        """Per cent of a core, and bytes a second, over that time."""
        self.written, begun, spent = 0, time.perf_counter(), self._cpu()
        for _ in self.chunks(seconds):
            pass
        while (left := begun + seconds - time.perf_counter()) > 0:
            for _ in self.chunks(left):
                pass
        took = time.perf_counter() - begun
        return (self._cpu() - spent) / took * 100, self.written / took

    def _cpu(self) -> float:
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            _end(self.pid, self.master)


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """Keystrokes, updates, rest and memory; and the first sight of a stored list."""
    samples: dict[str, list[float]] = {}
    costs: list[str] = []
    for count in COUNTS:
        for which, label in (("ours", "the list"), ("stock", "DataTable")):
            name = f"{label}, {count:,} rows"
            samples[name], told = _one(which, count, rounds)
            costs.append(f"| {name} | {told} |")
    head = f"| | idle, % of a core | B/s | {UPDATES} updates/s, % of a core | KiB/s | MB |"
    table = "\n".join([head, "| --- |" + " ---: |" * 5, *costs])
    rows = [
        Row(label, summarise(row), "< 50 ms" if label.startswith("the list") else "")
        for label, row in samples.items()
    ]
    how = (
        f"On a {COLUMNS}x{ROWS} terminal, from the byte typed into the filter to the new number of "
        "rows. DataTable has the same rows and columns and is filled anew, as its documentation "
        "has it."
    )
    first, found = _first(work, rounds)
    return [Part("The list: keystroke to filtered", how, rows, [table]), first], samples | found


def _one(which: str, count: int, rounds: int) -> tuple[list[float], str]:
    env = clean_env(TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8")
    argv = [sys.executable, "-m", "bench.list_app", which, str(count), str(UPDATES)]
    seen = Seen(argv, env)
    try:
        seen.wait(re.compile(rb"(k8s-node|web|db)-0000"), 90)
        seen.quiet(1.0)
        idle, idle_bytes = seen.cost(LOOK_SECONDS)
        keystrokes: list[float] = []
        for _ in range(max(1, rounds // len(FILTER))):
            seen.press("/")
            seen.quiet(0.5)
            for letter in FILTER:
                begun = seen.press(letter)
                keystrokes.append(seen.wait(_COUNT) - begun)
                seen.quiet(0.1)
            seen.press("\x15")
            seen.quiet()
            seen.press("\t" if which == "stock" else "\r")
            seen.quiet()
        seen.press("\x1b[20~")
        for _ in seen.chunks(1.0):
            pass
        busy, busy_bytes = seen.cost(LOOK_SECONDS)
        told = f"{idle:.1f} | {idle_bytes:.0f} | {busy:.1f} | {busy_bytes / 1024:.0f} | "
        return keystrokes, told + f"{seen.memory():.0f}"
    finally:
        seen.end()


def _first(work: Path, rounds: int) -> tuple[Part, dict[str, list[float]]]:
    samples: dict[str, list[float]] = {}
    goals = {1_000: "< 400 ms", 100_000: "< 1000 ms"}
    for count in goals:
        home = work / f"list-{count}"
        env = clean_env(BROKER_HOME=str(home), TERM="xterm-256color", COLORTERM="truecolor")
        process([BROKER, "list", "--refresh", "--json"], env)
        fill(home, count)
        argv, text = [BROKER], "db-000001"
        tries = [first_sight(argv, env, text) for _ in range(max(3, rounds // 5))]
        samples[f"`broker`, {count:,} stored consoles"] = tries
    rows = [
        Row(label, summarise(row), goal)
        for (label, row), goal in zip(samples.items(), goals.values(), strict=True)
    ]
    how = "`broker` from fork until the first rows stand on the screen. The store is filled."
    return Part("The list: first sight", how, rows), samples


def fill(home: Path, count: int) -> None:
    """Put so many consoles straight into a home's store, as if sources had just been read."""
    locations = Locations.from_env({"BROKER_HOME": str(home)})
    store = Store.open(locations, clock=SystemClock())
    infos = made_up(count)
    names = sorted({info.machine.key.source for info in infos})
    store.put_configured([(SourceName("here"), "local"), *((name, "static") for name in names)])
    for name in names:
        machines = [info.machine for info in infos if info.machine.key.source == name]
        store.put_machines(name, machines, tickets={}, kept=True)
        store.put_source_status(SourceStatus(name, "static", Health.OK, listed_at=NOW))
    store.put_file_fingerprint(fingerprint(locations.sources_yaml))
    store.close()
