"""A real QEMU for tests: TCG, the demo guest, SPICE as asked, QMP to see whether it lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from broker import demo
from tests.broker.proxy.rig import SECONDS

BINARY = "qemu-system-x86_64"
PASSWORD = "sesame"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Qemu:
    """A running QEMU. `serial` is what the guest says on COM1."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        assert process.stdout is not None
        self.serial = process.stdout
        self._one_at_a_time = asyncio.Lock()

    async def says(self, text: bytes) -> bytes:
        """Wait until the guest has said `text`."""
        async with asyncio.timeout(SECONDS):
            return await self.serial.readuntil(text)

    async def qmp(self, command: str, **arguments: object) -> Any:
        """One command on a connection of its own; an answer proves that the main loop runs."""
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(self.directory / "qmp"))
            try:
                await reader.readline()
                for request in (
                    {"execute": "qmp_capabilities", "id": 1},
                    {"execute": command, "arguments": arguments, "id": 2},
                ):
                    writer.write(json.dumps(request).encode() + b"\n")
                while (answer := json.loads(await reader.readline())).get("id") != 2:
                    pass  # events, and what was left over for whoever asked before
            finally:
                writer.close()
                await writer.wait_closed()
        assert "return" in answer, answer
        return answer["return"]

    async def is_alive(self) -> bool:
        """Whether it answers."""
        if self.process.returncode is not None:
            return False
        return bool((await self.qmp("query-status"))["running"])

    def hand_over_now(self) -> socket.socket:
        """Give QEMU one end of a fresh TCP pair; blocks."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        with theirs, socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(SECONDS)
            qmp.connect(str(self.directory / "ctl"))
            lines = qmp.makefile("rb")
            lines.readline()
            client = {"protocol": "spice", "fdname": "c", "skipauth": True}
            for request, descriptors in (
                ({"execute": "qmp_capabilities", "id": 1}, []),
                ({"execute": "getfd", "arguments": {"fdname": "c"}, "id": 2}, [theirs.fileno()]),
                ({"execute": "add_client", "arguments": client, "id": 3}, []),
            ):
                socket.send_fds(qmp, [json.dumps(request).encode() + b"\n"], descriptors)
                while (answer := json.loads(lines.readline())).get("id") != request["id"]:
                    pass
                assert "return" in answer, answer
            lines.close()
        ours.setblocking(False)
        return ours

    async def hand_over(self, control_path: str) -> socket.socket:
        """As `broker.proxy.gate.HandOver` has it."""
        async with self._one_at_a_time:  # a monitor serves one connection
            return await asyncio.to_thread(self.hand_over_now)


@contextlib.asynccontextmanager
async def running_qemu(spice: str, *more: str) -> AsyncIterator[Qemu]:
    """QEMU with the demo guest and `-spice SPICE`, until the body ends."""
    directory = Path(tempfile.mkdtemp(prefix="cbq", dir="/tmp"))
    image = demo.write_image(directory / "demo.raw")
    errors = (directory / "stderr").open("wb")
    process = await asyncio.create_subprocess_exec(
        BINARY,
        *("-accel", "tcg", "-m", "64", "-nodefaults", "-display", "none", "-vga", "std"),
        *("-drive", f"file={image},format=raw,snapshot=on", "-serial", "stdio"),
        *("-qmp", f"unix:{directory}/qmp,server=on,wait=off"),
        *("-qmp", f"unix:{directory}/ctl,server=on,wait=off"),
        *("-spice", spice, *more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    errors.close()
    qemu = Qemu(process, directory)
    try:
        await qemu.says(demo.BANNER)
        yield qemu
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        process._transport.close()  # type: ignore[attr-defined]  # its pipes, at once
        shutil.rmtree(directory, ignore_errors=True)
