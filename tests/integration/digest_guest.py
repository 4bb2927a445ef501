"""A guest that shows digests, as Sextant does; see `digest.asm`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import zxingcpp

from broker import demo
from tests.integration.moving import NASM

SOURCE = Path(__file__).with_name("digest.asm")
WIDTH, HEIGHT = 320, 200
GREEN = b"\x0a"
"""Of the card's own palette. The guest draws light on dark, which is the wrong way round."""
PIXELS_PER_MODULE = 4


def frame(payload: bytes) -> bytes:
    """A screen with that in its lower right corner, a byte a pixel."""
    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level="L")
    image = zxingcpp.write_barcode_to_image(code, scale=1, add_quiet_zones=True)
    rows, columns = image.shape
    modules = bytes(memoryview(image).cast("B"))
    lines = []
    for row in range(rows):
        dark = modules[row * columns : (row + 1) * columns]
        line = b"".join((b"\0" if each else GREEN) * PIXELS_PER_MODULE for each in dark)
        lines += [line.rjust(WIDTH, b"\0")] * PIXELS_PER_MODULE
    return (b"\0" * WIDTH * (HEIGHT - len(lines))) + b"".join(lines)


def image(path: Path, payloads: Sequence[bytes]) -> Path:
    """Its disk."""
    banner = demo.BANNER.decode().strip()
    command = [NASM or "nasm", "-f", "bin", f"-DBANNER='{banner}'", "-o", path, SOURCE]
    subprocess.run(command, check=True)
    path.write_bytes((path.read_bytes() + b"".join(map(frame, payloads))).ljust(1 << 20, b"\0"))
    return path
