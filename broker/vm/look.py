"""What state a VM is in: looked up, never remembered.

The pidfile's lock says whether a QEMU lives, `query-status` what it does. How one ended is known
from its exit code where the shell that waited for it wrote one down (`reaper`), and from what QEMU
said before, where a broker was listening (`watch`). Where both are missing a pidfile that nobody
holds is what a QEMU leaves behind that did not end by itself; that is all that can be said then.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from broker.errors import VmUnresponsive
from broker.model import State
from broker.vm import process, record
from broker.vm.failures import how_it_ended, last_words
from broker.vm.monitor import CommandRefused, MonitorGone, query_status
from broker.vm.paths import VmPaths
from broker.vm.process import Process

LOOK_SECONDS: Final = 3.0
"""A guest under TCG or a busy host makes QEMU slow to answer; that is no trouble yet."""
STARTING_SECONDS: Final = 30.0
"""For how long a silent QEMU, of which nobody noted that it was up, counts as starting."""
ENDING_SECONDS: Final = 3.0
"""How long QEMU may take from closing its monitor to its end, and the shell that waits for it from
there to its note of how; whoever waits is told when they have gone."""
LOG_TAIL_BYTES: Final = 8192
TAKEN: Final = "another program holds its monitor; a second one answers"
BAD_CAUSES: Final = {
    "guest-panic": "the guest's kernel panicked, and QEMU ended",
    "host-error": "QEMU ended because of an error of this host",
    "subsystem-reset": "a device of the guest failed, and QEMU ended",
}
"""Why a QEMU says that it ends, where its exit code is that of a good end."""

STATES: Final[dict[str, tuple[State, str]]] = {
    "running": (State.RUNNING, ""),
    "paused": (State.PAUSED, ""),
    "prelaunch": (State.PAUSED, "not started yet"),
    "suspended": (State.SUSPENDED, ""),
    "shutdown": (State.SHUTDOWN, ""),
    "inmigrate": (State.MIGRATING, ""),
    "finish-migrate": (State.MIGRATING, ""),
    "postmigrate": (State.MIGRATING, ""),
    "colo": (State.MIGRATING, ""),
    "save-vm": (State.BUSY, ""),
    "restore-vm": (State.BUSY, "going back to a snapshot; if that lasts, it failed half-way"),
    "io-error": (State.ERROR, "a disk gave an error; the guest is held until it is resumed"),
    "internal-error": (State.CRASHED, "QEMU met an internal error; the guest is held"),
    "guest-panicked": (State.CRASHED, "the guest's kernel panicked"),
    "watchdog": (State.PAUSED, "its watchdog fired"),
    "debug": (State.PAUSED, "held by a debugger"),
}
"""QEMU's run state → ours, and the reason to show."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A VM as it was found.

    Attributes:
        reason: Why it is in trouble, or what is odd about how it runs; else empty.
        pid: Of its QEMU, when there is one.
        started_at: When that QEMU started.
    """

    state: State
    reason: str = ""
    pid: int | None = None
    started_at: datetime | None = None


def find(paths: VmPaths) -> Process | None:
    """The VM's QEMU; None when there is none.

    It is who holds the pidfile. Where somebody has removed that file it is who listens on the
    VM's monitor; a socket on which nobody does is left over, and costs no more than the look.
    """
    found = process.find(paths.pid)
    if found is None and paths.qmp.exists() and not paths.pid.exists():
        found = process.listener(paths.qmp)
    return found


async def look(name: str, paths: VmPaths, *, timeout: float = LOOK_SECONDS) -> Seen:
    """The state of the VM called `name`.

    A VM that is off costs a few system calls; one that runs, a conversation with its monitor.

    Args:
        timeout: Seconds QEMU has for its answer; as long again where another program has taken
            the monitor that is asked first.
    """
    found = find(paths)
    if found is None:
        return await _ended(paths)
    run = record.read(paths.running)
    known = run if run is not None and run.is_of(found) else None
    was_up = known is not None or found.age > STARTING_SECONDS
    note = known.note if known is not None else ""
    try:
        return told(await query_status(paths.qmp, name=name, timeout=timeout), found, note)
    except VmUnresponsive as exc:
        if was_up and not process.is_stopped(found):
            with contextlib.suppress(VmUnresponsive, MonitorGone, CommandRefused):
                status = await query_status(paths.ctl, name=name, timeout=timeout)
                return told(status, found, note or TAKEN)
        state, reason = _silent(found, exc, was_up=was_up)
    except (MonitorGone, CommandRefused) as exc:
        if find(paths) != found or (was_up and await process.wait_gone(found, ENDING_SECONDS)):
            return await _ended(paths)
        state = State.UNRESPONSIVE if was_up else State.STARTING
        reason = exc.what if was_up else ""
    return Seen(state, reason, found.pid, found.started_at)


def told(status: str, found: Process, note: str) -> Seen:
    """What is seen of a QEMU that says it is `status`.

    Args:
        note: What is odd about how it runs; shown when there is nothing worse.
    """
    state, reason = STATES.get(status, (State.UNKNOWN, f"QEMU says {status}"))
    return Seen(state, reason or note, found.pid, found.started_at)


def _silent(found: Process, problem: VmUnresponsive, *, was_up: bool) -> tuple[State, str]:
    if process.is_stopped(found):
        return State.UNRESPONSIVE, process.hindrance(found)
    if not was_up:
        return State.STARTING, ""
    return State.UNRESPONSIVE, process.hindrance(found) or problem.what


async def _ended(paths: VmPaths) -> Seen:
    """The state of a VM without a QEMU: stopped, or crashed and why."""
    run = record.read(paths.running)
    code = None
    if run is not None:
        if run.boot != process.boot_id():
            return Seen(State.STOPPED)
        # The kernel drops its locks a little before its exit code can be had.
        code = await run.outcome(paths.exit, timeout=ENDING_SECONDS)
        if code == 0 and run.cause in BAD_CAUSES:
            return Seen(State.CRASHED, BAD_CAUSES[run.cause])
    left_behind = paths.pid.exists() and find(paths) is None
    if not left_behind and not code:
        return Seen(State.STOPPED)
    how = "QEMU is gone without a farewell" if code is None else f"QEMU ended: {how_it_ended(code)}"
    words = last_words(tail(paths.qemu_log))
    return Seen(State.CRASHED, f"{how}; its last words: {words}" if words else how)


def tail(log: Path, limit: int = LOG_TAIL_BYTES) -> str:
    """The last `limit` bytes of a log as text, cut at a line; empty when there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            content = file.read(limit)
    except OSError:
        return ""
    text = content.decode("utf-8", "replace")
    return text.partition("\n")[2] if size > limit else text
