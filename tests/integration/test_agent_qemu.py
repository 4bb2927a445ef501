"""The agent's talk through the proxy and a real spice-server, with an agent played by the test.

No guest system with an agent is needed: spice-server's agent port hangs on COM2, and a boot sector
of 58 bytes copies between COM2 and COM1, on whose other end the test speaks as an agent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.errors import Unreachable, UsageError
from broker.headless.pointer import Button, Pointer
from broker.headless.session import MOUSE_CLIENT, opened
from broker.headless.wire import dialer
from broker.model import LinkPolicy, TcpTarget
from broker.proxy.link_policy import policy_for
from broker.spice.agent import AGENT_HEADER, AgentCap, AgentMessage
from broker.spice.client import ChannelsListed
from broker.spice.clipboard import TEXT_MAX
from broker.spice.constants import ClientMain, Main
from broker.spice.wire import message
from tests.broker.proxy.qemu import BINARY, free_port
from tests.broker.proxy.rig import SECONDS, Connection, Rig, proxying
from tests.guests import needs_qemu
from tests.streams import serving

pytestmark = [needs_qemu, pytest.mark.qemu]

BRIDGE = bytes.fromhex(
    "bafd03 ec a801 7414 baf803 ec 88c4 bafd02 ec a820 74f8 88e0 baf802 ee"  # COM1 to COM2
    "bafd02 ec a801 74dc baf802 ec 88c4 bafd03 ec a820 74f8 88e0 baf803 ee ebc6"  # and back
)
CHUNK = struct.Struct("<II")
"""Port and size: what spice-server and an agent put in front of each piece."""
CLIENT_PORT = 1
SERVER_PORT = 2
"""spice-server's own word: where the pointer is."""
CAPS = sum(1 << cap for cap in (0, 1, 2, 3, 5, 6, 14, 16, 17))


@dataclass
class Agent:
    """The test's end of COM1."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, kind: int, body: bytes = b"") -> None:
        data = AGENT_HEADER.pack(1, kind, 0, len(body)) + body
        for start in range(0, len(data), 2048):
            piece = data[start : start + 2048]
            self.writer.write(CHUNK.pack(CLIENT_PORT, len(piece)) + piece)
        await self.writer.drain()

    async def hears(self, port: int = CLIENT_PORT) -> tuple[int, bytes]:
        """The next message from the viewer, put together; or from spice-server itself."""
        async with asyncio.timeout(SECONDS):
            data = await self._piece(port)
            _, kind, _, size = AGENT_HEADER.unpack_from(data)
            while len(data) < AGENT_HEADER.size + size:
                data += await self._piece(port)
            return kind, data[AGENT_HEADER.size :]

    async def _piece(self, wanted: int) -> bytes:
        while True:
            port, size = CHUNK.unpack(await self.reader.readexactly(CHUNK.size))
            piece = await self.reader.readexactly(size)
            if port == wanted:
                return piece


@contextlib.asynccontextmanager
async def machine() -> AsyncIterator[tuple[TcpTarget, Agent]]:
    """A QEMU whose agent is the test."""
    with tempfile.TemporaryDirectory(prefix="cba", dir="/tmp") as name:
        directory = Path(name)
        image = directory / "bridge.raw"
        image.write_bytes((BRIDGE.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
        spoken: asyncio.Queue[Agent] = asyncio.Queue()

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            spoken.put_nowait(Agent(reader, writer))

        port = free_port()
        async with serving(speak, path=str(directory / "com1")):
            process = await asyncio.create_subprocess_exec(
                BINARY,
                *("-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-vga", "std"),
                *("-drive", f"file={image},format=raw,snapshot=on"),
                *("-chardev", f"socket,id=com1,path={directory}/com1"),
                *("-device", "isa-serial,chardev=com1,index=0"),
                *("-chardev", "spicevmc,id=com2,name=vdagent"),
                *("-device", "isa-serial,chardev=com2,index=1"),
                *("-spice", f"addr=127.0.0.1,port={port},disable-ticketing=on"),
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": name},
            )
            try:
                async with asyncio.timeout(SECONDS):
                    agent = await spoken.get()
                await listening(port)
                yield TcpTarget("127.0.0.1", port=port), agent
            finally:
                process.kill()
                await process.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


class Viewer:
    """MAIN, read message by message."""

    def __init__(self, main: Connection) -> None:
        self._main = main
        self.tokens = 0

    async def says(self, kind: int, body: bytes = b"") -> None:
        data = AGENT_HEADER.pack(1, kind, 0, len(body)) + body
        for start in range(0, len(data), 2048):
            self._main.writer.write(message(ClientMain.AGENT_DATA, data[start : start + 2048]))
        await self._main.writer.drain()

    async def hears(self) -> tuple[int, bytes]:
        """The next message from the agent; tokens are counted on the way."""
        while True:
            kind, body = await self.next()
            if kind == Main.AGENT_DATA:
                return AGENT_HEADER.unpack_from(body)[1], body[AGENT_HEADER.size :]

    async def tokens_are(self, count: int) -> None:
        while self.tokens < count:
            await self.next()
        assert self.tokens == count

    async def next(self) -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS):
            kind, size = struct.unpack("<HI", await self._main.reader.readexactly(6))
            body = await self._main.reader.readexactly(size)
        if kind == 4:
            self._main.writer.write(message(3, body[:12]))
        if kind == Main.AGENT_TOKEN:
            self.tokens += struct.unpack("<I", body)[0]
        return kind, body


async def talk(rig: Rig, target: TcpTarget, policy: LinkPolicy) -> Viewer:
    rig.gate.allow(target, policy=policy_for(policy))
    main, _ = await rig.open_main()
    await main.until(ChannelsListed)
    main.writer.write(message(ClientMain.AGENT_START, struct.pack("<I", 0xFFFFFFFF)))
    return Viewer(main)


def announced(caps: int) -> bytes:
    return struct.pack("<II", 0, caps)


async def test_an_agent_without_clipboard_and_files_is_not_tempted_and_not_reached(
    tmp_path: Path,
) -> None:
    async with machine() as (target, agent), proxying(tmp_path) as rig:
        viewer = await talk(rig, target, LinkPolicy(clipboard=False, file_transfer=False))
        await viewer.says(AgentMessage.ANNOUNCE_CAPABILITIES, announced(CAPS))
        kind, body = await agent.hears()
        assert (kind, body) == (6, announced(1 << 0 | 1 << 1 | 1 << 2 | 1 << 14))
        await agent.says(AgentMessage.ANNOUNCE_CAPABILITIES, announced(CAPS))
        kind, body = await viewer.hears()
        disabled = 1 << AgentCap.FILE_XFER_DISABLED
        assert (kind, body) == (6, announced(1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | disabled))

        for _ in range(30):  # three times as many as there are tokens
            await viewer.says(AgentMessage.CLIPBOARD, bytes(3000))
            await viewer.tokens_are(viewer.tokens + 2)
        await agent.says(AgentMessage.CLIPBOARD_GRAB, bytes(8))
        await agent.says(AgentMessage.CLIPBOARD, bytes(5000))
        await viewer.says(AgentMessage.FILE_XFER_START, struct.pack("<I", 4) + b"[x]")
        assert await viewer.hears() == (11, struct.pack("<II", 4, 7))
        await viewer.says(AgentMessage.MONITORS_CONFIG, bytes(28))
        assert await agent.hears() == (2, bytes(28))
        await agent.says(AgentMessage.REPLY, struct.pack("<II", 2, 1))
        assert await viewer.hears() == (3, struct.pack("<II", 2, 1))


async def test_a_clipboard_that_is_allowed_arrives_whole_both_ways(tmp_path: Path) -> None:
    async with machine() as (target, agent), proxying(tmp_path) as rig:
        viewer = await talk(rig, target, LinkPolicy(file_transfer=False))
        await viewer.says(AgentMessage.CLIPBOARD, b"text" * 1000)
        assert await agent.hears() == (4, b"text" * 1000)
        await agent.says(AgentMessage.CLIPBOARD, b"text" * 100)
        assert await viewer.hears() == (4, b"text" * 100)


TEXT = struct.pack("<I", 1)
SELECTION = bytes(4)


async def test_our_own_client_exchanges_texts_with_the_guest() -> None:
    async with machine() as (target, agent), opened(dialer(target), "", clipboard=True) as session:
        assert session.agent_connected
        assert (await agent.hears())[0] == AgentMessage.ANNOUNCE_CAPABILITIES
        await agent.says(AgentMessage.ANNOUNCE_CAPABILITIES, announced(CAPS))
        await agent.says(AgentMessage.CLIPBOARD_GRAB, SELECTION + TEXT)
        assert await agent.hears() == (AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT)
        await agent.says(AgentMessage.CLIPBOARD, SELECTION + TEXT + b"from the guest" * 400)
        assert await session.until(lambda: session.copied or None) == "from the guest" * 400

        text = "to the guest " * 3000  # more pieces than there are tokens
        await session.offer_text(text)
        assert await agent.hears() == (AgentMessage.CLIPBOARD_GRAB, SELECTION + TEXT)
        await agent.says(AgentMessage.CLIPBOARD_REQUEST, SELECTION + TEXT)
        assert await agent.hears() == (AgentMessage.CLIPBOARD, SELECTION + TEXT + text.encode())


async def test_our_own_client_says_nothing_to_the_agent_unless_it_is_asked_to() -> None:
    async with machine() as (target, agent):
        async with opened(dialer(target), "") as session:
            with pytest.raises(Unreachable, match="agent"):
                await session.offer_text("x")
        async with opened(dialer(target), "", clipboard=True) as session:
            with pytest.raises(UsageError, match="bytes"):
                await session.offer_text("x" * (TEXT_MAX + 1))
            await agent.says(AgentMessage.ANNOUNCE_CAPABILITIES, announced(CAPS))
            await agent.says(AgentMessage.CLIPBOARD_GRAB, SELECTION + TEXT)
            heard = [(await agent.hears())[0] for _ in range(2)]
            assert heard == [AgentMessage.ANNOUNCE_CAPABILITIES, AgentMessage.CLIPBOARD_REQUEST]


async def test_the_pointer_is_where_our_client_puts_it() -> None:
    async with machine() as (target, agent), opened(dialer(target), "") as session:
        await session.until(lambda: session.mouse_mode == MOUSE_CLIENT or None)
        pointer = Pointer(session)
        await pointer.point(123, 45)
        await pointer.button(Button.RIGHT, down=True)
        found: list[tuple[int, ...]] = []
        while not found or found[-1][:3] != (123, 45, 1 << Button.RIGHT):
            kind, body = await agent.hears(SERVER_PORT)
            assert kind == AgentMessage.MOUSE_STATE
            found.append(struct.unpack("<IIIB", body))
