"""What a run says: Markdown for people, JSON for machines, and the machine it ran on."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measure import Summary


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        against: A median of the same run to compare with, as (its name, milliseconds).
    """

    name: str
    summary: Summary
    goal: str = ""
    against: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement: what was done, its table, and text that belongs to it."""

    title: str
    how: str
    rows: Sequence[Row] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def machine() -> list[tuple[str, str]]:
    """The facts that a reader needs to compare with a machine of their own; no paths, no names."""
    return [
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("CPU", f"{_cpu()}, {_count('processor')} logical"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("QEMU", _first_line("qemu-system-x86_64", "--version")),
        ("load before", load()),
    ]


def _cpu() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _count(key: str) -> int:
    return sum(line.startswith(key) for line in _cpuinfo())


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def load() -> str:
    """How many programs wanted a CPU in the last minute."""
    path = Path("/proc/loadavg")
    return path.read_text().split()[0] if path.exists() else "unknown"


def _first_line(*argv: str) -> str:
    if shutil.which(argv[0]) is None:
        return "not installed"
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]


def markdown(facts: Sequence[tuple[str, str]]) -> str:
    """What is said of the machine."""
    return (
        "\n".join(["| machine | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in facts)]) + "\n"
    )


def told(parts: Sequence[Part], when: str) -> str:
    """Measurements. Level-two headings, so that they can stand in docs/performance.md."""
    lines: list[str] = []
    for part in parts:
        lines += [f"## {part.title}", "", f"{part.how} Measured {when}."]
        if part.rows:
            lines += ["", *_table(part.rows)]
        for note in part.notes:
            lines += ["", note]
        lines.append("")
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    compared = any(row.against for row in rows)
    goals = any(row.goal for row in rows)
    head = ["", "runs", "min ms", "**median ms**", "p95 ms"]
    head += ["compared"] if compared else []
    head += ["goal"] if goals else []
    lines = [
        "| " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * 4 + " --- |" * (len(head) - 5),
    ]
    for row in rows:
        s = row.summary
        cells = [row.name, str(s.runs), f"{s.minimum:.0f}", f"**{s.median:.0f}**", f"{s.p95:.0f}"]
        if compared:
            cells.append(_compared(s.median, row.against))
        if goals:
            cells.append(row.goal)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _compared(median: float, against: tuple[str, float] | None) -> str:
    if against is None:
        return ""
    name, base = against
    percent = (median / base - 1) * 100
    # Of a base that is nearly nothing a percentage says nothing.
    more = f", {percent:+.0f} %" if abs(percent) < 200 else ""
    return f"{median - base:+.0f} ms{more} against {name}"


def save(
    path: Path,
    parts: Sequence[Part],
    samples: dict[str, list[float]],
    facts: Sequence[tuple[str, str]],
) -> None:
    """Everything that was measured, each sample in seconds, as one JSON document."""
    document = {
        "machine": dict(facts),
        "parts": [asdict(part) for part in parts],
        "samples_seconds": samples,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
