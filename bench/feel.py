"""What a person at a console feels: keys to screen and to serial port, direct and by the proxy.

Both ways are taken in turns, fifty samples at a time, in one run over the same guest (`broker
latency --via proxy,direct` does the same). A key is seen on the screen only when QEMU looks at it,
every 30 ms, so 0 to 30 ms of those times are the wait for that; the serial port has no such wait,
and so it is what the proxy is judged by. The keys come so far apart that what one of them draws
has been read and decoded before the next: else our own client, which is one thread, would be in
the next one's time. No process is bound to a CPU, and the collector leaves this one alone.

Beside it stands what our own client costs: the CPU time of a frame, as it is decoded alone, and in
a session with its sockets and TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.launch import _home
from bench.report import Part
from broker.cli.headless import directly, proxied, proxy_served
from broker.demo import BANNER, machine_spec, write_image
from broker.headless import run
from broker.headless.probes import Keypress, Probe, SerialAnswer
from broker.headless.run import Pace, percentile
from broker.headless.session import Session
from broker.model import HandOverTarget, Machine
from broker.runtime.wiring import open_service
from broker.service.port import Service
from broker.spice.client import ChannelClient
from broker.spice.constants import COMMON_CAPS, ChannelType, Display
from broker.spice.screen import Painted, Screen
from broker.spice.ticket import TicketKey
from broker.spice.wire import LinkReply, SurfaceCreate, message

KEY_A: Final = 0x1E
LIMIT: Final = 180.0
"""Seconds for one metric; what was taken by then is what there is."""
SERIAL: Final = Pace(0.05, limit=LIMIT, patience=1.0, jitter=0.02, block=50)
SCREEN: Final = Pace(0.12, limit=LIMIT, patience=1.0, block=25)
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
GOALS: Final = {"p50": 0.3, "p99": 1.0}
"""What the proxy may add on the serial port's way, in ms."""
FRAMES_PER_SECOND: Final = 10
"""Of a session that somebody types in; a screen that moves all the time has up to 33."""
SIZES: Final = ((180, 160), (1024, 768), (1920, 1080))
CHUNK: Final = 256 * 1024


def measure(_work: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    """The two tables; sixteen samples a round on the serial port, three on the screen."""
    with _home() as home, asyncio.Runner() as runner:
        os.environ["BROKER_PROXY_TLS_PORT"] = "0"  # any that is free; `_home` forgets it
        return runner.run(_measure(home, rounds))


async def _measure(home: Path, rounds: int) -> tuple[list[Part], dict[str, list[float]]]:
    spec = machine_spec(write_image(home / "demo.img"))
    async with open_service() as service, contextlib.AsyncExitStack() as stack:
        machine = await service.define(spec)
        machine = await service.start(machine.key)
        stack.push_async_callback(service.kill, machine.key)
        await _up(service, machine)
        await stack.enter_async_context(proxy_served(service))
        assert isinstance(machine.target, HandOverTarget)
        serial = Path(machine.target.control_path).with_name("serial.sock")
        found = {
            "serial": await _run(service, machine, serial, replace(SERIAL, samples=rounds * 16)),
            "keypress": await _run(service, machine, None, replace(SCREEN, samples=rounds * 3)),
        }
        live = await _live(service, machine, rounds * 2)
    decoded = {size: _decoded(*size) for size in SIZES}
    samples = {
        f"{metric}, {path.name}": path.samples for metric, paths in found.items() for path in paths
    }
    return [_felt(found), _cost(decoded, live)], samples


async def _up(service: Service, machine: Machine) -> None:
    async with asyncio.timeout(LIMIT):
        while BANNER.decode().strip() not in await service.machine_log(machine.key, serial=True):  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)


async def _run(
    service: Service, machine: Machine, serial: Path | None, pace: Pace
) -> list[run.Path]:
    """Both ways in turns; by the serial port, or by the screen when that is None."""

    def path(name: str, opened: Callable[[], AbstractAsyncContextManager[Session]]) -> run.Path:
        @contextlib.asynccontextmanager
        async def probing() -> AsyncIterator[Probe]:
            async with opened() as session:
                await session.settle()
                if serial is not None:
                    async with SerialAnswer(session, KEY_A, serial).watching() as answer:
                        yield answer
                else:
                    async with Keypress(session, KEY_A).watching() as keypress:
                        yield keypress

        return run.Path(name, probing)

    paths = [
        path("proxy", lambda: proxied(service, machine, "bench", take_over=True)),
        path("direct", lambda: directly(service, machine)),
    ]
    await run.measure(paths, pace, lambda *_: None)
    return paths


async def _live(service: Service, machine: Machine, frames: int) -> float:
    """CPU seconds of this process for a key and the frame that answers it, by the proxy."""
    async with proxied(service, machine, "bench", take_over=True) as session:
        await session.settle()
        begin = time.process_time()
        for _ in range(frames):
            drawn = asyncio.Event()
            with session.listening(
                lambda heard, drawn=drawn: drawn.set() if isinstance(heard.event, Painted) else None  # type: ignore[misc]  # bound now
            ):
                await session.press(KEY_A)
                async with asyncio.timeout(LIMIT):
                    await drawn.wait()
            await asyncio.sleep(0.05)  # the frame's other messages
        return (time.process_time() - begin) / frames


def _decoded(width: int, height: int, times: int = 20) -> float:
    """CPU seconds for one frame of that size, uncompressed, from bytes to the picture."""
    key = TicketKey.generate()
    client = ChannelClient(ChannelType.DISPLAY, b"", connection_id=1, screen=Screen())
    client.receive_data(LinkReply(0, key.public_bytes, COMMON_CAPS).encode())
    client.receive_data(bytes(4))
    surface = SurfaceCreate(0, 1920, 1080, 32, 1).encode()
    client.receive_data(message(Display.SURFACE_CREATE, surface))
    frame = message(Display.DRAW_COPY, _frame(width, height))
    begin = time.process_time()
    for _ in range(times):
        for at in range(0, len(frame), CHUNK):
            client.receive_data(frame[at : at + CHUNK])
    spent = time.process_time() - begin
    assert client.failure is None
    return spent / times


def _frame(width: int, height: int) -> bytes:
    box = struct.pack("<4i", 0, 0, height, width)
    base = struct.pack("<I", 0) + box + b"\0"
    at = len(base) + 4 + len(box) + 3 + 13
    copy = base + struct.pack("<I", at) + box + struct.pack("<HB", 8, 0) + bytes(13)
    image = struct.pack("<QBBII", 1, 0, 0, width, height)
    bitmap = struct.pack("<BBIIII", 8, 4, width, height, width * 4, 0)
    return copy + image + bitmap + bytes(width * height * 4)


def _felt(found: dict[str, list[run.Path]]) -> Part:
    lines = [
        "|  | samples | p50 ms | p90 ms | p99 ms | goal |",
        "| --- |" + " ---: |" * 4 + " --- |",
    ]
    for metric, words in (("serial", "key to serial port"), ("keypress", "key to screen")):
        paths = found[metric]
        shares = [{n: percentile(path.samples, s) for n, s in SHARES.items()} for path in paths]
        for path, share in zip(paths, shares, strict=True):
            cells = [_ms(share[name]) for name in SHARES]
            lost = f"{path.unmatched} lost" if path.unmatched else ""
            lines.append(_line(f"{words}, {path.name}", str(len(path.samples)), *cells, lost))
        added = {n: _less(shares[0][n], shares[1][n]) for n in SHARES}
        goal = ""
        if metric == "serial":
            goal = ", ".join(
                f"{n} < {most} ms: {_judged(added[n], most)}" for n, most in GOALS.items()
            )
        cells = [_ms(added[name], sign=True) for name in SHARES]
        lines.append(_line(f"{words}, the proxy adds", "", *cells, goal))
    how = (
        "The demo guest under TCG, our own client, both ways in turns within one run. A percentile "
        "of a difference is the difference of the percentiles. QEMU looks at its screen every 30 "
        "ms, so a key to the screen waits 0 to 30 ms for that, with the proxy or without."
    )
    return Part("What a person feels", how, notes=["\n".join(lines)])


def _cost(decoded: dict[tuple[int, int], float], live: float) -> Part:
    lines = ["|  | CPU ms for each |", "| --- | ---: |"]
    for (width, height), seconds in decoded.items():
        lines.append(f"| a frame of {width}x{height}, decoded | {seconds * 1000:.2f} |")
    lines.append(
        f"| a key and its frame in a session, sockets and TLS included | {live * 1000:.2f} |"
    )
    how = (
        "Frames are uncompressed, as our client asks for them. The block that the demo guest "
        "turns white or black has 180x160 pixels and comes as seven messages."
    )
    note = (
        f"At {FRAMES_PER_SECOND} such keys and frames a second in each session, one core drives "
        f"{1 / (live * FRAMES_PER_SECOND):.0f} sessions (reckoned from the last row)."
    )
    return Part("What our own client costs", how, notes=["\n".join(lines), note])


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _ms(seconds: float | None, *, sign: bool = False) -> str:
    return "-" if seconds is None else f"{seconds * 1000:{'+' if sign else ''}.2f}"


def _judged(seconds: float | None, most: float) -> str:
    return "not measured" if seconds is None else "met" if seconds * 1000 < most else "not met"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
