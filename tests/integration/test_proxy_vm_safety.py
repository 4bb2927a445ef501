"""An adversarial viewer against a real QEMU: it dies without the proxy, and lives behind it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.model import HandOverTarget, Target, TcpTarget
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import SessionClosed
from broker.spice.client import ChannelClient, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from broker.spice.ticket import seal
from broker.spice.wire import DisplayInit, LinkMess, LinkReply, message
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import SECONDS, TOKEN, Connection, Rig, proxying
from tests.streams import cut

pytestmark = pytest.mark.qemu

SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")
INIT = message(101, DisplayInit().encode()) + message(103, b"\1")
TRIES = 60


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def linked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mess: LinkMess, ticket: str
) -> bytes:
    """Say what is wanted; the sealed ticket for the answer."""
    writer.write(mess.encode())
    head = await reader.readexactly(16)
    (size,) = struct.unpack_from("<I", head, 12)
    reply = LinkReply.decode(await reader.readexactly(size))
    return struct.pack("<I", 1) + seal(ticket.encode(), reply.public_key)


async def test_without_the_proxy_a_display_that_vanishes_kills_the_machine() -> None:
    """The check below cannot be trusted unless this one fails the machine."""
    port = free_port()
    async with running_qemu(f"addr=127.0.0.1,port={port},password-secret=pw", *SECRET) as qemu:
        main = Connection(ChannelClient(ChannelType.MAIN, PASSWORD.encode()), *await connect(port))
        await main.flush()
        session = (await main.until(MainReady)).init.session_id
        reader, writer = await connect(port)
        mess = LinkMess(session, ChannelType.DISPLAY, 0, 0x0B, 0)
        writer.write(await linked(reader, writer, mess, PASSWORD))
        assert await reader.readexactly(4) == bytes(4)
        cut(writer)
        try:
            async with asyncio.timeout(SECONDS):
                assert await qemu.process.wait() < 0  # a signal
        finally:
            cut(main.writer)
            for each in (main.writer, writer):
                with contextlib.suppress(ConnectionError):
                    await each.wait_closed()


@contextlib.asynccontextmanager
async def behind_the_proxy(
    backend: str, directory: Path
) -> AsyncIterator[tuple[Qemu, Rig, Target, str]]:
    port = free_port()
    spice = f"addr=127.0.0.1,port={port},password-secret=pw" if backend == "tcp" else ""
    async with running_qemu(spice or "agent-mouse=on", *SECRET) as qemu:
        target: Target = TcpTarget("127.0.0.1", port)
        if not spice:
            target = HandOverTarget(f"{qemu.directory}/ctl")
        async with proxying(directory, dialer=TargetDialer(qemu)) as rig:
            yield qemu, rig, target, PASSWORD if spice else ""


@pytest.mark.parametrize("who", ["display", "everything"])
@pytest.mark.parametrize("backend", ["tcp", "hand-over"])
async def test_a_display_may_vanish_at_every_byte(backend: str, who: str, tmp_path: Path) -> None:
    async with behind_the_proxy(backend, tmp_path) as (qemu, rig, target, ticket):
        said = 42 + 132 + len(INIT)
        for cut in sorted({*range(0, said, said // TRIES), *range(said - 12, said + 1)}):
            token = rig.gate.allow(target, ticket, f"{TOKEN}-{cut}")
            main, session = await rig.open_main(token)
            await vanish_after(rig, session, token, cut)
            if who == "everything":
                main.reset()
            else:
                await main.close()
            await rig.gate.heard(SessionClosed, lambda c, t=token: c.session == f"s-{t}")  # type: ignore[misc]
            assert await qemu.is_alive(), f"it died after byte {cut}"
        token = rig.gate.allow(target, ticket, "at-last")
        _, session = await rig.open_main(token)
        display = await rig.open(ChannelType.DISPLAY, connection_id=session, ticket=token)
        await display.until(SurfaceCreated)


async def vanish_after(rig: Rig, session: int, token: str, cut: int) -> None:
    """Say `cut` bytes of a display's beginning, then reset."""
    reader, writer = await rig.raw()
    mess = LinkMess(session, ChannelType.DISPLAY, 0, 0x0B, 0x02).encode()
    writer.write(mess[:cut])
    left = cut - len(mess)
    if left > 0:
        size = 16 + 178 + 8
        reply = LinkReply.decode((await reader.readexactly(size))[16:])
        sealed = struct.pack("<I", 1) + seal(token.encode(), reply.public_key)
        writer.write((sealed + INIT)[:left])
    await writer.drain()
    connection = Connection(ChannelClient(ChannelType.DISPLAY, b""), reader, writer)
    connection.reset()


KILLERS = {
    "flush-mark": (ChannelType.MAIN, message(4)),
    "flush-mark-inputs": (ChannelType.INPUTS, message(4)),
    "vmc-4g": (ChannelType.USBREDIR, struct.pack("<HI", 101, 0xFFFFFFFF) + bytes(70_000)),
    "vmc-2g": (ChannelType.USBREDIR, struct.pack("<HI", 101, 0x80000000) + bytes(70_000)),
    "agent-flood": (ChannelType.MAIN, message(107, bytes(2048)) * 50),
    "acks": (ChannelType.CURSOR, message(2) * 500),
    "fat-key": (ChannelType.INPUTS, message(104, bytes(65))),
    "client-info": (ChannelType.MAIN, message(101, bytes(8))),
}


@pytest.mark.parametrize("killer", KILLERS)
async def test_what_kills_or_stalls_a_server_costs_one_session_at_most(
    killer: str, tmp_path: Path
) -> None:
    kind, harm = KILLERS[killer]
    port = free_port()
    spice = f"addr=127.0.0.1,port={port},password-secret=pw"
    usb = ("-device", "qemu-xhci", "-chardev", "spicevmc,id=u,name=usbredir")
    redirection = ("-device", "usb-redir,chardev=u")
    async with (
        running_qemu(spice, *SECRET, *usb, *redirection) as qemu,
        proxying(tmp_path) as rig,
    ):
        target = TcpTarget("127.0.0.1", port)
        rig.gate.allow(target, PASSWORD)
        main, session = await rig.open_main()
        victim = main
        if kind is not ChannelType.MAIN:
            victim = await rig.open(kind, connection_id=session)
            while not victim.client.linked:
                victim.client.receive_data(await victim.reader.read(65536))
                await victim.flush()
        victim.writer.write(harm)
        with contextlib.suppress(ConnectionError):
            await victim.writer.drain()
        await victim.close()
        await main.close()
        await rig.gate.heard(SessionClosed)
        assert await qemu.is_alive()
        token = rig.gate.allow(target, PASSWORD, "after")
        _, session = await rig.open_main(token)
        display = await rig.open(ChannelType.DISPLAY, connection_id=session, ticket=token)
        await display.until(SurfaceCreated)
