"""From a definition to a QEMU that answers, or to its last words. The VM's lock is held.

A QEMU that ends at once because of KVM is tried again, first with a plainer CPU, then with TCG.
What failed on this host before is not tried first again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from broker.clock import Clock
from broker.errors import StoreError, VmStartFailed, VmUnresponsive
from broker.model import Accel, MachineSpec
from broker.vm import failures, look, probe, record
from broker.vm.argv import HOST_CPU, Engine, build_argv
from broker.vm.look import Seen
from broker.vm.paths import VmPaths, cannot_use
from broker.vm.process import Process
from broker.vm.ready import clear_up, free_port, get_ready, plan
from broker.vm.refused import Refused
from broker.vm.tries import Died, Tries, answers
from broker.within import within

log = logging.getLogger(__name__)

TCG_CPU: Final = "max"


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
    tries = Tries(spec, paths, ready, program, clock, start_seconds)
    order = in_order(engines(spec), known)
    failed: list[Engine] = []
    for engine, following in zip(order, [*order[1:], None], strict=True):
        try:
            found, status = await tries.run(engine)
            if engine.accel is Accel.KVM and str(engine) not in proven:
                status = await tries.holds(found, status)
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


async def finish(name: str, found: Process, paths: VmPaths, *, start_seconds: float) -> Seen | None:
    """Wait for a QEMU whose broker was killed while it started it.

    Returns:
        As what it was seen when it answered; None when it ended instead.

    Raises:
        VmUnresponsive: It neither answers nor ends.
    """
    try:
        async with within(start_seconds):
            found, status = await answers(name, found, paths, begin=0)
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


def _rotate(*logs: Path) -> None:
    """Keep the run before: `NAME` becomes `NAME.1`."""
    for path in logs:
        try:
            path.replace(path.with_name(f"{path.name}.1"))
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise cannot_use(path, exc) from exc
