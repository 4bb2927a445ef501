"""Trouble around the proxy, with real machines: nobody but whoever has it may notice.

No test here says how fast: only that what must happen does, and what must not does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model import TcpTarget
from broker.proxy.gate import ConnectionRefused, SessionClosed
from broker.proxy.limits import Limits
from broker.spice.client import Linked, MessageReceived, SurfaceCreated
from broker.spice.constants import ChannelType, Display
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import Connection, Rig, proxying

pytestmark = pytest.mark.qemu

SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")
KEY_A = 0x1E
GROWTH_MAX = 12 * 1024 * 1024
"""What a process may grow by while a viewer does not read; the picture sent is far larger."""
FLAT_MAX = 1024 * 1024
"""What it may grow by once all buffers on the way are full."""


@contextlib.asynccontextmanager
async def tcp_machine() -> AsyncIterator[tuple[Qemu, TcpTarget]]:
    port = free_port()
    async with running_qemu(f"addr=127.0.0.1,port={port},password-secret=pw", *SECRET) as qemu:
        yield qemu, TcpTarget("127.0.0.1", port=port)


class Person:
    """Somebody at a machine: MAIN, a display with a picture, and keys."""

    def __init__(self, qemu: Qemu, main: Connection, display: Connection, keys: Connection) -> None:
        self.qemu = qemu
        self.main = main
        self.display = display
        self._keys = keys
        self._pressed = 0

    @classmethod
    async def at(cls, rig: Rig, qemu: Qemu, target: TcpTarget, token: str) -> Person:
        rig.gate.allow(target, PASSWORD, token)
        main, session = await rig.open_main(token)
        display = await rig.open(ChannelType.DISPLAY, connection_id=session, ticket=token)
        await display.until(SurfaceCreated)
        keys = await rig.open(ChannelType.INPUTS, connection_id=session, ticket=token)
        await keys.until(Linked)
        return cls(qemu, main, display, keys)

    async def is_answered(self) -> None:
        """The guest says that a key came; fails in time if it does not."""
        self._pressed += 1
        await self._keys.press(KEY_A)
        await self.qemu.says(b"K%d\r\n" % (self._pressed % 2))


def resident() -> int:
    """Bytes of this process in memory: the proxy runs in it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_machine_that_dies_while_it_draws_takes_nobody_along(tmp_path: Path) -> None:
    async with tcp_machine() as dying, tcp_machine() as living, proxying(tmp_path) as rig:
        first = await Person.at(rig, *dying, "first")
        second = await Person.at(rig, *living, "second")
        # the whole picture is on its way to a viewer that does not read it
        for _ in range(20):
            await dying[0].qmp("send-key", keys=[{"type": "qcode", "data": "a"}])
        dying[0].process.kill()
        await first.display.closed()
        await first.main.closed()
        closed = await rig.gate.heard(SessionClosed, lambda end: end.session == "s-first")
        assert closed.reason.startswith("backend-")
        await second.is_answered()


async def test_a_viewer_that_does_not_read_harms_nobody(tmp_path: Path) -> None:
    async with tcp_machine() as slow, tcp_machine() as other, proxying(tmp_path) as rig:
        sleeper = await Person.at(rig, *slow, "sleeper")
        awake = await Person.at(rig, *other, "awake")
        await sleeper.display.until(MessageReceived, lambda m: m.type == Display.DRAW_COPY)
        sleeper.display.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no other way
        before = resident()
        for _ in range(150):  # each draws 115 kB
            await slow[0].qmp("send-key", keys=[{"type": "qcode", "data": "a"}])
        await awake.is_answered()
        assert resident() - before < GROWTH_MAX
        assert await slow[0].is_alive()
        sleeper.display.reader._transport.resume_reading()  # type: ignore[attr-defined]
        await sleeper.display.until(MessageReceived, lambda m: m.type == Display.DRAW_COPY)
        await sleeper.is_answered()


async def _answer(connection: Connection) -> None:
    """Say what there is to say to whatever comes."""
    with contextlib.suppress(ConnectionError):
        while data := await connection.reader.read(65536):
            connection.client.receive_data(data)
            await connection.flush()


STANDSTILL_SECONDS = 200.0
"""Longer than anything that spice-server waits for a viewer before it does something about it."""


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_viewer_that_does_not_read_for_minutes_harms_nobody(tmp_path: Path) -> None:
    """Its keys go on, its MAIN answers: only the picture is not taken."""
    loop = asyncio.get_running_loop()
    async with tcp_machine() as slow, tcp_machine() as other, proxying(tmp_path) as rig:
        sleeper = await Person.at(rig, *slow, "sleeper")
        awake = await Person.at(rig, *other, "awake")
        await sleeper.display.until(MessageReceived, lambda m: m.type == Display.DRAW_COPY)
        busy = (sleeper.main, awake.main, awake.display)
        answering = [asyncio.ensure_future(_answer(each)) for each in busy]
        sleeper.display.reader._transport.pause_reading()  # type: ignore[attr-defined]  # no other way
        held = []
        end = loop.time() + STANDSTILL_SECONDS
        while loop.time() < end:
            for _ in range(5):
                await slow[0].qmp("send-key", keys=[{"type": "qcode", "data": "a"}])
            await awake.is_answered()
            assert await slow[0].is_alive()
            held.append(resident())
            await asyncio.sleep(1.0)  # the time is what is tried
        settled = held[len(held) // 4]
        assert held[-1] - settled < FLAT_MAX
        assert rig.proxy.session_count >= 1
        for each in answering:
            each.cancel()
        await asyncio.wait(answering)
        sleeper.main.reset()
        sleeper.display.reset()
        await rig.gate.heard(SessionClosed, lambda end: end.session == "s-sleeper")
        await Person.at(rig, *slow, "again")


async def test_two_thousand_who_never_finish_leave_a_session_alone(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    limits = replace(Limits(), tls_seconds=6.0)
    idlers: list[socket.socket] = []
    try:
        async with tcp_machine() as machine, proxying(tmp_path, limits=limits) as rig:
            person = await Person.at(rig, *machine, "person")
            loop = asyncio.get_running_loop()
            for number in range(2000):
                idler = socket.socket()
                idlers.append(idler)
                idler.setblocking(False)
                async with asyncio.timeout(60):
                    await loop.sock_connect(idler, ("127.0.0.1", rig.port))
                if number % 4 == 1:  # some begin, and say no more
                    with contextlib.suppress(OSError):
                        idler.send(b"\x16\x03\x01")
                if number % 200 == 199:
                    await person.is_answered()
            await rig.gate.heard(ConnectionRefused, lambda no: no.reason == "limit", 1500)
            await rig.gate.heard(ConnectionRefused, lambda no: no.reason == "handshake-timeout")
            await person.is_answered()
            for idler in idlers:
                idler.close()
            idlers.clear()
            await person.main.close()
            await rig.gate.heard(SessionClosed)
            await Person.at(rig, *machine, "late")
    finally:
        for idler in idlers:
            idler.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
