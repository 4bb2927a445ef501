"""Screens of text as a guest would draw them: the font is learnt from the glyphs' own digests.

No font is kept here: a pattern is made up for each letter, and the recogniser's table is told of
it. What QEMU really draws is read in tests/integration/test_live_qemu.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from broker.view import Frame
from tui.live import letters

WIDTH, HEIGHT = letters.VGA.width, letters.VGA.height


def pattern(char: str) -> bytes:
    """Ink of a made-up glyph, a byte for each pixel; blank for a space."""
    if char == " ":
        return bytes(WIDTH * HEIGHT)
    bits = hashlib.sha256(char.encode()).digest()[:18]
    return bytes(byte >> bit & 1 for byte in bits for bit in range(8))


def page_frame(lines: Sequence[str], columns: int = 80, rows: int = 25) -> Frame:
    """A screen with these lines."""
    data = bytearray()
    for row in range(rows):
        text = (lines[row] if row < len(lines) else "").ljust(columns)[:columns]
        drawn = [pattern(char) for char in text]
        for y in range(HEIGHT):
            for ink in drawn:
                for bit in ink[y * WIDTH : (y + 1) * WIDTH]:
                    data += b"\xaa\xaa\xaa" if bit else b"\0\0\0"
    return Frame(columns * WIDTH, rows * HEIGHT, "RGB", bytes(data))


def teach(patch: pytest.MonkeyPatch) -> None:
    """Have the recogniser know the made-up glyphs of ASCII."""
    known = {letters.digest(pattern(chr(code))): chr(code) for code in range(32, 127)}
    patch.setattr(letters, "glyphs", lambda face: (known, {}))
