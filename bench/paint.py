"""How long until the TUI shows the list: `broker` on a pseudo-terminal until a name stands there.

The clock runs from before the fork until the read from the terminal that completed the name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.measure import Case, clean_env, interleaved, process, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from bench.stock import furnish, name
from bench.terminal import Terminal, has

COUNTS = (100, 1000)
ROWS, COLUMNS = 40, 120
GOAL = "< 600 ms"


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
    seen = Terminal(argv, env, columns=COLUMNS, rows=ROWS)
    try:
        return seen.until(has(text)) - seen.begun
    finally:
        seen.end()
