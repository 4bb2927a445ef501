"""From a definition to a QEMU that answers, or to its last words. The VM's lock is held.

A QEMU that ends at once because of KVM is tried again, first with a plainer CPU, then with TCG.
What failed on this host before is not tried first again. Every try leaves its command line in the
log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shlex
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from broker.clock import Clock
from broker.errors import StoreError, VmStartFailed, VmUnresponsive
from broker.human import utc
from broker.model import Accel, MachineSpec
from broker.vm import failures, look, probe, process, reaper, record
from broker.vm.argv import HOST_CPU, Engine, build_argv
from broker.vm.look import Seen
from broker.vm.monitor import MonitorGone, greet, query_status
from broker.vm.paths import VmPaths, cannot_use
from broker.vm.process import Process
from broker.vm.ready import Ready, clear_up, free_port, get_ready, plan, start_helpers
from broker.vm.refused import Refused

log = logging.getLogger(__name__)

TCG_CPU: Final = "max"
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


async def launch(
    spec: MachineSpec, paths: VmPaths, *, qemu: str, clock: Clock, start_seconds: float
) -> Seen:
    """Have QEMU up; returns when its monitor answers.

    Args:
        qemu: Name or path of the emulator.
        start_seconds: How long one try may take from exec to an answer.

    Returns:
        As what it was seen then.

    Raises:
        VmStartFailed: QEMU is missing, or ended at once; its own words are in it.
        StoreError: A directory of ours cannot be used.
    """
    program = _find(spec.name, qemu)
    ready = await get_ready(spec, paths)
    _rotate(paths.qemu_log, paths.serial_log)
    note = ""
    refused = Refused(paths, program)
    known, proven = refused.recall(), refused.proven()
    tries = in_order(engines(spec), known)
    failed: list[Engine] = []
    for engine, following in zip(tries, [*tries[1:], None], strict=True):
        try:
            found, status = await _start(
                spec, paths, engine, ready, program=program, clock=clock, seconds=start_seconds
            )
            if engine.accel is Accel.KVM and str(engine) not in proven:
                status = await _holds(spec.name, paths, found, status)
                refused.prove(str(engine))
        except Died as died:
            if died.blames_the_engine and known and str(engine) not in known:
                refused.forget()
            if died.names_the_engine:
                failed.append(engine)
            if following is None or not died.blames_the_engine:
                await clear_up(spec, paths)
                raise failures.explain(spec.name, died.output, died.returncode) from died
            # A plainer CPU is worth no more than a line in the log.
            if following.accel is not engine.accel:
                note = f"{engine} failed, so it runs with {following}"
            log.warning("%s: %s failed, trying %s", spec.name, engine, following)
            continue
        _remember(spec.name, paths, found, str(engine), note)
        # Nothing is held against KVM itself: that it failed is to be said at each start.
        if worse := [str(each) for each in failed if each.accel is engine.accel]:
            refused.remember(worse)
        return look.told(status, found, note)
    raise AssertionError("there is at least one engine to try")


def command_line(spec: MachineSpec, paths: VmPaths, *, qemu: str) -> list[str]:
    """The command line that a start here would try first; nothing is started or made.

    Raises:
        VmStartFailed: QEMU or a firmware that it needs is missing.
    """
    program = _find(spec.name, qemu)
    ready = plan(spec, paths)
    engine = in_order(engines(spec), Refused(paths, program).recall())[0]
    port = free_port(spec) if ready.wants_port else None
    return build_argv(spec, paths, engine=engine, uefi=ready.uefi, spice_port=port, qemu=program)


def _find(name: str, qemu: str) -> str:
    program = probe.find_qemu(qemu)
    if program is None:
        raise VmStartFailed(
            f"{name}: QEMU is not installed (no {qemu} on the PATH)", fix=probe.INSTALL_QEMU
        )
    return program


async def _start(
    spec: MachineSpec,
    paths: VmPaths,
    engine: Engine,
    ready: Ready,
    *,
    program: str,
    clock: Clock,
    seconds: float,
) -> tuple[Process, str]:
    """Run it with one engine; again with another port when one that we chose was taken meanwhile.

    Raises as `_try`.
    """
    for left in reversed(range(PORT_TRIES)):
        port = free_port(spec) if ready.wants_port else None
        argv = build_argv(
            spec, paths, engine=engine, uefi=ready.uefi, spice_port=port, qemu=program
        )
        env = {**_environment(os.environ), **dict(spec.env)}
        await start_helpers(spec, paths, env)
        try:
            return await _try(spec.name, argv, paths, clock, seconds, env)
        except Died as died:
            ours = spec.spice is not None and spec.spice.port == 0
            if not (left and ours and _PORT_TAKEN.search(died.output)):
                raise
            log.info("%s: port %s was taken, trying another", spec.name, port)
    raise AssertionError("the last try returns or raises")


async def _holds(name: str, paths: VmPaths, found: Process, status: str) -> str:
    """Watch the first second of an engine that is new to this host; its state after that.

    KVM may fail only when the guest runs: QEMU aborts, or holds the guest.

    Raises:
        Died: It did; what it said in this run is in it.
    """
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


async def finish(name: str, found: Process, paths: VmPaths, *, start_seconds: float) -> Seen | None:
    """Wait for a QEMU whose broker was killed while it started it.

    Returns:
        As what it was seen when it answered; None when it ended instead.

    Raises:
        VmUnresponsive: It neither answers nor ends.
    """
    try:
        async with asyncio.timeout(start_seconds):
            found, status = await _answers(name, found, paths, begin=0)
    except Died:
        return None
    except TimeoutError as exc:
        raise VmUnresponsive(
            f"{name}: QEMU was started by another broker and does not answer",
            fix=f"End it: broker vm kill {name}",
        ) from exc
    _remember(name, paths, found, engine="")
    return look.told(status, found, note="")


def _remember(name: str, paths: VmPaths, found: Process, engine: str, note: str = "") -> None:
    run = record.Run.of(found, engine, note)
    try:
        record.write(paths.running, run)
    except StoreError as exc:  # it runs, and that is what was asked for
        log.warning("%s: runs, but that could not be written down: %s", name, exc)


def engines(spec: MachineSpec) -> list[Engine]:
    """The ways to run its CPU that are worth a try here, best first; at least one."""
    if "-cpu" in spec.extra_args:
        tcg, kvm = Engine(Accel.TCG), [Engine(Accel.KVM)]
    elif spec.cpu is not None:
        # The host's own CPU is one that only KVM can give.
        is_host = spec.cpu.split(",")[0] == HOST_CPU
        tcg = Engine(Accel.TCG, TCG_CPU if is_host and spec.accel is Accel.AUTO else spec.cpu)
        kvm = [Engine(Accel.KVM, spec.cpu)]
    else:
        tcg = Engine(Accel.TCG, TCG_CPU)
        kvm = [Engine(Accel.KVM, HOST_CPU), Engine(Accel.KVM)]
    match spec.accel:
        case Accel.TCG:
            return [tcg]
        case Accel.KVM:
            return kvm
        case Accel.AUTO:
            return [*kvm, tcg] if probe.kvm().usable else [tcg]


def in_order(tries: list[Engine], refused: Collection[str]) -> list[Engine]:
    """The same, those that are known to fail behind the others of their accelerator."""
    return sorted(tries, key=lambda each: (each.accel is Accel.TCG, str(each) in refused))


async def _try(
    name: str,
    argv: list[str],
    paths: VmPaths,
    clock: Clock,
    start_seconds: float,
    env: Mapping[str, str],
) -> tuple[Process, str]:
    """Run one command line until its monitor answers; see `_answers`.

    Raises:
        Died: It ended first.
        VmStartFailed: It cannot be executed, or neither answers nor ends (it is killed then).
    """
    try:
        begin = _note_command(paths.qemu_log, argv, clock)
        spawned = reaper.spawn(argv, paths.qemu_log, paths.exit, cwd=Path("/"), env=env, name=name)
    except PermissionError as exc:
        raise VmStartFailed(
            f"{name}: {exc.filename or argv[0]} cannot be used: {exc.strerror}",
            fix="Look at its owner and mode",
        ) from exc
    except OSError as exc:
        raise cannot_use(Path(exc.filename or argv[0]), exc) from exc
    log.debug("%s: started as process %d: %s", name, spawned.qemu.pid, shlex.join(argv))
    try:
        async with asyncio.timeout(start_seconds):
            waiter, runs = spawned.waiter, not _is_held(argv)
            return await _answers(name, spawned.qemu, paths, begin, waiter=waiter, runs=runs)
    except TimeoutError as exc:
        process.send(spawned.qemu, signal.SIGKILL)
        await process.wait_gone(spawned.waiter, start_seconds)
        raise VmStartFailed(
            f"{name}: QEMU was started, but its monitor did not answer in {start_seconds:g} s",
            fix=f"This host may be overloaded; look at its log: broker vm log {name}",
        ) from exc


def _is_held(argv: list[str]) -> bool:
    return any(word.replace("--", "-", 1) in _HOLDS for word in argv)


async def _answers(
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
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(look.LOG_TAIL_BYTES).decode("utf-8", "replace")


def _rotate(*logs: Path) -> None:
    """Keep the run before: `NAME` becomes `NAME.1`."""
    for path in logs:
        try:
            path.replace(path.with_name(f"{path.name}.1"))
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise cannot_use(path, exc) from exc
