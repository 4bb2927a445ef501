"""Timing: run things in turns, keep every sample, sum them up as minimum, median and p95."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said of one row of samples, in milliseconds."""

    runs: int
    minimum: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to time.

    Attributes:
        run: Does it once and returns how many seconds it took.
    """

    name: str
    run: Callable[[], float]


def summarise(samples: Sequence[float]) -> Summary:
    """Seconds in, milliseconds out; p95 by the nearest rank, so it is a value that was seen."""
    ordered = sorted(sample * 1000 for sample in samples)
    rank = max(0, -(-len(ordered) * 95 // 100) - 1)
    return Summary(len(ordered), ordered[0], statistics.median(ordered), ordered[rank])


def interleaved(cases: Sequence[Case], rounds: int, *, warm_up: int = 2) -> dict[str, list[float]]:
    """Run all cases in turns, `rounds` times each; the first `warm_up` turns are not counted."""
    samples: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn in range(-warm_up, rounds):
        for case in cases:
            seconds = case.run()
            if turn >= 0:
                samples[case.name].append(seconds)
    return samples


def process(argv: Sequence[str], env: Mapping[str, str], *, ok: Sequence[int] = (0,)) -> float:
    """Seconds from before the fork until the process is gone, its output read by us.

    Raises:
        RuntimeError: It ended otherwise than expected; a failing command is not a fast command.
    """
    begin = time.perf_counter()
    done = subprocess.run(
        argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    seconds = time.perf_counter() - begin
    if done.returncode not in ok:
        words = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {words}")
    return seconds


def clean_env(**more: str) -> dict[str, str]:
    """Our environment without what would change a measurement, and with `more`."""
    drop = ("BROKER_", "PYTHON", "COVERAGE", "TEXTUAL")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    return kept | more
