"""The drawing that nearly all others are like, known by one look at its fixed part.

QEMU shows what has changed as copies of bitmaps, one for each 32 columns; a screen that moves is a
thousand of them a second. Field by field they are read in `broker.spice.screen`, and so is whatever
is different from the usual in any field.

Source: spice-common `spice.proto`; trials on QEMU 7.2.
"""

import struct
from typing import Final, NamedTuple

from broker.spice.pixels import PIXEL_BYTES

_FIELDS: Final = struct.Struct("<I4iB I4iHB BiiI QBBII BBIII I".replace(" ", ""))
"""Where it draws; the copy: image, source, operation, scale; its mask; the image; its bitmap."""
_IMAGE_AT: Final = struct.calcsize("<I4iBI4iHBBiiI")
_PUT, _BITMAP, _TOP_DOWN = 8, 0, 4
_FORMATS: Final = frozenset({8, 9})
"""32 bits a pixel, without transparency and with it, which a put does not look at."""


class Copy(NamedTuple):
    """All of a bitmap, put on a surface as it is.

    Attributes:
        pixels: Its rows from the top, without gaps, and all that follows.
    """

    surface: int
    top: int
    left: int
    bottom: int
    right: int
    pixels: memoryview


def usual_copy(body: memoryview) -> Copy | None:
    """What a copy says, if it is a usual one; None when it is to be read field by field.

    Where it would draw is not checked: it may lie outside of the surface, which may not exist.
    """
    if len(body) < _FIELDS.size:
        return None
    (
        surface, top, left, bottom, right, clip,
        image, from_top, from_left, to_bottom, to_right, operation, _,
        _, _, _, mask,
        _, kind, _, _, _,
        form, flags, width, height, stride,
        palette,
    ) = _FIELDS.unpack_from(body)  # fmt: skip
    pixels = body[_FIELDS.size :]
    if (
        (clip, image, operation, mask) == (0, _IMAGE_AT, _PUT, 0)
        and (kind, flags, palette) == (_BITMAP, _TOP_DOWN, 0)
        and form in _FORMATS
        and (from_top, from_left, to_bottom, to_right) == (0, 0, height, width)
        and (bottom - top, right - left) == (height, width)
        and stride == width * PIXEL_BYTES
        and 0 < stride * height <= len(pixels)
    ):
        return Copy(surface, top, left, bottom, right, pixels)
    return None
