"""What /proc says of processes, and which CPUs they may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of these processes so far, user and system, all threads.

    From `schedstat`, in nanoseconds, where the kernel has it; else from `stat`, in ticks of 10 ms.
    """
    return sum(_cpu_seconds(Path(f"/proc/{pid}")) for pid in pids)


def _cpu_seconds(process: Path) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        tasks = (process / "task").iterdir()
        spent = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        if spent:
            return spent / 1e9
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True, slots=True)
class Memory:
    """Kilobytes of some processes together."""

    rss: int
    pss: int


def memory(pids: Iterable[int]) -> Memory:
    """From `smaps_rollup`."""
    found = {"Rss:": 0, "Pss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            words = line.split()
            if words[0] in found:
                found[words[0]] += int(words[1])
    return Memory(found["Rss:"], found["Pss:"])


def prefer(pids: Iterable[int], nice: int) -> None:
    """Give these processes that priority, and their sessions too.

    The kernel may share out CPUs between sessions first (autogroup), and then a priority counts
    within its session only.
    """
    for pid in pids:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(f"{nice}\n")


def pin(pids: Iterable[int], cpus: Sequence[int]) -> None:
    """Let these processes, all their threads, run on these CPUs only."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cpus)
