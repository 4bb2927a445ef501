"""What a display channel draws, kept as pixels: surfaces, and the drawing that changes them.

Drawing is done with put semantics: what a client sees that asked for no compression, keeps no
cache and offers nothing beyond monitors' sizes. What cannot be drawn is counted in `undrawn` and
passed over, so that a picture is known to be whole or not.

Source: spice-common `spice.proto`; trials on QEMU 7.2, held against its own screendump.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from broker.spice.blit import Canvas
from broker.spice.constants import Base, Display
from broker.spice.errors import RemoteProtocolError
from broker.spice.pixels import (
    MAX_PIXELS,
    PIXEL_BYTES,
    Palettes,
    Pixels,
    Reader,
    Unread,
    read_image,
)
from broker.spice.usual import usual_copy
from broker.spice.wire import SurfaceCreate

PUT: Final = 8
"""The raster operation that takes the source as it is."""
MAX_CLIPS: Final = 65536
_INVERT: Final = bytes(255 - value for value in range(256))
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_POINT: Final = struct.Struct("<ii")
_RECT: Final = struct.Struct("<4i")
_ROP_SCALE: Final = struct.Struct("<HB")
_MASK: Final = struct.Struct("<BiiI")
_HEAD: Final = struct.Struct("<7I")
_BYTE: Final = struct.Struct("<B")


@dataclass(frozen=True, slots=True)
class Rect:
    """An area; `bottom` and `right` are the first that do not belong to it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def width(self) -> int:
        """Pixels in a row; 0 where it is empty."""
        return max(0, self.right - self.left)

    @property
    def height(self) -> int:
        """Rows; 0 where it is empty."""
        return max(0, self.bottom - self.top)

    def within(self, other: "Rect") -> "Rect":
        """What both have in common; maybe empty."""
        return Rect(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def __bool__(self) -> bool:
        return self.bottom > self.top and self.right > self.left


class Surface:
    """A picture that can be drawn on."""

    def __init__(self, width: int, height: int) -> None:
        self.box = Rect(0, 0, height, width)
        self.stride = width * PIXEL_BYTES
        self._canvas = Canvas(width, height)
        self.data = self._canvas.data

    def rows(self, area: Rect) -> Iterator[slice]:
        """Where the rows of an area of it lie."""
        start, size = area.top * self.stride + area.left * PIXEL_BYTES, area.width * PIXEL_BYTES
        for at in range(start, start + area.height * self.stride, self.stride):
            yield slice(at, at + size)

    def put_rows(self, area: Rect, rows: memoryview) -> None:
        """Copy rows without gaps, as wide as the area, which has to lie inside."""
        width = area.right - area.left
        size = width, area.bottom - area.top
        self._canvas.put(area.left, area.top, size, rows, width * PIXEL_BYTES)

    def pixels(self, area: Rect | None = None, *, copied: bool = True) -> Pixels:
        """A copy of an area of it, or of all; that may be had without copying it, too."""
        if area is None or area == self.box:
            data = bytes(self.data) if copied else self.data.toreadonly()
            return Pixels(self.box.width, self.box.height, data)
        found = b"".join(bytes(self.data[row]) for row in self.rows(area))
        return Pixels(area.width, area.height, found)

    def put(self, area: Rect, source: Pixels, left: int, top: int) -> None:
        """Copy the part of `source` at `left`, `top`, which has to lie inside of it."""
        stride = source.width * PIXEL_BYTES
        part = memoryview(source.data)[top * stride + left * PIXEL_BYTES :]
        self._canvas.put(area.left, area.top, (area.width, area.height), part, stride)

    def fill(self, area: Rect, colour: int) -> None:
        """Give all of an area one colour, 0x00RRGGBB."""
        line = _U32.pack(colour & 0xFFFFFFFF) * area.width
        for row in self.rows(area):
            self.data[row] = line

    def invert(self, area: Rect) -> None:
        """Turn each colour of an area into its opposite."""
        for row in self.rows(area):
            self.data[row] = bytes(self.data[row]).translate(_INVERT)


@dataclass(frozen=True, slots=True)
class Painted:
    """What one message drew on."""

    surface: int
    areas: tuple[Rect, ...]
    """Of that surface; none when all it would have drawn lies outside."""
    whole: bool = True
    """False when it changes these areas for a viewer, and not for us: it is in `Screen.undrawn`."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a message draws: a surface, the box it speaks of, and what of that may change."""

    number: int
    surface: Surface
    box: Rect
    areas: tuple[Rect, ...]

    @classmethod
    def read(cls, reader: Reader, surfaces: dict[int, Surface]) -> Self:
        number, top, left, bottom, right, clipped = reader.take(struct.Struct("<I4iB"))
        if number not in surfaces:
            raise RemoteProtocolError(f"drawing on surface {number}, which there is none of")
        surface, box = surfaces[number], Rect(top, left, bottom, right)
        inside = box.within(surface.box)
        areas: tuple[Rect, ...] = (inside,)
        if clipped == 1:
            (count,) = reader.take(_U32)
            if count > MAX_CLIPS:
                raise RemoteProtocolError(f"{count} areas to draw in, expected at most {MAX_CLIPS}")
            areas = tuple(Rect(*reader.take(_RECT)).within(inside) for _ in range(count))
        return cls(number, surface, box, tuple(area for area in areas if area))


class Screen:
    """The surfaces of one display channel.

    Attributes:
        undrawn: What was passed over, by name, and how often. While it is empty, the picture is
            what a viewer shows.
    """

    def __init__(self) -> None:
        self.undrawn: Counter[str] = Counter()
        self._surfaces: dict[int, Surface] = {}
        self._primary: int | None = None
        self._head: Rect | None = None
        self._palettes: Palettes = {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture; zeros while there is none."""
        area = self._area()
        return (area.width, area.height) if area else (0, 0)

    @property
    def surfaces(self) -> dict[int, tuple[int, int]]:
        """Width and height of each surface there is."""
        return {n: (each.box.width, each.box.height) for n, each in self._surfaces.items()}

    @property
    def primary(self) -> int | None:
        """The surface that is the screen itself; None while there is none."""
        return self._primary

    def picture(self, surface: int | None = None) -> Pixels | None:
        """A copy of what is on the screen, or on one surface; None while there is none."""
        if surface is not None:
            found = self._surfaces.get(surface)
            return found.pixels() if found else None
        area = self._area()
        return None if area is None else self._surfaces[self._primary or 0].pixels(area)

    def lent(self) -> Pixels | None:
        """The same, not copied where it is all of a surface: it goes on changing with it."""
        area = self._area()
        found = self._surfaces[self._primary or 0] if area else None
        return found.pixels(area, copied=False) if found else None

    def receive(self, kind: int, body: bytes | memoryview) -> Painted | None:
        """Carry out a message of the display channel.

        Returns:
            Where it drew, or would have if it could be carried out; None of what does not draw.

        Raises:
            RemoteProtocolError: It cannot be: it breaks off, or draws on what does not exist.
        """
        if kind == _COPY and (painted := self._put(memoryview(body))) is not None:
            return painted
        reader = Reader(memoryview(body))
        match kind:
            case Display.SURFACE_CREATE:
                self._create(SurfaceCreate(*reader.take(struct.Struct("<5I"))))
            case Display.SURFACE_DESTROY:
                self._destroy(reader.take(_U32)[0])
            case Display.MONITORS_CONFIG:
                self._monitors(reader)
            case Display.RESET:
                self._surfaces.clear()
                self._primary = self._head = None
            case Display.INVAL_PALETTE:
                self._palettes.pop(reader.take(struct.Struct("<Q"))[0], None)
            case Display.INVAL_ALL_PALETTES:
                self._palettes.clear()
            case _ if kind in _DRAWS:
                return self._draw(kind, reader, memoryview(body))
            case _ if kind in _STREAMS:
                self.undrawn["video"] += 1
            case _ if kind not in _DRAWING_NOTHING:
                self.undrawn[_name(kind)] += 1
        return None

    def _area(self) -> Rect | None:
        if self._primary is None:
            return None
        box = self._surfaces[self._primary].box
        return (self._head.within(box) if self._head else None) or box

    def _create(self, wanted: SurfaceCreate) -> None:
        if not 0 < wanted.width * wanted.height <= MAX_PIXELS:
            raise RemoteProtocolError(f"a surface of {wanted.width}x{wanted.height}")
        held = sum(len(each.data) for each in self._surfaces.values())
        if held // PIXEL_BYTES + wanted.width * wanted.height > 2 * MAX_PIXELS:
            raise RemoteProtocolError(f"{len(self._surfaces) + 1} surfaces are too large")
        self._surfaces[wanted.surface_id] = Surface(wanted.width, wanted.height)
        if wanted.flags & 1:
            self._primary, self._head = wanted.surface_id, None

    def _destroy(self, number: int) -> None:
        self._surfaces.pop(number, None)
        if number == self._primary:
            self._primary = self._head = None

    def _monitors(self, reader: Reader) -> None:
        """One head is shown: the first on the primary surface."""
        count, _ = reader.take(struct.Struct("<HH"))
        heads = [reader.take(_HEAD) for _ in range(count)]
        for _, surface, width, height, left, top, _ in heads:
            if surface == self._primary and width and height:
                self._head = Rect(top, left, top + height, left + width)
                return

    def _put(self, body: memoryview) -> Painted | None:
        """The same as `_draw`, of what is drawn most; None when it has to be looked at closer."""
        if (copy := usual_copy(body)) is None:
            return None
        number, top, left, bottom, right, rows = copy
        if (surface := self._surfaces.get(number)) is None:
            return None
        box = surface.box
        if top < 0 or left < 0 or bottom > box.bottom or right > box.right:
            return None
        area = Rect(top, left, bottom, right)
        surface.put_rows(area, rows)
        return Painted(number, (area,))

    def _draw(self, kind: int, reader: Reader, body: memoryview) -> Painted | None:
        target = _Target.read(reader, self._surfaces)
        try:
            self._carry_out(kind, target, reader, body)
        except Unread as exc:
            self.undrawn[str(exc)] += 1
            return Painted(target.number, target.areas, whole=False)
        return Painted(target.number, target.areas)

    def _carry_out(self, kind: int, target: _Target, reader: Reader, body: memoryview) -> None:
        match kind:
            case Display.DRAW_COPY | Display.DRAW_BLEND:
                (image,) = reader.take(_U32)
                source = Rect(*reader.take(_RECT))
                rop, _ = reader.take(_ROP_SCALE)
                _plain(reader, rop)
                _copy(target, self._image(body, image), source)
            case Display.DRAW_FILL:
                colour = _brush(reader)
                _plain(reader, reader.take(_U16)[0])
                for area in target.areas:
                    target.surface.fill(area, colour)
            case Display.DRAW_BLACKNESS | Display.DRAW_WHITENESS:
                _plain(reader)
                for area in target.areas:
                    target.surface.fill(area, 0xFFFFFF * (kind == Display.DRAW_WHITENESS))
            case Display.DRAW_INVERS:
                _plain(reader)
                for area in target.areas:
                    target.surface.invert(area)
            case Display.COPY_BITS:
                left, top = reader.take(_POINT)
                box = target.box
                source = Rect(top, left, top + box.height, left + box.width)
                _copy(target, target.surface.pixels(), source)
            case _:
                raise Unread(_name(kind))

    def _image(self, body: memoryview, at: int) -> Pixels:
        def surface(number: int) -> Pixels:
            if number not in self._surfaces:
                raise RemoteProtocolError(f"a picture of surface {number}, which there is none of")
            return self._surfaces[number].pixels()

        return read_image(body, at, self._palettes, surface)


_COPY: Final = int(Display.DRAW_COPY)
_DRAWS: Final = frozenset(
    {Display.COPY_BITS, *(kind for kind in Display if kind.name.startswith("DRAW_"))}
)
_STREAMS: Final = frozenset({Display.STREAM_DATA, Display.STREAM_DATA_SIZED})
_DRAWING_NOTHING: Final = frozenset(
    {
        *Base,
        Display.MARK,
        Display.INVAL_LIST,
        Display.INVAL_ALL_PIXMAPS,
        Display.STREAM_CREATE,
        Display.STREAM_CLIP,
        Display.STREAM_DESTROY,
        Display.STREAM_DESTROY_ALL,
        Display.STREAM_ACTIVATE_REPORT,
        Display.QUALITY_INDICATOR,
    }
)
"""Whatever else comes may have changed what a viewer shows."""


def _name(kind: int) -> str:
    """A message's kind as people read it."""
    return Display(kind).name.lower().replace("_", "-") if kind in _NAMED else f"message {kind}"


_NAMED: Final = frozenset(Display)


def _plain(reader: Reader, rop: int = PUT) -> None:
    """See that there is no mask, and no arithmetic with what is there already."""
    if rop != PUT:
        raise Unread(f"raster operation {rop:#x}")
    _, _, _, mask = reader.take(_MASK)
    if mask:
        raise Unread("mask")


def _brush(reader: Reader) -> int:
    (kind,) = reader.take(_BYTE)
    if kind != 1:
        raise Unread(f"brush {kind}")
    return reader.take(_U32)[0]


def _copy(target: _Target, image: Pixels, source: Rect) -> None:
    """Put the `source` part of an image into the target's box, stretched where sizes differ."""
    box = target.box
    if not source.within(Rect(0, 0, image.height, image.width)) == source or not source:
        raise RemoteProtocolError(f"{source} of a picture of {image.width}x{image.height}")
    for area in target.areas:
        if (box.width, box.height) == (source.width, source.height):
            left, top = source.left + area.left - box.left, source.top + area.top - box.top
            target.surface.put(area, image, left, top)
        else:
            target.surface.put(area, _stretched(image, source, box, area), 0, 0)


def _stretched(image: Pixels, source: Rect, box: Rect, area: Rect) -> Pixels:
    """What belongs into `area` when `source` fills `box`, by the nearest pixel."""
    data, stride = image.data, image.width * PIXEL_BYTES
    columns = [
        (source.left + (x - box.left) * source.width // box.width) * PIXEL_BYTES
        for x in range(area.left, area.right)
    ]
    out = bytearray()
    for y in range(area.top, area.bottom):
        at = (source.top + (y - box.top) * source.height // box.height) * stride
        out += b"".join(bytes(data[at + x : at + x + PIXEL_BYTES]) for x in columns)
    return Pixels(area.width, area.height, out)
