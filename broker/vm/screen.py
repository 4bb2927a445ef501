"""A picture of a VM's screen, as PNG whatever this QEMU can write."""

from __future__ import annotations

import asyncio
import re
import secrets
import struct
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, NoConsole
from broker.guest import Screenshot
from broker.png import SIGNATURE, encode_png
from broker.vm.asking import Asker
from broker.vm.monitor import CommandRefused
from broker.vm.paths import cannot_use

_PPM: Final = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")
"""The only form of PPM that QEMU writes."""


async def screenshot(asker: Asker, scratch: Path) -> Screenshot:
    """What is on the first screen.

    Args:
        scratch: A directory that only we can enter; QEMU writes the picture there.

    Raises:
        NoConsole: The VM has no screen.
        StoreError: The picture cannot be read back.
        MonitorGone, VmUnresponsive: As `Asker.ask`.
    """
    file = scratch / f"screen-{secrets.token_hex(6)}"
    try:
        try:
            # Since QEMU 7.1, where it was built with libpng; else what there has always been.
            await asker.one("screendump", {"filename": str(file), "format": "png"})
        except CommandRefused:
            await _plainly(asker, file)
        content = await asyncio.to_thread(file.read_bytes)
    except OSError as exc:
        raise cannot_use(file, exc) from exc
    finally:
        file.unlink(missing_ok=True)
    return await asyncio.to_thread(picture, content)


async def pixels(asker: Asker, file: Path) -> bytes:
    """The first screen as QEMU writes it quickest, which is PPM; raises as `screenshot`.

    Args:
        file: QEMU writes there; it is taken away again.
    """
    try:
        await _plainly(asker, file)
        return await asyncio.to_thread(_taken, file)
    except OSError as exc:
        raise cannot_use(file, exc) from exc
    except BaseException:
        await asyncio.to_thread(file.unlink, missing_ok=True)
        raise


def _taken(file: Path) -> bytes:
    content = file.read_bytes()
    file.unlink(missing_ok=True)
    return content


async def _plainly(asker: Asker, file: Path) -> None:
    try:
        await asker.one("screendump", {"filename": str(file)})
    except CommandRefused as exc:
        if "no console" not in exc.what.lower():
            raise
        raise NoConsole(
            f"{asker.name} has no screen",
            fix=f"Read its serial port: broker vm serial {asker.name}",
        ) from exc


def picture(content: bytes) -> Screenshot:
    """A screenshot from the file that QEMU wrote, PNG or PPM.

    Raises:
        BrokerError: It is neither, or not whole.
    """
    if content.startswith(SIGNATURE) and len(content) > 24:
        width, height = struct.unpack(">II", content[16:24])
        return Screenshot(content, width, height)
    width, height, rgb = rows(content)
    return Screenshot(encode_png(bytes(rgb), width, height), width, height)


def rows(content: bytes) -> tuple[int, int, memoryview]:
    """Width, height, and the red, green and blue of each pixel, from a PPM file of QEMU's.

    Raises:
        BrokerError: It is none, or not whole.
    """
    found = _PPM.match(content)
    if found is None:
        raise BrokerError("QEMU wrote a picture that is neither PNG nor PPM")
    width, height = int(found[1]), int(found[2])
    rgb = memoryview(content)[found.end() :]
    if not rgb or len(rgb) != width * height * 3:
        raise BrokerError("QEMU wrote a picture that is not whole")
    return width, height, rgb
