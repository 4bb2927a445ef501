"""Many tiny guests at once: time and memory of each VM, ours beside bare QEMU from a shell loop.

Bare QEMU has the command line that ours has, with its files elsewhere. The shell starts one after
the other in the background; the clock stops when the monitor of the last one has answered, as ours
does. Stopping is telling every QEMU to quit, without a guest's grace, and waiting until all are
gone: `vm stop --timeout 0` for ours, SIGTERM from the shell for the bare ones.

Memory is what a VM would give back if it ended: its share of pages (PSS), of QEMU alone for bare
ones, and with the shell that waits for its end for ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.launch import _command_line, _home
from bench.measure import clean_env, process, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from broker.demo import machine_spec, write_image
from broker.model import HandOverTarget, Machine, MachineId
from broker.runtime.wiring import open_service
from broker.service.port import Service

COUNT = 50
PATIENCE = 120.0
NAME = "fleet"
BARE, COMMAND, FACE = "bare QEMU, a shell loop", "`broker vm …`", "a running face"


def measure(work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """One table; each round starts and stops the fleet three ways. At most five rounds."""
    with _home() as home, asyncio.Runner() as runner:
        return runner.run(_measure(home, work, min(rounds, 5)))


async def _measure(
    home: Path, work: Path, rounds: int
) -> tuple[list[Part], dict[str, list[float]]]:
    up: dict[str, list[float]] = {name: [] for name in (BARE, COMMAND, FACE)}
    down: dict[str, list[float]] = {name: [] for name in (BARE, COMMAND, FACE)}
    bytes_each: dict[str, list[float]] = {name: [] for name in (BARE, COMMAND)}
    async with open_service() as service:
        fleet = await _defined(service, home)
        lines = await _command_lines(service, fleet)
        for _ in range(rounds):
            with _bare(lines, work) as bare:
                up[BARE].append(bare.seconds)
                bytes_each[BARE] += [_share(pid) for pid in bare.pids]
            down[BARE].append(bare.end_seconds)
            env = clean_env(BROKER_HOME=str(home))
            up[COMMAND].append(await _command("start", env))
            machines = [(await service.find(each.key.uuid)).machine for each in fleet]
            bytes_each[COMMAND] += [_share(m.pid or 0) + _share(_parent(m.pid)) for m in machines]
            down[COMMAND].append(await _command("stop", env, "--timeout", "0"))
            up[FACE].append(await _each(fleet, lambda each: service.start(each.key)))
            down[FACE].append(await _each(fleet, lambda each: service.stop(each.key, timeout=0)))
    return [_part(up, down, bytes_each)], {
        **{f"fleet start, {name}": row for name, row in up.items()},
        **{f"fleet stop, {name}": row for name, row in down.items()},
        **{f"fleet bytes each, {name}": row for name, row in bytes_each.items()},
    }


async def _defined(service: Service, home: Path) -> list[Machine]:
    demo = machine_spec(write_image(home / "demo.img"))
    return [
        await service.define(
            replace(demo, name=f"{NAME}-{n:02d}", uuid=MachineId(str(uuid.uuid4())))
        )
        for n in range(COUNT)
    ]


async def _command_lines(service: Service, fleet: Sequence[Machine]) -> list[tuple[list[str], str]]:
    """What each QEMU is started with, and the directory of ours that stands in it."""
    lines = []
    for each in fleet:
        running = await service.start(each.key)
        words = _command_line(running)
        await service.kill(each.key)
        assert isinstance(each.target, HandOverTarget)
        lines.append((words, str(Path(each.target.control_path).parent)))
    return lines


class Bare:
    """A fleet of a shell's: what is known of it once it is up, and once it is gone."""

    seconds = 0.0
    end_seconds = 0.0
    pids: tuple[int, ...] = ()


@contextlib.contextmanager
def _bare(lines: Sequence[tuple[list[str], str]], work: Path) -> Iterator[Bare]:
    runs = [work / f"{n}" for n in range(len(lines))]
    script = ""
    for run, (words, ours) in zip(runs, lines, strict=True):
        run.mkdir(exist_ok=True)
        line = shlex.join(word.replace(ours, str(run)) for word in words)
        script += f"{line} </dev/null >{run}/log 2>&1 & echo $!\n"
    script += "wait\n"
    fleet = Bare()
    begin = time.perf_counter()
    shell = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert shell.stdout is not None
        fleet.pids = tuple(int(shell.stdout.readline()) for _ in lines)
        for run in runs:
            _await_answer(run / "qmp.sock")
        fleet.seconds = time.perf_counter() - begin
        yield fleet
    finally:
        begin = time.perf_counter()
        subprocess.run(["/bin/kill", "-TERM", *map(str, fleet.pids)], check=False)
        shell.wait(PATIENCE)
        fleet.end_seconds = time.perf_counter() - begin
        if shell.stdout is not None:
            shell.stdout.close()


def _await_answer(monitor: Path) -> None:
    """Until QEMU has answered a first question."""
    limit = time.perf_counter() + PATIENCE
    while time.perf_counter() < limit:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as end:
            end.settimeout(PATIENCE)
            end.connect(str(monitor))
            with end.makefile("rwb") as lines:
                lines.readline()
                lines.write(b'{"execute": "qmp_capabilities"}\n')
                lines.flush()
                if "return" in json.loads(lines.readline()):
                    return
        time.sleep(0.001)
    raise RuntimeError("a bare QEMU did not answer")


async def _command(verb: str, env: dict[str, str], *options: str) -> float:
    return await asyncio.to_thread(process, [BROKER, "vm", verb, *options, f"{NAME}-*"], env)


async def _each(
    fleet: Sequence[Machine], act: Callable[[Machine], Coroutine[object, object, Machine]]
) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*(act(each) for each in fleet))
    return time.perf_counter() - begin


def _share(pid: int) -> float:
    """Bytes of memory that are this process's: its share of what is shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say how much memory process {pid} has")


def _parent(pid: int | None) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def _part(
    up: dict[str, list[float]], down: dict[str, list[float]], bytes_each: dict[str, list[float]]
) -> Part:
    rows = []
    for words, table in (("start", up), ("stop", down)):
        base = (f"{words}, bare", summarise(table[BARE]).median)
        rows.append(Row(f"{words}: {BARE}", summarise(table[BARE])))
        rows += [Row(f"{words}: {n}", summarise(table[n]), "", base) for n in (COMMAND, FACE)]
    bare, ours = (statistics.median(bytes_each[name]) / 2**20 for name in (BARE, COMMAND))
    start = summarise(up[COMMAND]).median / COUNT
    how = (
        f"{COUNT} demo guests (64 MiB, TCG) at once, with the same command lines; until the monitor"
        " of the last has answered, and until the last process is gone. The command is a whole"
        " process of its own, Python's start included, and starts 16 at a time; the face starts"
        " all at once. What is started is also locked, stored and noted in the events."
    )
    note = (
        f"Per VM: {summarise(up[BARE]).median / COUNT:.0f} ms bare, {start:.0f} ms by the command."
        f" Memory per VM (median share of pages): {bare:.1f} MiB bare, {ours:.1f} MiB with ours,"
        " the shell that waits for its exit code included."
    )
    return Part(f"A fleet of {COUNT}", how, rows, [note])
