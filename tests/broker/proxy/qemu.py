"""A real QEMU for tests: TCG, the demo guest, SPICE as asked, QMP to see whether it lives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from broker import demo
from broker.vm.handover import hand_over
from tests.broker.proxy.rig import SECONDS

BINARY = "qemu-system-x86_64"
PASSWORD = "sesame"


_PORTS = iter(SystemRandom().sample(range(20_000, 32_000), 12_000))
"""Below those that the kernel gives to whoever asks for any, drawn by each process for itself: a
port of the kernel's choice may be another connection's before QEMU has got so far as to take it."""


def free_port() -> int:
    """A port that was free a moment ago, and is given to nobody here again."""
    while True:
        port = next(_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


async def ask(monitor: Path, command: str, **arguments: object) -> Any:
    """One QMP command on a connection of its own; an answer proves that the main loop runs."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_unix_connection(str(monitor))
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


class Qemu:
    """A running QEMU. `serial` is what the guest says on COM1."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path) -> None:
        self.process = process
        self.directory = directory
        assert process.stdout is not None
        self.serial = process.stdout

    async def says(self, text: bytes) -> bytes:
        """Wait until the guest has said `text`."""
        async with asyncio.timeout(SECONDS):
            return await self.serial.readuntil(text)

    async def qmp(self, command: str, **arguments: object) -> Any:
        """One command on a connection of its own; an answer proves that the main loop runs."""
        return await ask(self.directory / "qmp", command, **arguments)

    async def is_alive(self) -> bool:
        """Whether it answers."""
        if self.process.returncode is not None:
            return False
        return bool((await self.qmp("query-status"))["running"])

    async def traced(self, *lines: str) -> None:
        """Wait until QEMU has said each of them on stderr, in this order."""
        async with asyncio.timeout(SECONDS):
            while not _in_order(lines, (self.directory / "stderr").read_text()):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.02)

    async def hand_over(self, control_path: str) -> socket.socket:
        """As `broker.proxy.gate.HandOver` has it."""
        return await hand_over(control_path)


def _in_order(lines: Sequence[str], said: str) -> bool:
    at = 0
    for line in lines:
        at = said.find(line, at) + 1
        if not at:
            return False
    return True


@contextlib.asynccontextmanager
async def running_qemu(spice: str, *more: str, disk: Path | None = None) -> AsyncIterator[Qemu]:
    """QEMU with the demo guest and `-spice SPICE`, until the body ends.

    Args:
        disk: Of another guest, which says the demo guest's banner.
    """
    directory = Path(tempfile.mkdtemp(prefix="cbq", dir="/tmp"))
    image = disk or demo.write_image(directory / "demo.raw")
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
