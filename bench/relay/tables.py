"""Markdown of what was measured: one table of figures, one of goals."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from bench.relay.cases import Samples
from bench.relay.goals import HAPROXY, KERBSIDE, Verdict

NOTHING = "-"
"""Stands where there is no figure."""

GROUPS: dict[str, tuple[str, ...]] = {
    "Throughput, MB/s": ("MB/s, ",),
    "CPU of the proxy, seconds per GB": ("CPU s/GB, ",),
    "Round trip of a key, µs": ("RTT ",),
    "CPU of the proxy, µs per round trip": ("CPU us/trip, ",),
    "Handshakes (TLS, link, backend link) per second": ("links",),
    "CPU of the proxy, ms per handshake": ("CPU ms/link, ",),
    "Memory": ("MB RSS", "MB PSS", "kB per"),
    "One large message (1: it arrives whole, 0: not)": ("passes, ",),
}


def short(value: float) -> str:
    """Three digits that matter."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(samples: Sequence[float]) -> str:
    """The median, and the smallest and largest where there are several that differ."""
    if not samples:
        return NOTHING
    middle, least, most = short(statistics.median(samples)), min(samples), max(samples)
    if len(samples) < 2 or short(least) == short(most):
        return middle
    return f"{middle} ({short(least)}-{short(most)})"


def _ratio(one: Sequence[float], other: Sequence[float]) -> str:
    if not one or not other or not statistics.median(other):
        return NOTHING
    return f"{statistics.median(one) / statistics.median(other):.2f}x"


def figures(samples: Samples, contenders: Sequence[str], ours: str = "ours") -> list[str]:
    """Tables by kind; the ratios are those of `ours`."""
    lines: list[str] = []
    for title, starts in GROUPS.items():
        rows = [figure for figure in samples.found if figure.startswith(starts)]
        if not rows:
            continue
        shown = [name for name in contenders if any(samples.of(row, name) for row in rows)]
        beside = [name for name in (HAPROXY, KERBSIDE) if name in shown]
        head = [title, *shown, *(f"{ours} / {name}" for name in beside)]
        lines += ["", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
        for row in sorted(rows, key=lambda row: " added" in row):
            cells = [row, *(spread(samples.of(row, name)) for name in shown)]
            cells += [_ratio(samples.of(row, ours), samples.of(row, name)) for name in beside]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def goals(verdicts: Iterable[Verdict]) -> list[str]:
    """Every goal with what was reached."""
    lines = ["| goal | limit | reached | |", "| --- | ---: | ---: | --- |"]
    for verdict in verdicts:
        goal = verdict.goal
        sign = "≥" if goal.atleast else "≤"
        of = f" ({goal.factor:g} x {goal.to})" if goal.to else ""
        if verdict.here != verdict.limit:
            of = f"; here {short(verdict.here)}, {KERBSIDE} had {goal.then:g}"
        who = "" if goal.who == "ours" else f" ({goal.who})"
        lines.append(
            f"| {goal.figure}{who} | {sign} {short(verdict.limit)}{of} "
            f"| {short(verdict.value)} | {verdict.word} |"
        )
    return lines
