"""Pictures as they travel, turned into rows of B, G, R, x bytes.

Only what a server sends to a client that wants no compression and keeps no cache: bitmaps, of any
depth and row order. Everything else raises `Unread`, which is no fault of the server's.

Source: spice-common `spice.proto`, `spice/enums.h`; trials on QEMU 7.2.
"""

import struct
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Final

from broker.spice.errors import RemoteProtocolError

PIXEL_BYTES: Final = 4
MAX_PIXELS: Final = 64 * 1024 * 1024
"""Of one picture or surface: 8K has half of that."""
MAX_PALETTES: Final = 1024
Palettes = MutableMapping[int, tuple[int, ...]]
"""Those that the server said to keep, by its numbers."""

_TOP_DOWN, _PALETTE_KEPT, _KEEP_PALETTE = 4, 2, 1
_IMAGE: Final = struct.Struct("<QBBII")
_BITMAP: Final = struct.Struct("<BBIII")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_BITS: Final = {1: 1, 2: 1, 3: 4, 4: 4, 5: 8, 6: 16, 7: 24, 8: 32, 9: 32, 10: 8}
"""Bits of a pixel by bitmap format."""


class Unread(Exception):
    """A picture in a form that was not asked for; its name is the message."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture: `height` rows of `width` pixels, each B, G, R and a byte of no meaning."""

    width: int
    height: int
    data: bytes | bytearray | memoryview

    def rgb(self) -> bytes:
        """Red, green and blue of each pixel, row by row."""
        found = bytearray(self.width * self.height * 3)
        for place, byte in enumerate((2, 1, 0)):
            found[place::3] = self.data[byte::PIXEL_BYTES]
        return bytes(found)


class Reader:
    """Fields one after the other, checked against the end of the body."""

    def __init__(self, body: memoryview, at: int = 0) -> None:
        self._body = body
        self.at = at

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next structure.

        Raises:
            RemoteProtocolError: The body ends in the middle of it.
        """
        if self.at + layout.size > len(self._body):
            raise RemoteProtocolError(
                f"a structure of {layout.size} bytes at {self.at} of {len(self._body)}"
            )
        found = layout.unpack_from(self._body, self.at)
        self.at += layout.size
        return found

    def bytes(self, size: int) -> memoryview:
        """The next bytes; raises as `take`."""
        if self.at + size > len(self._body):
            raise RemoteProtocolError(f"{size} bytes at {self.at} of {len(self._body)}")
        self.at += size
        return self._body[self.at - size : self.at]


def read_image(
    body: memoryview, at: int, palettes: Palettes, surface: Callable[[int], Pixels]
) -> Pixels:
    """The image at an offset of a drawing message.

    Args:
        palettes: What the server said to keep; added to.
        surface: Gives a surface's picture by its number, for images that are one.

    Raises:
        RemoteProtocolError: It does not lie inside the body, or is impossible.
        Unread: It is compressed, or cached.
    """
    reader = Reader(body, at)
    _, kind, _, _, _ = reader.take(_IMAGE)
    if kind == 104:
        return surface(reader.take(_U32)[0])
    if kind != 0:
        raise Unread(f"image type {kind}")
    form, flags, width, height, stride = reader.take(_BITMAP)
    if form not in _BITS:
        raise Unread(f"bitmap format {form}")
    if width * height > MAX_PIXELS or stride * 8 < width * _BITS[form]:
        raise RemoteProtocolError(f"a bitmap of {width}x{height} with rows of {stride} bytes")
    palette = _palette(reader, body, flags, palettes)
    rows = reader.bytes(stride * height)
    if form in (8, 9) and flags & _TOP_DOWN and stride == width * PIXEL_BYTES:
        return Pixels(width, height, rows)
    data = bytearray(width * height * PIXEL_BYTES)
    size = width * PIXEL_BYTES
    for row in range(height):
        line = bytes(rows[row * stride : (row + 1) * stride])
        to = row if flags & _TOP_DOWN else height - 1 - row
        data[to * size : (to + 1) * size] = _row(form, line, width, palette)
    return Pixels(width, height, data)


def _palette(reader: Reader, body: memoryview, flags: int, palettes: Palettes) -> tuple[int, ...]:
    if flags & _PALETTE_KEPT:
        return palettes.get(reader.take(_U64)[0], ())
    (at,) = reader.take(_U32)
    if not at:
        return ()
    inside = Reader(body, at)
    number, count = inside.take(struct.Struct("<QH"))
    colours = inside.take(struct.Struct(f"<{count}I"))
    if flags & _KEEP_PALETTE and len(palettes) < MAX_PALETTES:
        palettes[number] = colours
    return colours


def _row(form: int, line: bytes, width: int, palette: tuple[int, ...]) -> bytes:
    """One row of a bitmap as pixels of four bytes."""
    if form in (8, 9):
        return line[: width * PIXEL_BYTES]
    if form == 7:
        out = bytearray(width * PIXEL_BYTES)
        for byte in range(3):
            out[byte::PIXEL_BYTES] = line[byte : width * 3 : 3]
        return bytes(out)
    if form == 6:
        return _words(_from_555(word) for word in struct.unpack_from(f"<{width}H", line))
    if form == 10:
        return bytes(value for grey in line[:width] for value in (grey, grey, grey, 0))
    indices = _indices(form, line, width)
    if max(indices, default=0) >= len(palette):
        raise RemoteProtocolError(f"a colour beyond a palette of {len(palette)}")
    return _words(palette[index] for index in indices)


def _indices(form: int, line: bytes, width: int) -> list[int]:
    """Places in the palette; the little-endian forms start at the low end of each byte."""
    if form == 5:
        return list(line[:width])
    bits = _BITS[form]
    shifts = range(0, 8, bits) if form in (1, 3) else range(8 - bits, -1, -bits)
    mask = (1 << bits) - 1
    return [byte >> shift & mask for byte in line for shift in shifts][:width]


def _from_555(word: int) -> int:
    def wide(five: int) -> int:
        return five << 3 | five >> 2

    return wide(word >> 10 & 31) << 16 | wide(word >> 5 & 31) << 8 | wide(word & 31)


def _words(values: Iterable[int]) -> bytes:
    found = list(values)
    return struct.pack(f"<{len(found)}I", *found)
