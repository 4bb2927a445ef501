"""A USB stick that exists only here: enough of one for a BIOS to boot from.

It speaks the viewer's side of usbredir: it plugs itself in, answers control transfers, and keeps a
disk behind two bulk endpoints (USB mass storage, bulk only). Sans-IO: the machine's bytes in, the
device's bytes out.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from broker.spice.constants import caps_of
from broker.spice.usb_packets import (
    BULK,
    CONTROL,
    DEVICE_CONNECT,
    ENDPOINTS,
    EP_INFO,
    HEADER,
    HELLO_HEADER,
    INPUT,
    INTERFACE_INFO,
    Kind,
    Type,
    hello,
    index_of,
    packet,
)

CAPS: Final = caps_of(*range(1, 8))
"""What spice-gtk offers, without bulk streams: they change how EP_INFO looks."""
BULK_IN, BULK_OUT, INTERRUPT_IN = 0x81, 0x02, 0x83
SECTOR: Final = 512
STALL: Final = 4

DEVICE: Final = struct.pack(
    "<BBHBBBBHHHBBBB", 18, 1, 0x200, 0, 0, 0, 64, 0x46F4, 0x0001, 0x100, 1, 2, 3, 1
)
CONFIGURATION: Final = (
    struct.pack("<BBHBBBBB", 9, 2, 39, 1, 1, 0, 0x80, 50)
    + struct.pack("<9B", 9, 4, 0, 0, 3, 8, 6, 0x50, 0)
    + struct.pack("<BBBBHB", 7, 5, BULK_IN, 2, 512, 0)
    + struct.pack("<BBBBHB", 7, 5, BULK_OUT, 2, 512, 0)
    + struct.pack("<BBBBHB", 7, 5, INTERRUPT_IN, 3, 8, 8)
)


def endpoint_info(**changed: tuple[int, ...]) -> bytes:
    """The fixed part of EP_INFO: of the stick, or with others than its own.

    Args:
        changed: Columns by name, `types`, `intervals`, `interfaces` or `sizes`.
    """
    types, intervals, sizes = [255] * ENDPOINTS, [0] * ENDPOINTS, [0] * ENDPOINTS
    for address, kind, size, interval in (
        (0x00, Type.CONTROL, 64, 0),
        (0x80, Type.CONTROL, 64, 0),
        (BULK_IN, Type.BULK, 512, 0),
        (BULK_OUT, Type.BULK, 512, 0),
        (INTERRUPT_IN, Type.INTERRUPT, 8, 8),
    ):
        index = index_of(address)
        types[index], intervals[index], sizes[index] = kind, interval, size
    columns = {
        "types": tuple(types),
        "intervals": tuple(intervals),
        "interfaces": (0,) * ENDPOINTS,
        "sizes": tuple(sizes),
        **changed,
    }
    return EP_INFO.pack(
        *(bytes(columns[name]) for name in ("types", "intervals", "interfaces")), *columns["sizes"]
    )


def interface_info(count: int = 1) -> bytes:
    """The fixed part of INTERFACE_INFO."""
    one = (bytes([value]).ljust(32, b"\0") for value in (0, 8, 6, 0x50))
    return INTERFACE_INFO.pack(count, *one)


CONNECT: Final = DEVICE_CONNECT.pack(2, 0, 0, 0, 0x46F4, 0x0001, 0x100)
PLUGGED_IN: Final = (
    packet(Kind.INTERFACE_INFO, interface_info())
    + packet(Kind.EP_INFO, endpoint_info())
    + packet(Kind.DEVICE_CONNECT, CONNECT)
)


class Stick:
    """One stick.

    Args:
        image: What is on it, in sectors of 512 bytes.
    """

    def __init__(self, image: bytes, caps: int = CAPS) -> None:
        self.heard: list[tuple[int, int, bytes]] = []
        """Kind, id and body of each packet of the machine's."""
        self.machine_caps = 0
        self.sectors_read = 0
        self.greeting = hello(b"a stick in a test", caps)
        self._image = image
        self._buffer = b""
        self._waiting: deque[tuple[int, bytes]] = deque()
        """Ids and fixed parts of requests for bulk input."""
        self._ready: deque[bytes] = deque()
        """What they are answered with."""

    def kinds(self) -> list[int]:
        """What the machine has said so far."""
        return [kind for kind, _, _ in self.heard]

    def receive(self, data: bytes) -> list[bytes]:
        """Take the machine's bytes; the packets that this device answers with."""
        self._buffer += data
        answers: list[bytes] = []
        while True:
            form = HEADER if self.heard else HELLO_HEADER
            if len(self._buffer) < form.size:
                return answers
            kind, length, number = form.unpack_from(self._buffer)
            if len(self._buffer) < form.size + length:
                return answers
            body = self._buffer[form.size : form.size + length]
            self._buffer = self._buffer[form.size + length :]
            self.heard.append((kind, number, body))
            answers += self._answers(kind, number, body)

    def _answers(self, kind: int, number: int, body: bytes) -> list[bytes]:
        match kind:
            case Kind.HELLO:
                (self.machine_caps,) = struct.unpack_from("<I", body, 64)
                return []
            case Kind.SET_CONFIGURATION:
                return [
                    packet(Kind.INTERFACE_INFO, interface_info()),
                    packet(Kind.EP_INFO, endpoint_info()),
                    packet(Kind.CONFIGURATION_STATUS, bytes([0, body[0]]), number=number),
                ]
            case Kind.GET_CONFIGURATION:
                return [packet(Kind.CONFIGURATION_STATUS, b"\0\1", number=number)]
            case Kind.SET_ALT_SETTING | Kind.GET_ALT_SETTING:
                fixed = bytes([0, body[0], *(body[1:2] or b"\0")])
                return [packet(Kind.ALT_SETTING_STATUS, fixed, number=number)]
            case Kind.CONTROL_PACKET:
                return [self._control(number, body)]
            case Kind.BULK_PACKET:
                return self._bulk(number, body)
            case Kind.START_INTERRUPT_RECEIVING | Kind.STOP_INTERRUPT_RECEIVING:
                return [packet(Kind.INTERRUPT_RECEIVING_STATUS, bytes([0, body[0]]), number=number)]
            case _:
                return []

    def _control(self, number: int, body: bytes) -> bytes:
        endpoint, request, its_type, _, value, index, length = CONTROL.unpack_from(body)
        data: bytes | None = b""
        if (its_type, request) == (INPUT, 6):
            text = b"\x0c\x03" + "stick".encode("utf-16-le")
            data = {1: DEVICE, 2: CONFIGURATION, 3: text}.get(value >> 8)
        elif (its_type, request) == (0xA1, 0xFE):
            data = b"\0"  # GET_MAX_LUN
        status = STALL if data is None else 0
        data = (data or b"")[:length] if endpoint & INPUT else b""
        announced = len(data) if endpoint & INPUT else length
        fixed = CONTROL.pack(endpoint, request, its_type, status, value, index, announced)
        return packet(Kind.CONTROL_PACKET, fixed, data, number=number)

    def _bulk(self, number: int, body: bytes) -> list[bytes]:
        endpoint, _, low, stream, high = BULK.unpack_from(body)
        answers = []
        if endpoint & INPUT:
            self._waiting.append((number, body[: BULK.size]))
        else:
            answers.append(
                packet(Kind.BULK_PACKET, BULK.pack(endpoint, 0, low, stream, high), number=number)
            )
            self._command(body[BULK.size :])
        while self._waiting and self._ready:
            number, asked = self._waiting.popleft()
            endpoint, _, low, stream, high = BULK.unpack(asked)
            data = self._ready.popleft()
            room = high << 16 | low
            if len(data) > room:
                self._ready.appendleft(data[room:])
                data = data[:room]
            fixed = BULK.pack(endpoint, 0, len(data) & 0xFFFF, stream, len(data) >> 16)
            answers.append(packet(Kind.BULK_PACKET, fixed, data, number=number))
        return answers

    def _command(self, block: bytes) -> None:
        """A command block of mass storage; its data and its status become ready."""
        if len(block) != 31 or block[:4] != b"USBC":
            return
        tag, wanted, flags = struct.unpack_from("<IIB", block, 4)
        code = block[15:]
        data, failed = self._scsi(code)
        if data and flags & INPUT:
            self._ready.append(data[:wanted])
        left = wanted - min(len(data), wanted)
        self._ready.append(struct.pack("<4sIIB", b"USBS", tag, left, failed))

    def _scsi(self, code: bytes) -> tuple[bytes, bool]:
        sectors = len(self._image) // SECTOR
        match code[0]:
            case 0x00:  # TEST UNIT READY
                return b"", False
            case 0x03:  # REQUEST SENSE
                return bytes([0x70, 0, 5, 0, 0, 0, 0, 10, *bytes(10)]), False
            case 0x12:  # INQUIRY
                return bytes([0, 0x80, 4, 2, 31, 0, 0, 0]) + b"broker  stick           1   ", False
            case 0x25:  # READ CAPACITY
                return struct.pack(">II", sectors - 1, SECTOR), False
            case 0x28:  # READ(10)
                first, count = struct.unpack_from(">IxH", code, 2)
                self.sectors_read += count
                return self._image[first * SECTOR : (first + count) * SECTOR], False
            case _:
                return b"", True
