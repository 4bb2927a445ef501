"""`ask` against monitors that misbehave; against a real one: tests/integration/test_vm_*.py."""

import array
import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.errors import VmUnresponsive
from broker.vm import monitor
from broker.vm.monitor import Command, CommandRefused, MonitorGone

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
SOCKET = "qmp.sock"


def answer(said: bytes) -> bytes:
    """What a good monitor says to one line, an event before it."""
    number = json.loads(said)["id"]
    event = {"event": "RESUME", "timestamp": {}}
    return (
        f"{json.dumps(event)}\r\n{json.dumps({'return': {'n': number}, 'id': number})}\r\n".encode()
    )


def refuse(said: bytes) -> bytes:
    """The same, of one that knows nothing but how to begin."""
    asked = json.loads(said)
    if asked["execute"] == "qmp_capabilities":
        return answer(said)
    problem = {"class": "GenericError", "desc": f"no {asked['execute']}"}
    return f"{json.dumps({'error': problem, 'id': asked['id']})}\r\n".encode()


async def asked(
    directory: Path,
    reply: Callable[[bytes], bytes],
    *commands: Command,
    greeting: bytes = GREETING,
    undo: Command | None = None,
    seconds: float = 60,
) -> tuple[list[object], list[str]]:
    """What `ask` gives, and what the monitor was told."""
    told: list[str] = []
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(greeting)
            async for line in reader:
                told.append(json.loads(line)["execute"])
                writer.write(reply(line))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            left.set()

    async with await asyncio.start_unix_server(serve, directory / SOCKET):
        path = directory / SOCKET
        try:
            return await monitor.ask(path, *commands, name="vm", timeout=seconds, undo=undo), told
        except CommandRefused as problem:
            return [problem.what], told
        finally:
            await left.wait()


async def test_answers_come_in_the_order_of_the_commands(broker_home: Path) -> None:
    answers, told = await asked(broker_home, answer, Command("one"), Command("two"))
    assert (answers, told) == ([{"n": 1}, {"n": 2}], ["qmp_capabilities", "one", "two"])


async def test_what_is_refused_is_undone_and_told(broker_home: Path) -> None:
    both = Command("one"), Command("two")
    answers, told = await asked(broker_home, refuse, *both, undo=Command("undo"))
    assert (answers, told[-1]) == (["vm: QEMU says: no one"], "undo")


@pytest.mark.parametrize(
    ("greeting", "reply", "words"),
    [
        pytest.param(b"SSH-2.0\r\n", answer, "no monitor of QEMU", id="another program"),
        pytest.param(b"x" * 2 * monitor.MAX_ANSWER_BYTES, lambda _: b"", "hung up", id="no end"),
    ],
)
async def test_what_is_no_monitor_is_told_so(
    broker_home: Path, greeting: bytes, reply: Callable[[bytes], bytes], words: str
) -> None:
    with pytest.raises(MonitorGone, match=words):
        await asked(broker_home, reply, Command("one"), greeting=greeting)


async def test_silence_is_told_from_absence(broker_home: Path) -> None:
    with pytest.raises(VmUnresponsive, match=r"within 0\.5 s"):
        await asked(broker_home, lambda _: b"", Command("one"), seconds=0.5)
    with pytest.raises(MonitorGone):
        await monitor.ask(broker_home / "none.sock", name="vm", timeout=60)


async def test_one_who_hangs_up_is_gone(broker_home: Path) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(broker_home / SOCKET))
        listener.listen()
        listener.setblocking(False)

        async def hang_up() -> None:
            end, _ = await loop.sock_accept(listener)
            end.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(hang_up())
            with pytest.raises(MonitorGone):
                await monitor.ask(broker_home / SOCKET, Command("one"), name="vm", timeout=60)


async def test_a_full_queue_is_waited_for(broker_home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(broker_home / SOCKET))
        listener.listen(0)
        other.connect(str(broker_home / SOCKET))
        with pytest.raises(VmUnresponsive):
            await monitor.ask(broker_home / SOCKET, name="vm", timeout=0.1)


async def test_a_descriptor_goes_with_the_commands(broker_home: Path) -> None:
    got: list[int] = []
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(broker_home / SOCKET))
        listener.listen()
        listener.setblocking(False)

        async def serve() -> None:
            end, _ = await loop.sock_accept(listener)
            with end:
                await asyncio.sleep(0.05)  # until all is there
                end.setblocking(True)
                answered = 0
                while answered < 3:
                    said, ancillary, _, _ = end.recvmsg(4096, socket.CMSG_SPACE(4))
                    for _, _, data in ancillary:
                        got.extend(array.array("i", data))
                    for line in said.splitlines():
                        end.sendall(answer(line))
                        answered += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            path = broker_home / SOCKET
            await monitor.hand_over(path, write, "label", name="vm", timeout=60)
    assert len(got) == 1
    os.close(write)
    os.write(got[0], b"x")
    assert os.read(read, 1) == b"x"
    os.close(got[0])
    os.close(read)
