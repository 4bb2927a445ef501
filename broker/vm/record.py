"""What is worth remembering of a run: which process it was, how it runs, how it ended.

Only ever a help: without it a VM is still found, stopped and started again.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from broker.errors import StoreError
from broker.vm import process
from broker.vm.paths import cannot_use
from broker.vm.process import Process


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a VM, from the moment its monitor answered.

    Attributes:
        boot: Of this machine; a run of another boot ended with it.
        engine: How the guest's CPU is run, for people.
        note: What is odd about it (KVM failed, so TCG); empty when nothing is.
        returncode: Exit code, negative for a signal; None while it runs or when nobody saw it.
    """

    pid: int
    ticks: int
    boot: str
    engine: str
    note: str = ""
    returncode: int | None = None

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
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.write_text(json.dumps(asdict(run)), encoding="utf-8")
        scratch.replace(path)
    except OSError as exc:
        raise cannot_use(path, exc) from exc


def note_end(path: Path) -> Run | None:
    """What is known of a run that has ended, its exit code included if it was our child's."""
    run = read(path)
    if run is None or run.returncode is not None:
        return run
    if (code := process.reap(run.pid)) is not None:
        run = replace(run, returncode=code)
        with contextlib.suppress(StoreError):  # a full disk must not hide the answer
            write(path, run)
    return run
