"""What is worth remembering of a run: which process it was, how it runs, why it ended.

Only ever a help: without it a VM is still found, stopped and started again.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from broker import private_file
from broker.errors import StoreError
from broker.vm import process, reaper
from broker.vm.paths import cannot_use
from broker.vm.process import Process


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a VM, from the moment its monitor answered.

    Attributes:
        boot: Of this machine; a run of another boot ended with it.
        engine: How the guest's CPU is run, for people.
        note: What is odd about it (KVM failed, so TCG); empty when nothing is.
        waiter: The shell that waits for its end; 0 when none does.
        waiter_ticks: When that shell started, as `ticks`.
        cause: QEMU's own word for why it ended, if somebody heard it (`guest-shutdown`,
            `guest-panic`, `host-signal`, …).
    """

    pid: int
    ticks: int
    boot: str
    engine: str
    note: str = ""
    waiter: int = 0
    waiter_ticks: int = 0
    cause: str = ""

    @classmethod
    def of(cls, found: Process, engine: str, note: str = "") -> Self:
        """The run of a QEMU that is up."""
        waiter = process.parent(found)
        seen = (waiter.pid, waiter.ticks) if waiter is not None else (0, 0)
        return cls(found.pid, found.ticks, process.boot_id(), engine, note, *seen)

    async def outcome(self, ending: Path, *, timeout: float) -> int | None:
        """How it ended: exit code, negative for a signal; None when nobody knows."""
        waiter = Process(self.waiter, self.waiter_ticks) if self.waiter else None
        if waiter is None:
            await process.wait_gone(Process(self.pid, self.ticks), timeout)
        return await reaper.outcome(ending, self.pid, waiter, timeout=timeout)

    def is_of(self, other: Process) -> bool:
        """Whether this was written about that process."""
        return (self.pid, self.ticks, self.boot) == (other.pid, other.ticks, process.boot_id())


def read(path: Path) -> Run | None:
    """What was written there; None when nothing was, or it cannot be read."""
    try:
        return Run(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write(path: Path, run: Run) -> None:
    """Remember a run, in place of the one before.

    Raises:
        StoreError: The file cannot be written.
    """
    try:
        private_file.write(path, json.dumps(asdict(run)))
    except OSError as exc:
        raise cannot_use(path, exc) from exc


def note_cause(path: Path, found: Process, cause: str) -> None:
    """Remember why QEMU says that it ends; a full disk must not hide anything else."""
    run = read(path)
    if run is not None and run.is_of(found) and run.cause != cause:
        with contextlib.suppress(StoreError):
            write(path, replace(run, cause=cause))
