"""How long from asking for a VM to the first byte of its SPICE server, ours beside bare QEMU.

Both start the same guest with the same command line, but for bare QEMU's `-spice port=N` and where
its sockets and files lie. The clock starts before the fork for bare QEMU and before `Service.start`
for ours, and stops when the first byte of the reply to a link message arrives: the reply, and so
the RSA key that QEMU makes for it, is in each of them.

Bare QEMU is dialled every millisecond until its port listens. Ours has no listener; everything that
a start of ours does is in its time (what is wanted stored, the VM looked at, its lock taken, its
logs turned, QEMU started, asked, and what is seen stored), and a channel is asked for in two ways:

* while it starts, by somebody who looks every millisecond for its control monitor, as bare QEMU's
  port is looked for. This is like against like, and what the goal is about; that the start itself
  went well is awaited too, after the clock has stopped.
* after it has started, one after the other: what somebody sees who waits for the one before the
  other, though bare QEMU's dialler does not wait for anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.measure import Case, clean_env, interleaved, process, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from broker.demo import machine_spec, write_image
from broker.model import Accel, Display, HandOverTarget, Machine, MachineId, MachineSpec, Network
from broker.runtime.wiring import open_service
from broker.service.port import Service
from broker.vm.handover import hand_over
from broker.vm.monitor import MonitorGone

GOAL = "within 15 %"
LINK = bytes.fromhex(
    "52454451 02000000 02000000 1a000000"  # REDQ 2.2, 26 bytes follow
    "00000000 01 00 01000000 01000000 12000000"  # a new session, MAIN 0, one word of each
    "0b000000 0f000000"  # choice of authentication, SPICE tickets, mini headers; main 0-3
)
PATIENCE = 10.0
"""Seconds after which a QEMU that does not answer has failed."""
BARE = "bare `qemu-system-x86_64`"
MEANWHILE = "start in a running face, dialled meanwhile"
WARM = "start in a running face, then dialled"
COMMAND = "`broker vm start`"
WARM_UP = 2


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The tables of launches, one per guest: bare QEMU, a running face and the command in turns."""
    with _home() as home, asyncio.Runner() as runner:
        opened = contextlib.AsyncExitStack()
        service = runner.run(opened.enter_async_context(open_service()))
        try:
            return _measure(service, runner, home, work, rounds)
        finally:
            runner.run(opened.aclose())


def _measure(
    service: Service, runner: asyncio.Runner, home: Path, work: Path, rounds: int
) -> tuple[list[Part], dict[str, list[float]]]:
    parts: list[Part] = []
    samples: dict[str, list[float]] = {}
    demo = machine_spec(write_image(home / "demo.img"))
    for words, spec in _guests(demo):
        machine = runner.run(service.define(spec))
        running = runner.run(service.start(machine.key))
        argv = _command_line(running)
        runner.run(service.kill(machine.key))
        starts: list[float] = []
        with _retries() as retries:
            found = interleaved(
                _cases(service, runner, machine, argv, work, starts), rounds, warm_up=WARM_UP
            )
        runner.run(service.delete(machine.key))
        samples |= {f"{label}, {words}": row for label, row in found.items()}
        parts.append(_part(words, found, starts[-rounds:], len(retries)))
    return parts, samples


class _Kept(logging.Handler):
    def __init__(self, found: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._found.append(record)


@contextlib.contextmanager
def _retries() -> Iterator[list[logging.LogRecord]]:
    """What `broker.vm.launch` says while we measure: a start that needed a second try."""
    found: list[logging.LogRecord] = []
    log = logging.getLogger("broker.vm.launch")
    handler = _Kept(found)
    log.addHandler(handler)
    log.propagate = False
    try:
        yield found
    finally:
        log.propagate = True
        log.removeHandler(handler)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A home of our own, its path short because sockets lie in it, as BROKER_HOME."""
    kept = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="cb-") as home:
        os.environ.clear()
        os.environ.update(clean_env(BROKER_HOME=home))
        try:
            yield Path(home)
        finally:
            os.environ.clear()
            os.environ.update(kept)


def _guests(demo: MachineSpec) -> Iterator[tuple[str, MachineSpec]]:
    yield "the demo guest under TCG", demo
    usual = MachineSpec(
        name="usual",
        uuid=MachineId("b0071e55-0000-4000-8000-00000000be4c"),
        memory=2048,
        cpus=2,
        accel=Accel.AUTO,
        disks=tuple(replace(disk, snapshot=True) for disk in demo.disks),
        display=Display.VIRTIO,
        network=Network.USER,
        sound=True,
    )
    yield "a usual machine (2 CPUs, 2 GiB, network, agent, USB, sound; KVM where it works)", usual


def _cases(
    service: Service,
    runner: asyncio.Runner,
    machine: Machine,
    argv: Sequence[str],
    work: Path,
    starts: list[float],
) -> list[Case]:
    return [
        Case(BARE, lambda: _bare(argv, work)),
        Case(MEANWHILE, lambda: runner.run(_meanwhile(service, machine))),
        Case(WARM, lambda: runner.run(_warm(service, machine, starts))),
        Case(COMMAND, lambda: runner.run(_command(service, machine))),
    ]


def _part(words: str, found: dict[str, list[float]], starts: list[float], retries: int) -> Part:
    base = ("bare QEMU", summarise(found[BARE]).median)
    rows = [
        Row(BARE, summarise(found[BARE])),
        Row(MEANWHILE, summarise(found[MEANWHILE]), GOAL, base),
        Row(WARM, summarise(found[WARM]), "", base),
        Row(COMMAND, summarise(found[COMMAND]), "", base),
    ]
    how = (
        "From asking until the first byte of its SPICE server's reply, with the same command line. "
        "Bare QEMU listens on a port and is dialled every millisecond from its start on. Ours has "
        "no listener: its start is asked for, with all that belongs to one, and a channel is "
        "handed over as soon as its control monitor answers (dialled meanwhile), or once the start "
        "is done and stored (then dialled). The command is a whole process of its own, Python's "
        "start included, and is dialled when it has ended."
    )
    rest = [total - start for total, start in zip(found[WARM], starts, strict=True)]
    notes = [
        f"Of the start that is dialled afterwards {summarise(starts).median:.0f} ms (median) pass "
        f"until it is done and stored, and {summarise(rest).median:.0f} ms from there to the byte: "
        "the hand-over, and the RSA key that QEMU makes for each link."
    ]
    if retries:
        notes.append(
            f"{retries} of our {2 * (len(starts) + WARM_UP)} starts in the face took a second try, "
            "since "
            "the best CPU model fails on this host; bare QEMU was given the line that works."
        )
    return Part(f"Launch to first SPICE byte: {words}", how, rows, notes)


async def _meanwhile(service: Service, machine: Machine) -> float:
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(service.start(machine.key))
        await _first_byte(machine)
        seconds = time.perf_counter() - begin
    await service.kill(machine.key)
    return seconds


async def _warm(service: Service, machine: Machine, starts: list[float]) -> float:
    begin = time.perf_counter()
    started = await service.start(machine.key)
    starts.append(time.perf_counter() - begin)
    await _first_byte(started)
    seconds = time.perf_counter() - begin
    await service.kill(machine.key)
    return seconds


async def _command(service: Service, machine: Machine) -> float:
    begin = time.perf_counter()
    await asyncio.to_thread(process, [BROKER, "vm", "start", machine.name], dict(os.environ))
    await _first_byte((await service.find(machine.key.uuid)).machine)
    seconds = time.perf_counter() - begin
    await service.kill(machine.key)
    return seconds


async def _first_byte(machine: Machine) -> None:
    loop = asyncio.get_running_loop()
    with await _channel(machine) as channel:
        await loop.sock_sendall(channel, LINK)
        if await loop.sock_recv(channel, 1) != b"R":
            raise RuntimeError("QEMU did not answer the link message")


async def _channel(machine: Machine) -> socket.socket:
    """A channel of a machine that runs or will; looked for as bare QEMU's port is."""
    assert isinstance(machine.target, HandOverTarget)
    control = machine.target.control_path
    limit = time.perf_counter() + PATIENCE
    while time.perf_counter() < limit:
        if _is_there(control):
            with contextlib.suppress(MonitorGone):
                return await hand_over(control)
        await asyncio.sleep(0.001)
    raise RuntimeError("QEMU's control monitor did not answer in time")


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _command_line(machine: Machine) -> list[str]:
    """What we started QEMU with, read off the process."""
    return Path(f"/proc/{machine.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")


def _bare(argv: Sequence[str], work: Path) -> float:
    """The same QEMU with a port, none of our files and nobody but this function around it."""
    run = Path(tempfile.mkdtemp(dir=work))
    port = _free_port()
    line = list(_elsewhere(argv, run, port))
    begin = time.perf_counter()
    qemu = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with _dialled(port, qemu) as channel:
            channel.sendall(LINK)
            if channel.recv(1) != b"R":
                raise RuntimeError("QEMU did not answer the link message")
            return time.perf_counter() - begin
    finally:
        qemu.kill()
        qemu.wait()


def _elsewhere(argv: Sequence[str], run: Path, port: int) -> Iterator[str]:
    """The command line with its sockets and files in `run`, and SPICE on a port."""
    ours = str(Path(argv[argv.index("-pidfile") + 1]).parent)
    for word, before in zip(argv, ["", *argv], strict=False):
        if before == "-spice":
            yield f"port={port},addr=127.0.0.1,disable-ticketing=on,{word}"
        else:
            yield word.replace(ours, str(run))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _dialled(port: int, qemu: subprocess.Popen[bytes]) -> socket.socket:
    limit = time.perf_counter() + PATIENCE
    while time.perf_counter() < limit:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if qemu.poll() is not None:
            raise RuntimeError(f"bare QEMU ended at once with {qemu.returncode}")
        time.sleep(0.001)
    raise RuntimeError("bare QEMU did not listen in time")
