"""The door: who is let in, who is not, and where it leads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.vm import vnc_door
from broker.vm.vnc_door import Stranger, response, serve

PASSWORD = b"sesame42"
SECONDS = 60
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def test_the_answer_to_a_challenge_is_des() -> None:
    # A key and a plain text of zeros: NIST SP 800-17, appendix A.
    assert response(b"", bytes(16)).hex() == "8ca64de9c1b123a7" * 2


def test_the_bits_of_each_byte_of_a_password_are_reversed() -> None:
    # Key 80 00 00 …, NIST SP 800-17, table A.2.
    assert response(b"\x01", bytes(16)).hex() == "95a8d72813daa94d" * 2


@dataclass
class Door:
    """A door with the test before it, as viewers, and behind it, as the machine."""

    address: tuple[str, int]
    machines: asyncio.Queue[Ends]
    serving: asyncio.Future[None]

    async def viewer(self) -> Ends:
        return await asyncio.open_connection(*self.address)


@pytest.fixture
async def door(broker_home: Path) -> AsyncIterator[Door]:
    machines: asyncio.Queue[Ends] = asyncio.Queue()
    opened: list[asyncio.StreamWriter] = []

    def machine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        machines.put_nowait((reader, writer))

    path = broker_home / "vnc.sock"
    server = await asyncio.start_unix_server(machine, path)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    serving = asyncio.ensure_future(serve(listener, str(path), PASSWORD))
    yield Door(listener.getsockname(), machines, serving)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    listener.close()
    for writer in opened:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def shakes(viewer: Ends, password: bytes, version: bytes = b"RFB 003.008\n") -> bytes:
    """What becomes of a viewer that shows this password."""
    reader, writer = viewer
    async with asyncio.timeout(SECONDS):
        assert await reader.readexactly(12) == b"RFB 003.008\n"
        writer.write(version)
        assert await reader.readexactly(2) == b"\x01\x02"
        writer.write(b"\x02")
        writer.write(response(password, await reader.readexactly(16)))
        return await reader.readexactly(4)


async def closed(ends: Ends) -> bytes:
    """What comes until the other end closes."""
    async with asyncio.timeout(SECONDS):
        rest = await ends[0].read()
    ends[1].close()
    await ends[1].wait_closed()
    return rest


@pytest.mark.parametrize("version", vnc_door.VERSIONS)
async def test_who_knows_the_password_is_led_to_the_machine(door: Door, version: bytes) -> None:
    viewer = await door.viewer()
    assert await shakes(viewer, PASSWORD, version) == bytes(4)
    async with asyncio.timeout(SECONDS):
        machine = await door.machines.get()
        machine[1].write(b"RFB 003.008\n")
        assert await machine[0].readexactly(12) == b"RFB 003.008\n"
        machine[1].write(b"\x02\x02\x01")
        assert await machine[0].readexactly(1) == b"\x01"
        machine[1].write(bytes(4) + b"hello")
        viewer[1].write(b"\x01")
        assert await machine[0].readexactly(1) == b"\x01"
        assert await viewer[0].readexactly(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            await door.viewer()  # one viewer, one door
        machine[1].close()
        assert await closed(viewer) == b""
        await door.serving


async def test_who_does_not_is_told_and_may_not_try_for_ever(door: Door) -> None:
    for _ in range(vnc_door.TRIES):
        viewer = await door.viewer()
        assert await shakes(viewer, b"guessing") == b"\0\0\0\1"
        assert (await closed(viewer)).endswith(b"wrong password")
    with pytest.raises(Stranger):
        await door.serving
    assert door.machines.empty()


@pytest.mark.parametrize("said", [b"GET / HTTP/1", b"RFB 003.008\n\x01"])
async def test_who_speaks_otherwise_is_sent_away(door: Door, said: bytes) -> None:
    viewer = await door.viewer()
    viewer[1].write(said)
    await closed(viewer)
    other = await door.viewer()  # and the door is still there
    assert await shakes(other, PASSWORD) == bytes(4)
    other[1].close()
    await other[1].wait_closed()


async def test_nobody_is_awaited_for_ever(
    door: Door, monkeypatch: pytest.MonkeyPatch, broker_home: Path
) -> None:
    monkeypatch.setattr(vnc_door, "WAIT_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with pytest.raises(TimeoutError):
            await serve(listener, str(broker_home / "none"), PASSWORD)
    assert not door.serving.done()
