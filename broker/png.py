"""Pictures as PNG files.

Source: PNG specification, third edition, 5 and 11.2.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR: Final = (8, 2, 0, 0, 0)
"""Eight bits each of red, green and blue; the one compression, filter and order there is."""


def encode_png(rgb: bytes, width: int, height: int) -> bytes:
    """The file of a picture.

    Args:
        rgb: Red, green and blue of each pixel, row by row from the top.

    Raises:
        ValueError: It is not of that size.
    """
    row = width * 3
    if len(rgb) != row * height or not rgb:
        raise ValueError(f"{len(rgb)} bytes for a picture of {width}x{height}")
    lines = b"".join(b"\0" + rgb[at : at + row] for at in range(0, len(rgb), row))
    header = struct.pack(">II5B", width, height, *_TRUE_COLOUR)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
