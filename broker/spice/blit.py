"""Rectangles copied into a picture, without a turn of Python's for each of their rows.

QEMU cuts what has changed into columns of 32 pixels, so a screen of 1280x800 that changes all over
is 32,000 short rows. Pillow copies them in a twentieth of the time that slices take; it is imported
with the first rectangle that is worth it, and where it will not write into our memory slices do.
"""

import contextlib
import mmap
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL.Image import Image

PIXEL_BYTES: Final = 4
MANY_ROWS: Final = 32
"""From here on Pillow is worth its overhead, and its import."""
LARGE_PAGE_BYTES: Final = 2 * 1024 * 1024
_LARGE_PAGES: Final[int | None] = getattr(mmap, "MADV_HUGEPAGE", None)
"""Linux's advice to use them."""
_MODE: Final = "RGBX"
"""Four bytes that Pillow leaves alone; ours have blue first."""
_MARK: Final = b"\x5a\xa5\x3c\xc3"


class Canvas:
    """The memory of a picture: `width` times `height` pixels of four bytes, row by row."""

    def __init__(self, width: int, height: int) -> None:
        self.data = memory(width * height * PIXEL_BYTES)
        self._size = (width, height)
        self._stride = width * PIXEL_BYTES
        self._view = self.data
        self._image: Image | None = None
        self._asked = False

    def put(
        self, left: int, top: int, size: tuple[int, int], source: memoryview, stride: int
    ) -> None:
        """Copy a rectangle, which has to lie inside.

        Args:
            size: Its width and height.
            source: Its first pixel, and all that follows.
            stride: Bytes from one of its rows to the next.
        """
        width, height = size
        if stride == self._stride == width * PIXEL_BYTES:
            begin = top * stride
            self._view[begin : begin + height * stride] = source[: height * stride]
        elif height < MANY_ROWS or len(source) < height * stride or not self._has_image():
            self._by_rows(left, top, size, source, stride)
        else:
            assert self._image is not None
            self._image.paste(_image(size, source, stride), (left, top))

    def _by_rows(
        self, left: int, top: int, size: tuple[int, int], source: memoryview, stride: int
    ) -> None:
        # Views on both sides: a bytearray first copies what is put into it.
        to, own, length = self._view, self._stride, size[0] * PIXEL_BYTES
        start = top * own + left * PIXEL_BYTES
        for at in range(0, size[1] * stride, stride):
            to[start : start + length] = source[at : at + length]
            start += own

    def _has_image(self) -> bool:
        """Whether Pillow takes our memory for a picture's that it may change."""
        if not self._asked:
            self._asked = True
            image = _image(self._size, self._view, self._stride)
            image.readonly = 0  # it is our bytearray, and meant to be written to
            before = bytes(self._view[:PIXEL_BYTES])
            image.paste(_image((1, 1), memoryview(_MARK), PIXEL_BYTES), (0, 0))
            if bytes(self._view[:PIXEL_BYTES]) == _MARK:
                self._image = image
            self._view[:PIXEL_BYTES] = before
        return self._image is not None


def memory(size: int) -> memoryview:
    """That many bytes, zero; in large pages where the system has them.

    The rows of a narrow column each lie in a page of their own otherwise, and finding these takes
    a quarter of the time that it takes to copy it.
    """
    if size < LARGE_PAGE_BYTES or _LARGE_PAGES is None:
        return memoryview(bytearray(size))
    pages = -(-size // LARGE_PAGE_BYTES)
    found = mmap.mmap(-1, pages * LARGE_PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        found.madvise(_LARGE_PAGES)
    return memoryview(found)[:size]


def _image(size: tuple[int, int], data: memoryview, stride: int) -> "Image":
    """Memory as Pillow sees it; nothing is copied."""
    from PIL import Image

    view: Any = data  # Pillow takes any buffer, and its types do not say so
    return Image.frombuffer(_MODE, size, view, "raw", _MODE, stride, 1)
