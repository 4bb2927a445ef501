"""A guest that says what it hears of its keyboard and its pointer; see `recorder.asm`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from broker import demo
from broker.model import Disk, DiskBus, Machine, MachineId, MachineSpec
from broker.service.port import Service

SOURCE = Path(__file__).with_name("recorder.asm")
NASM = shutil.which("nasm")
needs_nasm = pytest.mark.skipif(NASM is None, reason="nasm is not installed")
PATIENCE = 120.0
FULL = 0xFFFF
"""The far end of an axis of its pointer."""


def spec(directory: Path, name: str = "recorder") -> MachineSpec:
    """The machine; its pointer is the one that the guest knows, not a tablet."""
    image = directory / "recorder.img"
    subprocess.run([NASM or "nasm", "-f", "bin", "-o", image, SOURCE], check=True)
    image.write_bytes(image.read_bytes().ljust(demo.IMAGE_BYTES, b"\0"))
    made = demo.machine_spec(
        image, name=name, uuid=MachineId("6f4e2c1a-0000-4000-8000-0000000000ab")
    )
    disk = Disk(str(image), "raw", DiskBus.SATA, snapshot=True)
    return replace(made, disks=(disk,), tablet=False)


class Recorder:
    """What it says, from now on."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._seen = 0

    @property
    def lines(self) -> list[str]:
        """All that it has said since `forget`."""
        logs = list(self._home.glob("**/serial.log"))
        said = logs[0].read_text("ascii", "replace") if logs else ""
        return said.split("\n")[:-1][self._seen :]

    @property
    def keys(self) -> str:
        """The keyboard's bytes, in hexadecimal."""
        return " ".join(line[2:] for line in self.lines if line.startswith("K "))

    @property
    def pointed(self) -> list[tuple[int, int, int, int]]:
        """Buttons, x, y and wheel of each move."""
        words = [line.split()[1:] for line in self.lines if line.startswith("P ")]
        return [(int(b, 16) & 0x38, int(x, 16), int(y, 16), int(w, 16)) for b, x, y, w in words]

    def forget(self) -> None:
        """What was said so far is the past."""
        self._seen += len(self.lines)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for it."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():  # noqa: ASYNC110 - a file tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError as exc:
            raise AssertionError(self.lines) from exc


async def started(service: Service, home: Path) -> tuple[Machine, Recorder]:
    """It runs, and listens."""
    machine = await service.define(spec(home))
    machine = await service.start(machine.key)
    recorder = Recorder(home)
    await recorder.until(lambda: "R" in recorder.lines)
    recorder.forget()
    return machine, recorder
