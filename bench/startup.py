"""How long the two commands that scripts lean on take, as whole processes.

Beside them runs `python -c pass`: what the interpreter costs before anything of ours happens.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Case, clean_env, interleaved, process, summarise
from bench.report import Part, Row
from bench.stock import furnish, name

COUNTS = (1, 100, 1000)
GOAL = "< 150 ms"
BROKER = str(Path(sys.executable).with_name("broker"))


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The tables of start-up, one per number of stored consoles, and where the imports go."""
    parts: list[Part] = []
    samples: dict[str, list[float]] = {}
    for count in COUNTS:
        home = work / f"startup-{count}"
        furnish(home, count)
        env = clean_env(BROKER_HOME=str(home))
        # The first look reads sources.yaml and fills the store; what follows is every later one.
        first = process([BROKER, "list", "--refresh", "--json"], env)
        cases = _cases(home, env)
        found = interleaved(cases, rounds)
        samples |= {f"{label}, {count} consoles": row for label, row in found.items()}
        samples[f"first look, {count} consoles"] = [first]
        parts.append(_part(count, found, first))
    parts.append(_imports(work / f"startup-{COUNTS[0]}"))
    return parts, samples


def _cases(home: Path, env: dict[str, str]) -> list[Case]:
    vv = str(home / "bench.vv")
    export = [BROKER, "export-vv", name(1), "--force", "-o", vv]
    return [
        Case("`python -c pass`", lambda: process([sys.executable, "-c", "pass"], env)),
        Case("`broker --version`", lambda: process([BROKER, "--version"], env)),
        Case("`broker list --json`", lambda: process([BROKER, "list", "--json"], env)),
        Case("`broker export-vv NAME -o FILE`", lambda: process(export, env)),
    ]


def _part(count: int, found: dict[str, list[float]], first: float) -> Part:
    base = summarise(found["`python -c pass`"]).median
    rows = []
    for label, row in found.items():
        ours = label.startswith(("`broker list", "`broker export"))
        against = ("bare Python", base) if label.startswith("`broker") else None
        rows.append(Row(label, summarise(row), GOAL if ours else "", against))
    plural = "" if count == 1 else "s"
    return Part(
        f"Start-up with {count:,} stored console{plural}",
        "Whole process, from fork to exit, output read through a pipe; the four take turns.",
        rows,
        [f"The first look at a new sources.yaml, filling the store, took {first * 1000:.0f} ms."],
    )


_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)")


def _imports(home: Path) -> Part:
    env = clean_env(BROKER_HOME=str(home))
    notes = []
    for words in (("list", "--json"), ("export-vv", name(1), "--force", "-o", str(home / "x.vv"))):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", BROKER, *words],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        total, dearest = _account(done.stderr.splitlines())
        shown = ", ".join(f"{module} {micro / 1000:.1f}" for module, micro in dearest)
        notes.append(
            f"`broker {words[0]}`: {len(total)} modules, {sum(total) / 1000:.0f} ms traced in all; "
            f"the dearest by themselves, in ms: {shown}."
        )
    return Part(
        "Where the imports go",
        "`python -X importtime` on the same commands. Tracing itself costs time, so the sum is "
        "more than the same imports take in the tables above.",
        notes=notes,
    )


def _account(lines: Sequence[str]) -> tuple[list[int], list[tuple[str, int]]]:
    """Microseconds of each module by itself, and the ten dearest."""
    found = [(m[4], int(m[1])) for m in map(_LINE.match, lines) if m]
    return [micro for _, micro in found], sorted(found, key=lambda pair: -pair[1])[:10]
