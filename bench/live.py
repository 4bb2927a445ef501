"""The live view on a 160x48 terminal: frames, processor time, and keys over a slow line.

The guest is real: `guest/moving.asm`, which draws 1280x800 pixels anew 18 times a second, so that
each cell is another one with each frame; no video is harder. A key turns a block in its corner
over, and that is waited for: the way goes from the terminal through the app, the proxy and QEMU to
the guest, and the picture all the way back. QEMU looks at its screen every 30 ms, so 0 to 30 ms of
such a time are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.launch import _home
from bench.measure import clean_env, summarise
from bench.report import Part, Row
from bench.startup import BROKER
from bench.terminal import Terminal, has
from broker.demo import IMAGE_BYTES, machine_spec, write_image
from broker.model import Machine, MachineId, MachineSpec
from broker.runtime.wiring import open_service

SOURCE = Path(__file__).parent / "guest" / "moving.asm"
NAME = "moving"
MBIT = 125_000.0
"""Bytes a second of the slow line."""
LOOK_SECONDS = 5.0
WARM_SECONDS = 2.0
KEYS = 20
FIRST_KEYS = 8
FRAME = b"\x1b[?2026h\x1b7"
"""What each picture of the live view begins with."""
BLOCK_CELL = (12, 4)
"""A cell inside the guest's block: its picture fills 147 columns in the middle of 160."""
TRIES = 4
LEADER = "\x1d"


@dataclass(slots=True)
class Found:
    """Per cent of a core, of the app and of its proxy's worker; pictures and bytes a second."""

    idle: tuple[float, float] = (0.0, 0.0)
    cpu: float = 0.0
    worker: float = 0.0
    frames: float = 0.0
    size: float = 0.0
    samples: dict[str, list[float]] = field(default_factory=dict)


def measure(_work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """One guest that rests and one that does not, in two sessions of the app."""
    with _home() as home, asyncio.Runner() as runner:
        return runner.run(_measure(home, min(KEYS, max(5, rounds))))


async def _measure(home: Path, keys: int) -> tuple[list[Part], dict[str, list[float]]]:
    demo = machine_spec(write_image(home / "demo.img"))
    async with contextlib.AsyncExitStack() as stack:
        for spec in (demo, _moving(demo, home)):
            await stack.enter_async_context(_running(spec))
        found = await asyncio.to_thread(_all, home, keys)
    return _told(found), found.samples


@contextlib.asynccontextmanager
async def _running(spec: MachineSpec) -> AsyncIterator[Machine]:
    async with open_service() as service:
        machine = await service.define(spec)
        try:
            yield await service.start(machine.key)
        finally:
            await service.kill(machine.key)


def _moving(demo: MachineSpec, home: Path) -> MachineSpec:
    if shutil.which("nasm") is None:
        raise RuntimeError("nasm is not installed, and the guest is made with it")
    image = home / "moving.img"
    subprocess.run(["nasm", "-f", "bin", "-o", image, SOURCE], check=True)
    image.write_bytes(image.read_bytes().ljust(IMAGE_BYTES, b"\0"))
    disks = tuple(replace(disk, path=str(image)) for disk in demo.disks)
    uuid = MachineId("b0071e55-0000-4000-8000-00000000be4d")
    return replace(demo, name=NAME, uuid=uuid, disks=disks)


def _all(home: Path, keys: int) -> Found:
    found = Found()
    _quick_line(home, keys, found)
    _slow_line(home, keys, found)
    return found


def _quick_line(home: Path, keys: int, found: Found) -> None:
    with _app(home, None) as seen:
        _live(seen, "demo")
        seen.until(has("CONSOLE BROKER DEMO READY"))
        seen.listen(WARM_SECONDS, quiet=True)
        found.idle = seen.cost(LOOK_SECONDS)
        seen.press(LEADER + ".")
        seen.until(has("NAME"))
        _live(seen, NAME)
        pictures = 0

        def count(_: float, data: bytes) -> None:
            nonlocal pictures
            pictures += data.count(FRAME)

        seen.tap = count
        seen.listen(WARM_SECONDS)
        workers = _children(seen.pid)
        spent, pictures = sum(map(_cpu, workers)), 0
        found.cpu, sent = seen.cost(LOOK_SECONDS)
        found.worker = (sum(map(_cpu, workers)) - spent) / LOOK_SECONDS * 100
        found.frames = pictures / LOOK_SECONDS
        found.size = sent / max(found.frames, 0.01)


def _slow_line(home: Path, keys: int, found: Found) -> None:
    with _app(home, MBIT) as seen:
        _first_keys(
            seen, min(FIRST_KEYS, keys), found.samples.setdefault("the first key of a view", [])
        )
        _live(seen, NAME)
        seen.listen(2 * WARM_SECONDS)
        _press(seen, keys, found.samples.setdefault("a key, to the guest and back", []))
        menu = found.samples.setdefault("`Ctrl-]`, the menu", [])
        for _ in range(keys):
            menu.append(_once(seen, LEADER, lambda: has("eave")(seen.lines)))
            _once(seen, "\x1b", lambda: not has("eave")(seen.lines))
            seen.listen(0.3)


def _first_keys(seen: Terminal, keys: int, samples: list[float]) -> None:
    """Each in a view that has just been opened; a second one turns the block black again."""
    for _ in range(keys):
        _live(seen, NAME)
        samples.append(_once(seen, "a", lambda: seen.colours(*BLOCK_CELL) == ("ffffff",) * 2))
        _once(seen, "a", lambda: seen.colours(*BLOCK_CELL) == ("000000",) * 2)
        seen.press(LEADER + ".")
        seen.until(has("NAME"))


def _press(seen: Terminal, keys: int, samples: list[float]) -> None:
    white = False
    for _ in range(keys):
        white = not white
        wanted = ("ffffff" if white else "000000",) * 2
        samples.append(_once(seen, "a", lambda: seen.colours(*BLOCK_CELL) == wanted))  # noqa: B023 - asked now
        seen.listen(0.3)


def _once(seen: Terminal, key: str, holds: Callable[[], bool]) -> float:
    pressed = seen.press(key)
    return seen.watch(holds) - pressed


@contextlib.contextmanager
def _app(home: Path, rate: float | None) -> Iterator[Terminal]:
    """The app with its proxy; started anew when the machine was too busy for its workers."""
    port = {"BROKER_PROXY_TLS_PORT": "0"}
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    env = clean_env(BROKER_HOME=str(home), **port, **terminal)
    for _ in range(TRIES):
        seen = Terminal([BROKER], env, rate=rate)
        try:
            seen.until(lambda lines: "proxy :" in lines[0] or "no proxy" in lines[0])
            if has("proxy :")(seen.lines):
                yield seen
                return
        finally:
            seen.end()
    raise RuntimeError("the app's proxy did not come up")


def _live(seen: Terminal, name: str) -> None:
    """Open it: the list is filtered so that it is the only one."""
    seen.press("\x1b")
    seen.until(lambda lines: not has(" of 2")(lines))
    seen.press(f"/{name}\r")
    seen.until(has("1 of 2"))
    seen.listen(0.5, quiet=True)
    seen.press("l")
    seen.until(has("keyboard: guest"))


def _children(pid: int) -> list[int]:
    """Those of its children, too: the proxy's workers have a supervisor."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    own = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    return own + [far for child in own for far in _children(child)]


def _cpu(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _told(found: Found) -> list[Part]:
    rows = [
        Row(f"{what}, 1 Mbit/s", summarise(times), "< 150 ms" if "guest" in what else "")
        for what, times in found.samples.items()
    ]
    table = "\n".join(
        [
            "| | shown a second | KiB each | app, % of a core | its proxy's worker |",
            "| --- | ---: | ---: | ---: | ---: |",
            f"| everything changes | {found.frames:.1f} | {found.size / 1024:.0f} | "
            f"{found.cpu:.1f} | {found.worker:.1f} |",
            f"| nothing changes, {found.idle[1]:.0f} B/s | 0 | | {found.idle[0]:.1f} | |",
            "| goal | 15 | | < 20 | |",
        ]
    )
    how = (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " ")
    return [Part("The live view", how, rows, [table])]
