"""Both directions of a redirected USB device, as they run through the messages of a channel.

Bytes come in any pieces. A packet's fixed part waits until it is whole and judged; its data then
passes as it comes, so that little is held whatever a device sends. Bulk streams and buffered bulk
input are taken out of both hellos: QEMU aborts and corrupts its memory over them, and no size or
order that could be checked here would help. Devices work without.

Source: usbredir's `usb-redirection-protocol.txt`; `usb_packets` has the layouts.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from broker.spice.constants import caps_of
from broker.spice.errors import RemoteProtocolError
from broker.spice.usb_device import Device
from broker.spice.usb_packets import (
    CARRIES_DATA,
    FROM_DEVICE,
    FROM_MACHINE,
    HEADER,
    HELLO_HEADER,
    VERSION_BYTES,
    Cap,
    Kind,
)
from broker.spice.wire import U32

NEEDED: Final = caps_of(
    Cap.CONNECT_DEVICE_VERSION,
    Cap.FILTER,
    Cap.DEVICE_DISCONNECT_ACK,
    Cap.EP_INFO_MAX_PACKET_SIZE,
    Cap.IDS_OF_64_BITS,
    Cap.BULK_LENGTH_OF_32_BITS,
)
"""Both sides must offer these: they fix the layouts, QEMU's xHCI asks for them too, and without
two of them nobody could tell which device an answer is for. usbredir has all since 0.6 (2012)."""
HELLO_MAX: Final = VERSION_BYTES + 64
"""Bytes of a hello behind its header; there is one word of capabilities today."""
_HELLO_MASK: Final = (
    b"\xff" * VERSION_BYTES + NEEDED.to_bytes(4, "little") + bytes(HELLO_MAX - VERSION_BYTES - 4)
)
"""What of a hello's body passes, bit by bit: no capability that nobody here knows."""

_Script = Generator[int, memoryview, None]
"""Over one direction: yields the most bytes that it can use, and is sent some of them."""


class UsbRedirection:
    """One channel's two directions."""

    def __init__(self) -> None:
        self._device = Device()
        self._machine_caps: int | None = None
        self._passed: list[bytes | memoryview] = []
        self._viewer = self._viewer_speaks()
        self._viewer_wants = next(self._viewer)
        self._machine = self._machine_speaks()
        self._machine_wants = next(self._machine)

    @property
    def greeted(self) -> bool:
        """Whether the machine's hello has passed; from then on what it says is not changed."""
        return self._machine_caps is not None

    def from_viewer(self, data: memoryview) -> tuple[bytes, str]:
        """What of the bytes that the viewer sent may go to QEMU now.

        Returns:
            Those bytes, changed where need be, and why nothing may follow them: a stable
            kebab-case reason, empty while all is well.
        """
        self._passed = []
        try:
            while data:
                wanted = self._viewer_wants
                self._viewer_wants = self._viewer.send(data[:wanted])
                data = data[wanted:]
        except RemoteProtocolError as exc:
            return b"".join(self._passed), str(exc)
        return b"".join(self._passed), ""

    def from_machine(self, data: memoryview) -> tuple[bytes | memoryview, str]:
        """The same for what QEMU sent; as many bytes come out as went in, or none."""
        passed: bytes | memoryview = data
        rest = data
        self._passed = []
        greeted = self.greeted
        try:
            while rest:
                wanted = self._machine_wants
                self._machine_wants = self._machine.send(rest[:wanted])
                rest = rest[wanted:]
                if self.greeted and not greeted:
                    greeted = True
                    self._passed.append(rest)
        except RemoteProtocolError as exc:
            return b"", str(exc)
        if self._passed:
            passed = b"".join(self._passed)
        return passed, ""

    def _viewer_speaks(self) -> _Script:
        header = yield from _exactly(HELLO_HEADER.size)
        kind, length, _ = HELLO_HEADER.unpack(header)
        if kind != Kind.HELLO or not VERSION_BYTES + U32.size <= length <= HELLO_MAX:
            raise RemoteProtocolError("usb-hello")
        body = yield from _exactly(length)
        (caps,) = U32.unpack_from(body, VERSION_BYTES)
        if caps & NEEDED != NEEDED:
            raise RemoteProtocolError("usb-capabilities")
        self._passed += (header, _masked(body, 0))
        while True:
            header = yield from _exactly(HEADER.size)
            yield from self._viewer_packet(header)

    def _viewer_packet(self, header: bytes) -> _Script:
        if self._machine_caps is None:
            raise RemoteProtocolError("usb-too-early")
        if self._machine_caps & NEEDED != NEEDED:
            raise RemoteProtocolError("usb-capabilities")
        kind, length, number = HEADER.unpack(header)
        if kind not in FROM_DEVICE:
            raise RemoteProtocolError("usb-kind")
        left = length - FROM_DEVICE[kind]
        if left < 0 or (left and kind not in CARRIES_DATA):
            raise RemoteProtocolError("usb-length")
        fixed = yield from _exactly(FROM_DEVICE[kind])
        judged = self._device.says(kind, number, fixed, left)
        if judged is None:
            while left:
                left -= len((yield left))
            return
        if self._device.describes:
            data = yield from _exactly(left)
            self._device.described(data)
            self._passed += (header, judged, data)
            return
        self._passed += (header, judged)
        while left:
            piece = yield left
            self._passed.append(piece)
            left -= len(piece)

    def _machine_speaks(self) -> _Script:
        header = yield from self._echoed(HELLO_HEADER.size)
        kind, length, _ = HELLO_HEADER.unpack(header)
        if kind != Kind.HELLO or not VERSION_BYTES <= length <= HELLO_MAX:
            raise RemoteProtocolError("usb-machine")
        body = yield from self._echoed(length, masked=True)
        self._machine_caps = int.from_bytes(body[VERSION_BYTES:][: U32.size], "little")
        while True:
            header = yield from _exactly(HEADER.size)
            kind, length, number = HEADER.unpack(header)
            looked_at = FROM_MACHINE.get(kind, 0)
            if length < looked_at:
                raise RemoteProtocolError("usb-machine")
            fixed = yield from _exactly(looked_at)
            self._device.is_told(kind, number, fixed)
            length -= looked_at
            while length:
                length -= len((yield length))

    def _echoed(self, size: int, *, masked: bool = False) -> Generator[int, memoryview, bytes]:
        """As `_exactly`, but what comes passes at once: a message's length is fixed."""
        taken = bytearray()
        while len(taken) < size:
            piece: bytes | memoryview = yield size - len(taken)
            if masked:
                piece = _masked(piece, len(taken))
            taken += piece
            self._passed.append(piece)
        return bytes(taken)


def _exactly(size: int) -> Generator[int, memoryview, bytes]:
    taken = bytearray()
    while len(taken) < size:
        taken += yield size - len(taken)
    return bytes(taken)


def _masked(piece: bytes | memoryview, start: int) -> bytes:
    """A part of a hello's body that begins at `start`, without what may not be offered."""
    return bytes(a & b for a, b in zip(piece, _HELLO_MASK[start:], strict=False))
