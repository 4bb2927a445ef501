"""A try to have QEMU up with one engine: its command line, its first answer, or its last words.

Every try leaves its command line in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.clock import Clock
from broker.errors import VmStartFailed, VmUnresponsive
from broker.human import utc
from broker.model import MachineSpec
from broker.vm import failures, look, process, reaper
from broker.vm.argv import Engine, build_argv
from broker.vm.monitor import MonitorGone, greet, query_status
from broker.vm.paths import VmPaths, cannot_use
from broker.vm.process import Process
from broker.vm.ready import Ready, free_port, start_helpers
from broker.within import within

log = logging.getLogger(__name__)

FIRST_SECONDS: Final = 1.0
"""For how long an engine that has never held on this host is watched."""
INTERNAL_ERROR: Final = "internal-error"
"""QEMU's word for a guest that KVM cannot run."""
PORT_TRIES: Final = 5
_PORT_TAKEN: Final = re.compile(r"binding socket to .* failed|Address already in use")
RUNNING: Final = "running"
"""QEMU's own word."""
POLL_SECONDS: Final = 0.004
_HOLDS: Final = frozenset({"-S", "-incoming", "-loadvm", "-preconfig"})
"""Options after which the guest's CPUs may not run once QEMU is up."""
_ENGINE_TROUBLE: Final = re.compile(r"kvm|\bMSR\b|KVM", re.IGNORECASE)


class Died(Exception):
    """QEMU ended before its monitor answered."""

    def __init__(self, output: str, returncode: int | None) -> None:
        super().__init__(output)
        self.output = output
        self.returncode = returncode

    @property
    def blames_the_engine(self) -> bool:
        """Whether another accelerator or CPU model may fare better."""
        crashed = self.returncode is not None and self.returncode < 0
        return crashed or self.names_the_engine

    @property
    def names_the_engine(self) -> bool:
        """Whether its last words are of KVM: not this VM's fault, but this host's."""
        return _ENGINE_TROUBLE.search(failures.last_words(self.output)) is not None


@dataclass(frozen=True, slots=True)
class Tries:
    """The tries of one start: what they have alike.

    Attributes:
        ready: What was made for it.
        program: The emulator.
        seconds: How long one try may take from exec to an answer.
    """

    spec: MachineSpec
    paths: VmPaths
    ready: Ready
    program: str
    clock: Clock
    seconds: float

    async def run(self, engine: Engine) -> tuple[Process, str]:
        """Run it with that engine; with another port when one that we chose was taken meanwhile.

        Returns:
            The process, and QEMU's own word for the state it is in.

        Raises:
            Died: It ended before its monitor answered.
            VmStartFailed: It cannot be executed, or neither answers nor ends (it is killed then).
        """
        spec = self.spec
        for left in reversed(range(PORT_TRIES)):
            port = free_port(spec) if self.ready.wants_port else None
            argv = build_argv(
                spec,
                self.paths,
                engine=engine,
                uefi=self.ready.uefi,
                spice_port=port,
                qemu=self.program,
            )
            env = {**_environment(os.environ), **dict(spec.env)}
            await start_helpers(spec, self.paths, env)
            try:
                return await self._run(argv, env)
            except Died as died:
                ours = spec.spice is not None and spec.spice.port == 0
                if not (left and ours and _PORT_TAKEN.search(died.output)):
                    raise
                log.info("%s: port %s was taken, trying another", spec.name, port)
        raise AssertionError("the last try returns or raises")

    async def holds(self, found: Process, status: str) -> str:
        """Watch the first second of an engine that is new to this host; its state after that.

        KVM may fail only when the guest runs: QEMU aborts, or holds the guest.

        Raises:
            Died: It did; what it said in this run is in it.
        """
        name, paths = self.spec.name, self.paths
        waiter = process.parent(found)
        gone = await process.wait_gone(found, FIRST_SECONDS)
        if not gone:
            try:
                status = await query_status(paths.qmp, name=name, timeout=look.LOOK_SECONDS)
            except (MonitorGone, VmUnresponsive):
                return status  # busy, or just gone: for the next look to tell
            if status != INTERNAL_ERROR:
                return status
            process.send(found, signal.SIGKILL)
            await process.wait_gone(found, FIRST_SECONDS)
        wait = look.ENDING_SECONDS
        returncode = await reaper.outcome(paths.exit, found.pid, waiter, timeout=wait)
        if returncode:
            raise Died(_last_run(paths.qemu_log), returncode)
        # A guest that powered off already, or nobody knows.
        return status

    async def _run(self, argv: list[str], env: Mapping[str, str]) -> tuple[Process, str]:
        """Run one command line until its monitor answers; raises as `run`."""
        name, paths = self.spec.name, self.paths
        try:
            begin = _note_command(paths.qemu_log, argv, self.clock)
            spawned = reaper.spawn(
                argv, paths.qemu_log, paths.exit, cwd=Path("/"), env=env, name=name
            )
        except PermissionError as exc:
            raise VmStartFailed(
                f"{name}: {exc.filename or argv[0]} cannot be used: {exc.strerror}",
                fix="Look at its owner and mode",
            ) from exc
        except OSError as exc:
            raise cannot_use(Path(exc.filename or argv[0]), exc) from exc
        log.debug("%s: started as process %d: %s", name, spawned.qemu.pid, shlex.join(argv))
        try:
            async with within(self.seconds):
                waiter, runs = spawned.waiter, not _is_held(argv)
                return await answers(name, spawned.qemu, paths, begin, waiter=waiter, runs=runs)
        except TimeoutError as exc:
            process.send(spawned.qemu, signal.SIGKILL)
            await process.wait_gone(spawned.waiter, self.seconds)
            raise VmStartFailed(
                f"{name}: QEMU was started, but its monitor did not answer in {self.seconds:g} s",
                fix=f"This host may be overloaded; look at its log: broker vm log {name}",
            ) from exc


async def answers(
    name: str,
    spawned: Process,
    paths: VmPaths,
    begin: int,
    *,
    waiter: Process | None = None,
    runs: bool = False,
) -> tuple[Process, str]:
    """Wait for the monitor's first answer: whose it is, and the state it is in.

    Args:
        waiter: The shell that knows how it ends.
        runs: It runs once it answers, so its state need not be asked for.

    It is another process's than the one spawned if a broker that was killed had just started one:
    the pidfile lets only one live.
    """
    while True:
        if not process.alive(spawned):
            winner = process.find(paths.pid)
            if winner is None or winner == spawned:
                code = await reaper.outcome(
                    paths.exit, spawned.pid, waiter, timeout=look.ENDING_SECONDS
                )
                raise Died(_since(paths.qemu_log, begin), code)
            spawned, waiter = winner, None
        if paths.qmp.exists():
            try:
                # The greeting is not enough: an abort of KVM comes between it and an answer.
                if runs:
                    await greet(paths.qmp, name=name, timeout=look.LOOK_SECONDS)
                    return spawned, RUNNING
                return spawned, await query_status(paths.qmp, name=name, timeout=look.LOOK_SECONDS)
            except (MonitorGone, VmUnresponsive):
                pass
        await asyncio.sleep(POLL_SECONDS)


def _is_held(argv: list[str]) -> bool:
    return any(word.replace("--", "-", 1) in _HOLDS for word in argv)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """QEMU needs nothing of the broker's settings, some of which are secret."""
    return {key: value for key, value in ours.items() if not key.startswith("BROKER_")}


def _note_command(path: Path, argv: list[str], clock: Clock) -> int:
    """Write the command line into the log; where QEMU's own output begins after it."""
    with path.open("a", encoding="utf-8") as file:
        path.chmod(0o600)
        file.write(f"console-broker: {utc(clock.now())} {shlex.join(argv)}\n")
        file.flush()
        return file.tell()


def _last_run(path: Path) -> str:
    """What QEMU said after the last command line in its log."""
    return look.tail(path).rpartition("console-broker: ")[2].partition("\n")[2]


def _since(path: Path, begin: int) -> str:
    """What QEMU said from there on, its end where that is long; empty when the log is gone."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - look.LOG_TAIL_BYTES))
            return file.read(look.LOG_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
