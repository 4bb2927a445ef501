"""A guest whose screen never rests; see `moving.asm`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker import demo
from broker.model import Disk, DiskBus, Display, MachineSpec
from tests.guests import Guest, Home, logged, serial_of

SOURCE = Path(__file__).with_name("moving.asm")
NASM = shutil.which("nasm")
needs_nasm = pytest.mark.skipif(NASM is None, reason="nasm is not installed")

SIZES = ((720, 400), (640, 400), (640, 480), (640, 480), (800, 600))
"""Of the modes that its keys lead through: text, 256 colours, planes, 16 bits, 32 bits."""


def image(path: Path) -> Path:
    """Its disk."""
    subprocess.run([NASM or "nasm", "-f", "bin", "-o", path, SOURCE], check=True)
    path.write_bytes(path.read_bytes().ljust(demo.IMAGE_BYTES, b"\0"))
    return path


def spec(home: Home, display: Display = Display.STD) -> MachineSpec:
    disk = Disk(str(image(home.root / "moving.img")), "raw", DiskBus.SATA, snapshot=True)
    return replace(home.spec("moving"), display=display, disks=(disk,))


@asynccontextmanager
async def moving(home: Home, display: Display) -> AsyncIterator[Guest]:
    """It runs, in its first mode."""
    instance = home.instance(spec(home, display))
    try:
        await instance.start()
        async with serial_of(instance.paths.serial) as serial:
            await logged(instance.paths.serial_log, b"M0\n")
            yield Guest(instance, serial)
    finally:
        await instance.kill()
