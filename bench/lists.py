"""The list of consoles at 1,000 and 100,000 rows, beside Textual's DataTable doing the same.

Both read the same store. `broker` is the whole program, its proxy hosted as always; DataTable is
`bench.list_app`, which reads the store on the quick path and fills the table as its documentation
has it. Only the updates are made in memory for both, at the same rate, since a store would have
to be written to for them by a third process.

A keystroke's time runs from the byte written to the terminal until the screen shows the new number
of rows. Processor time is the process's own, user and system.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.list_app import NOW, cells
from bench.list_app import rows as made_up
from bench.measure import clean_env, process, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from bench.terminal import Shows, Terminal, has
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.config.sources_file import fingerprint
from broker.model import Health, SourceName, SourceStatus
from broker.service.port import ConsoleInfo
from broker.store.store import Store

COUNTS = (1_000, 100_000)
FIRST_GOALS = {1_000: "< 400 ms", 100_000: "< 1000 ms"}
FIRST_NAME = "db-000001"
UPDATES = 200
FILTER = "721"
"""Each of its letters leaves fewer rows than the one before, in both lists."""
LOOK_SECONDS = 3.0
CALM_SECONDS = 2.0
ENOUGH_SECONDS = 20.0
"""A list that takes longer than that for its keystrokes has shown what it is."""
LEAST_TURNS = 2
_COUNT = re.compile(r"(?:^| )([\d,]+)(?: of ([\d,]+))?$")


@dataclass(slots=True)
class List:
    """One list: how it is started, where it says how many rows are left; and what was measured.

    Attributes:
        line: Of the screen, where it ends with the number.
        find: What is pressed to get to its filter.
        first: Seconds, as are `whole` and `keys`; those called `…_cpu` are of processor time.
        idle: Per cent of a core, and bytes a second; so is `busy`.
        memory: MB.
    """

    argv: list[str]
    env: dict[str, str]
    count: int
    line: int
    find: str

    first: list[float] = field(default_factory=list)
    first_cpu: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    whole_cpu: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    keys_cpu: list[float] = field(default_factory=list)
    idle: tuple[float, float] = (0.0, 0.0)
    busy: tuple[float, float] = (0.0, 0.0)
    memory: float = 0.0


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """First sight, keystrokes, updates, rest and memory."""
    found: dict[str, List] = {}
    for count in COUNTS:
        home = work / f"list-{count}"
        env, infos = _env(home), made_up(count)
        _configure(home, infos)
        process([BROKER, "list", "--refresh", "--json"], env)
        fill(home, infos)
        ours = found[f"`broker`, {count:,} rows"] = List([BROKER], env, count, 1, "/")
        stock = found[f"DataTable, {count:,} rows"] = List(_app("stock", count), env, count, -1, "")
        starts = max(3, rounds // 5)
        for _ in range(3 * starts if count == COUNTS[0] else starts):
            _start(ours)
            if count == COUNTS[0] or len(stock.first) < LEAST_TURNS:
                _start(stock)
        parts = [FILTER[:end] for end in range(1, len(FILTER) + 1)]
        _use(ours, [_left(infos, part, _searched) for part in parts], rounds)
        _use(stock, [_left(infos, part, cells) for part in parts], rounds)
        ours.busy = _updates(_app("ours", count), env)
        stock.busy = _updates(_app("stock", count), env)
    return _told(found)


def _app(which: str, count: int) -> list[str]:
    return [sys.executable, "-m", "bench.list_app", which, str(count), str(UPDATES)]


def _env(home: Path) -> dict[str, str]:
    port = {"BROKER_PROXY_TLS_PORT": "0"}  # any that is free
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    return clean_env(BROKER_HOME=str(home), **port, **terminal)


def _start(one: List) -> None:
    """Once from fork to the first rows, and on to the number of all."""
    seen = Terminal(one.argv, one.env)
    try:
        one.first.append(seen.until(has(FIRST_NAME)) - seen.begun)
        one.first_cpu.append(seen.cpu())
        one.whole.append(seen.until(_says(one.line, one.count, one.count)) - seen.begun)
        one.whole_cpu.append(seen.cpu())
    finally:
        seen.end()


def _use(one: List, left: list[int], rounds: int) -> None:
    """Look at one at rest, and type into its filter."""
    seen = Terminal(one.argv, one.env)
    try:
        seen.until(_says(one.line, one.count, one.count))
        seen.listen(CALM_SECONDS, quiet=True)
        one.idle = seen.cost(LOOK_SECONDS)
        seen.press(one.find)
        seen.listen(0.2, quiet=True)
        begun = time.perf_counter()
        for turn in range(max(LEAST_TURNS, rounds // len(FILTER))):
            if turn >= LEAST_TURNS and time.perf_counter() - begun > ENOUGH_SECONDS:
                break
            for letter, fewer in zip(FILTER, left, strict=True):
                seen.catch_up()  # what still goes on there meanwhile is not this letter's
                spent = seen.cpu()
                typed = seen.press(letter)
                one.keys.append(seen.until(_says(one.line, fewer, one.count)) - typed)
                one.keys_cpu.append(seen.cpu() - spent)
                seen.listen(0.1, quiet=True)
            seen.press("\x15")
            seen.until(_says(one.line, one.count, one.count))
            seen.listen(0.1, quiet=True)
        one.memory = seen.memory()
    finally:
        seen.end()


def _updates(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    seen = Terminal(argv, env)
    try:
        seen.until(has(FIRST_NAME))
        seen.listen(CALM_SECONDS, quiet=True)
        seen.press("\x1b[20~")
        seen.listen(CALM_SECONDS)
        return seen.cost(LOOK_SECONDS)
    finally:
        seen.end()


def _says(line: int, left: int, total: int) -> Shows:
    """Whether a list says, at the end of that line, that so many of all rows are left."""

    def says(lines: list[str]) -> bool:
        said = _COUNT.search(lines[line].rstrip())
        return said is not None and (said[1], said[2] or said[1]) == (f"{left:,}", f"{total:,}")

    return says


def _searched(info: ConsoleInfo) -> tuple[str, ...]:
    machine = info.machine
    return (*cells(info), machine.hypervisor_ip, machine.key.uuid)


def _left(infos: list[ConsoleInfo], text: str, of: Callable[[ConsoleInfo], object]) -> int:
    """How many rows have that in one of their fields."""
    return sum(any(text in cell for cell in of(info)) for info in infos)  # type: ignore[attr-defined]  # tuples


def _told(found: dict[str, List]) -> tuple[list[Part], dict[str, list[float]]]:
    samples: dict[str, list[float]] = {}
    first, keys, costs = [], [], []
    for name, one in found.items():
        ours, goal = name.startswith("`broker`"), FIRST_GOALS.get(one.count, "")
        first_cpu, whole_cpu = summarise(one.first_cpu).median, summarise(one.whole_cpu).median
        first.append(Row(f"{name}: first rows", summarise(one.first), goal if ours else ""))
        first.append(Row(f"{name}: all of them", summarise(one.whole)))
        keys.append(Row(name, summarise(one.keys), "< 50 ms" if ours else ""))
        costs.append(
            f"| {name} | {one.idle[0]:.1f} | {one.idle[1]:.0f} | {one.busy[0]:.1f} | "
            f"{one.busy[1] / 1024:.0f} | {one.memory:.0f} | "
            f"{first_cpu:.0f} | {whole_cpu:.0f} | {summarise(one.keys_cpu).median:.0f} |"
        )
        samples |= {
            f"{name}: first rows": one.first,
            f"{name}: all rows": one.whole,
            f"{name}: keystroke": one.keys,
        }
    costs.append("| goal for `broker` | < 1 | 0 | < 10 |  | < 200 at 100,000 |  |  |  |")
    table = "\n".join(
        [
            f"| | idle, % of a core | B/s | {UPDATES} updates/s, % of a core | KiB/s | MB | "
            "CPU ms to first rows | to all | of a keystroke |",
            "| --- |" + " ---: |" * 8,
            *costs,
        ]
    )
    how = (
        "On a 160x48 terminal, from fork until the first rows stand on the screen, and until the "
        "number of all rows does. Both read the same filled store."
    )
    typed = (
        "From the byte typed into the filter until the screen shows the new number of rows; three "
        "letters in turn. DataTable is filled anew, as its documentation has it."
    )
    return [
        Part("The list: first sight", how, first),
        Part("The list: keystroke to filtered", typed, keys, [table]),
    ], samples


def _configure(home: Path, infos: list[ConsoleInfo]) -> None:
    """A sources.yaml that names the sources of these consoles."""
    config = home / "config"
    config.mkdir(parents=True)
    file = config / "sources.yaml"
    lines = [f"- {{source: {name}, type: static, consoles: []}}" for name in _sources(infos)]
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)


def fill(home: Path, infos: list[ConsoleInfo]) -> None:
    """Put consoles straight into a home's store, as if sources had been read and then paused.

    A listing that goes on meanwhile would be in some of the samples and not in others; what one
    costs is measured by `bench.refresh`.
    """
    locations = Locations.from_env({"BROKER_HOME": str(home)})
    store = Store.open(locations, clock=SystemClock())
    names = _sources(infos)
    store.put_configured([(SourceName("here"), "local"), *((name, "static") for name in names)])
    for name in names:
        machines = [info.machine for info in infos if info.machine.key.source == name]
        store.put_machines(name, machines, tickets={}, kept=True)
        store.put_source_status(SourceStatus(name, "static", Health.PAUSED, listed_at=NOW))
    store.put_file_fingerprint(fingerprint(locations.sources_yaml))
    store.close()


def _sources(infos: list[ConsoleInfo]) -> list[SourceName]:
    return sorted({info.machine.key.source for info in infos})
