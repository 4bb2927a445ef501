"""A guest that shows digests, as Sextant does; see `digest.asm`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from broker import demo
from tests.codes import modules
from tests.integration.moving import NASM

SOURCE = Path(__file__).with_name("digest.asm")
WIDTH, HEIGHT = 320, 200
GREEN = b"\x0a"
"""Of the card's own palette. The guest draws light on dark, which is the wrong way round."""
PIXELS_PER_MODULE = 4


def frame(payload: bytes) -> bytes:
    """A screen with that in its lower right corner, a byte a pixel."""
    lines = []
    for row in modules(payload):
        line = b"".join((GREEN if dark else b"\0") * PIXELS_PER_MODULE for dark in row)
        lines += [line.rjust(WIDTH, b"\0")] * PIXELS_PER_MODULE
    return (b"\0" * WIDTH * (HEIGHT - len(lines))) + b"".join(lines)


def image(path: Path, payloads: Sequence[bytes]) -> Path:
    """Its disk."""
    banner = demo.BANNER.decode().strip()
    command = [NASM or "nasm", "-f", "bin", f"-DBANNER='{banner}'", "-o", str(path), str(SOURCE)]
    subprocess.run(command, check=True)
    path.write_bytes((path.read_bytes() + b"".join(map(frame, payloads))).ljust(1 << 20, b"\0"))
    return path
