"""What a test guest says of itself in a QR code on its screen, for `digest_updated`.

The guest (Sextant) shows in a corner what it has done and seen, so that a test can tell exactly
which picture it looks at. Reading QR codes takes a library of its own, the extra `digest`; without
it the event is not offered, as in a ryll that was built without `digest-decode`.

Source: visual-digest-rust, visual-digest-format.md, schema 2; ryll, control-socket protocol 1.2.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.headless.session import Heard, Session
from broker.spice.client import SurfaceCreated
from broker.spice.pixels import Pixels
from broker.spice.screen import Painted

log = logging.getLogger(__name__)

EVENT: Final = "digest_updated"
POLL_SECONDS: Final = 0.1
"""Between two looks at the screen, as in ryll."""
PAYLOAD_MAX: Final = 2953
"""Bytes of the largest QR code there is; the guest's have at most 106."""

_HEADER: Final = struct.Struct("<4sBIB")
_HASH: Final = struct.Struct("<BBI")
_TRAILER: Final = struct.Struct("<I")
_MAGIC, _SCHEMA = b"SXDG", 2
_HASH_TAGS: Final = range(0x11, 0x19)


@dataclass(frozen=True, slots=True)
class Digest:
    """One of them.

    Attributes:
        frame: Counts up with each that the guest draws.
        framebuffer_hash: CRC-32C of what was on the screen around it when it was drawn.
        events: What the guest noted last, oldest first: objects of one key, its kind.
    """

    frame: int
    framebuffer_hash: int
    events: tuple[Mapping[str, Mapping[str, object]], ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of event: a time, and fields that mean something, in order."""

    name: str
    values: struct.Struct
    fields: Mapping[str, Callable[[int], object]]

    def read(self, value: bytes) -> Mapping[str, Mapping[str, object]]:
        if len(value) != self.values.size:
            raise ValueError(f"{self.name} has {len(value)} bytes")
        at, *numbers = self.values.unpack(value)
        pairs = zip(self.fields.items(), numbers, strict=True)
        said = {field: meaning(number) for (field, meaning), number in pairs}
        return {self.name: {**said, "timestamp_ms": at}}


def _character(code: int) -> str:
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _of(*words: str) -> Callable[[int], str]:
    def word(number: int) -> str:
        if number < len(words):
            return words[number]
        raise ValueError(f"{number} stands for nothing")

    return word


_PHASE: Final = _of("awaiting", "booting", "parked", "stream_exercise")
_CHOICE: Final = _of("retry", "ignore", "abort")
_SIZES: Final = dict.fromkeys(("requested_w", "requested_h", "applied_w", "applied_h"), int)
_KINDS: Final = {
    0x01: _Kind("keypress", struct.Struct("<QHH"), {"unicode": _character, "scancode": int}),
    0x02: _Kind("line_rendered", struct.Struct("<QH"), {"row": int}),
    0x03: _Kind("scene_transition", struct.Struct("<QBB"), {"from": _PHASE, "to": _PHASE}),
    0x04: _Kind("bootloader_decision", struct.Struct("<QBI"), {"choice": _CHOICE, "attempt": int}),
    0x05: _Kind("paste_received", struct.Struct("<QHB"), {"len": int, "correct": bool}),
    0x06: _Kind("bootloader_timeout", struct.Struct("<Q"), {}),
    0x07: _Kind("mode_switch", struct.Struct("<QHHHH"), _SIZES),
    0x08: _Kind("mode_cycle", struct.Struct("<QIB"), {"count": int, "interrupted": bool}),
}


def available() -> bool:
    """Whether QR codes can be read here; nothing is imported for that."""
    return importlib.util.find_spec("zxingcpp") is not None


def parse(payload: bytes) -> Digest:
    """What such a code holds; kinds of events that are not known are left out.

    Raises:
        ValueError: It is no digest, one of another schema, or not whole.
    """
    hashes = _HEADER.size + len(_HASH_TAGS) * _HASH.size
    if not hashes + _TRAILER.size <= len(payload) <= PAYLOAD_MAX:
        raise ValueError(f"a digest of {len(payload)} bytes")
    magic, schema, frame, count = _HEADER.unpack_from(payload)
    if magic != _MAGIC or schema != _SCHEMA or count < len(_HASH_TAGS):
        raise ValueError("not a digest of schema 2")
    for place, wanted in enumerate(_HASH_TAGS):
        tag, size, _ = _HASH.unpack_from(payload, _HEADER.size + place * _HASH.size)
        if (tag, size) != (wanted, 4):
            raise ValueError("its checksums are not where they should be")
    (framebuffer,) = _TRAILER.unpack_from(payload, len(payload) - _TRAILER.size)
    return Digest(frame, framebuffer, _events(payload[hashes : -_TRAILER.size]))


def _events(records: bytes) -> tuple[Mapping[str, Mapping[str, object]], ...]:
    """Tag, length, value, one after the other."""
    found, at = [], 0
    while at < len(records):
        value = records[at + 2 : at + 2 + records[at + 1]] if at + 1 < len(records) else b""
        if at + 1 >= len(records) or len(value) != records[at + 1]:
            raise ValueError("an event is not whole")
        if (kind := _KINDS.get(records[at])) is not None:
            found.append(kind.read(value))
        at += 2 + len(value)
    return tuple(found)


def read(picture: Pixels) -> Digest | None:
    """The digest in a picture; None when there is none. Takes some ten milliseconds."""
    import zxingcpp

    if not picture.width or not picture.height:
        return None
    rgb = memoryview(picture.rgb()).cast("B", (picture.height, picture.width, 3))
    kinds = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    for code in zxingcpp.read_barcodes(rgb, formats=kinds):
        try:
            return parse(bytes(code.bytes))
        except ValueError as exc:
            log.debug("a QR code on the screen is no digest: %s", exc)
    return None


async def watch(
    session: Session, wanted: Callable[[], bool], tell: Callable[[Digest], None]
) -> None:
    """Look at the screen while somebody wants to know; tell of each frame once. Until cancelled."""
    drawn, last = True, -1

    def hear(heard: Heard) -> None:
        nonlocal drawn
        drawn = drawn or isinstance(heard.event, Painted | SurfaceCreated)

    with session.listening(hear):
        while True:
            await asyncio.sleep(POLL_SECONDS)
            picture = session.screen.picture() if drawn and wanted() else None
            if picture is None:
                continue
            drawn = False
            found = await asyncio.to_thread(read, picture)
            if found is not None and found.frame != last:
                last = found.frame
                tell(found)
