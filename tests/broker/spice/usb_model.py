"""QEMU's side of usbredir as a model: the assertions of `hw/usb/redirect.c` and of what it calls.

Written from QEMU 7.2 and libusbredirparser, not from our rules: it takes bytes as the parser does
and dies where QEMU does. Its guest submits, cancels and believes descriptors as drivers do.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Final

LAYOUTS: Final = {
    0: 64, 1: 10, 2: 0, 4: 132, 5: 160, 8: 2, 11: 3, 14: 2, 17: 2, 20: 9, 23: 0, 27: 6,
    100: 10, 101: 10, 102: 4, 103: 4, 104: 10,
}  # fmt: skip
"""What the parser takes from a device, and its fixed parts."""
EXTRA: Final = {0, 23, 100, 101, 102, 103, 104}
ISO, BULK, INTERRUPT, NONE = 1, 2, 3, 255


class Died(AssertionError):
    """QEMU would have."""


@dataclass
class Packet:
    """One of the guest's."""

    number: int
    kind: int
    address: int
    length: int
    body: bytes
    sent: bool = False


@dataclass
class Qemu:
    """The machine; `said` is what it has sent and nobody took yet."""

    said: bytearray = field(default_factory=bytearray)
    attached: bool = False
    types: list[int] = field(default_factory=lambda: [NONE] * 32)
    sizes: list[int] = field(default_factory=lambda: [0] * 32)
    pipeline: set[int] = field(default_factory=set)
    queues: dict[int, deque[Packet]] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    isochronous: set[int] = field(default_factory=set)
    """Endpoints that the guest's driver streams from now."""
    completed: int = 0

    def __post_init__(self) -> None:
        self._greeted = False
        self._infos = False
        self._left = b""
        self._numbers = count(0x1000, 16)
        self._described: dict[tuple[int, int, int], set[int]] = {}
        self._configuration = 0
        self._alts: dict[int, int] = {}
        self.said += struct.pack("<III", 0, 68, 0) + b"model".ljust(64, b"\0") + b"\xff\0\0\0"

    # -- what the guest does

    def control(self, its_type: int, request: int, value: int, length: int) -> None:
        address = its_type & 0x80
        fixed = struct.pack("<BBBBHHH", address, request, its_type, 0, value, 0, length)
        self._submit(Packet(0, 100, address, length, fixed + bytes(0 if address else length)))

    def configure(self, value: int) -> None:
        self._submit(Packet(0, 6, 0, 0, bytes([value])))

    def set_alt(self, interface: int, alt: int) -> None:
        self._submit(Packet(0, 9, 0, 0, bytes([interface, alt])))

    def bulk(self, address: int, length: int) -> None:
        data = b"" if address & 0x80 else bytes(length)
        fixed = struct.pack("<BBHIH", address, 0, length & 0xFFFF, 0, length >> 16)
        self._submit(Packet(0, 101, address, length, fixed + data))

    def stream(self) -> None:
        """Isochronous drivers poll: xHCI asserts that there is an answer."""
        for index in self.isochronous if self.attached else ():
            if self.types[index] not in (ISO, BULK):
                raise Died("NAK for an isochronous packet")

    def cancel(self, key: int, at: int) -> None:
        queue = self.queues.get(key)
        if queue:
            packet = queue[at % len(queue)]
            queue.remove(packet)
            self._let_go(packet)

    def _let_go(self, packet: Packet) -> None:
        if packet.sent:
            self.cancelled.append(packet.number)
            self._say(21, packet.number, b"")

    def _submit(self, packet: Packet) -> None:
        if not self.attached:
            return
        packet.number = next(self._numbers)
        key = _key(packet.address)
        queue = self.queues.setdefault(key, deque())
        kind = self.types[_index(packet.address)]
        if key and kind != BULK:
            if queue and key in self.pipeline:
                raise Died("not asynchronous behind others")
            return
        if key in self.pipeline and packet.address & 0x80 and not self.sizes[_index(key)]:
            raise Died("division by zero")
        if queue and key not in self.pipeline:
            queue.append(packet)
            return
        self._send(packet)
        queue.append(packet)

    def _send(self, packet: Packet) -> None:
        if not _key(packet.address) and {self.types[0], self.types[16]} & {ISO, INTERRUPT}:
            raise Died("endpoint 0 may not wait")
        packet.sent = True
        self._say(packet.kind, packet.number, packet.body)

    def _say(self, kind: int, number: int, body: bytes) -> None:
        self.said += struct.pack("<IIQ", kind, len(body), number) + body

    # -- what the device says

    def receive(self, data: bytes) -> None:
        self._left += data
        while True:
            form = "<IIQ" if self._greeted else "<III"
            head = struct.calcsize(form)
            if len(self._left) < head:
                return
            kind, length, number = struct.unpack_from(form, self._left)
            fixed = LAYOUTS.get(kind, -1)
            if fixed < 0 or length < fixed or (length > fixed and kind not in EXTRA):
                raise Died(f"parser: kind {kind} of {length} bytes")
            if length > 1 << 20:
                raise Died("parser: too long")
            if len(self._left) < head + length:
                return
            body = self._left[head : head + length]
            self._left = self._left[head + length :]
            self._take(kind, number, body[:fixed], body[fixed:])

    def _take(self, kind: int, number: int, fixed: bytes, data: bytes) -> None:
        match kind:
            case 0:
                if self._greeted or data[0] & 0x7E != 0x7E or data[0] & 0x81:
                    raise Died("a hello too much, or with what it must not offer")
                self._greeted = True
            case 1:
                if not self.attached:
                    self.attached = self._infos
                    if not self._infos:
                        self._say(22, 0, b"")
            case 2:
                self._detach()
                self._say(24, 0, b"")
            case 4:
                if int.from_bytes(fixed[:4], "little") > 32:
                    raise Died("parser: interfaces")
                self._infos = True
            case 5:
                self._endpoints(fixed)
            case 23 | 27 | 104 | 20:
                raise Died("a call of nothing, or a device that was told not to")
            case 17:
                if not fixed[1] & 0x80:
                    raise Died("parser: status of an output")
            case 102 | 103:
                self._streamed(kind, fixed, data)
            case 8 | 11 | 100 | 101:
                self._completed(kind, number, fixed, data)

    def _endpoints(self, fixed: bytes) -> None:
        for index in range(32):
            self.types[index] = fixed[index]
            self.sizes[index] = int.from_bytes(fixed[96 + 2 * index :][:2], "little")
            if fixed[index] not in (0, ISO, BULK, INTERRUPT, NONE) or (
                fixed[index] in (ISO, INTERRUPT) and not fixed[32 + index]
            ):
                self._say(22, 0, b"")
                self._detach()
                return
            if index % 16 and fixed[index] == BULK and (self.sizes[index] or index < 16):
                self.pipeline.add((index & 0x10) << 3 | index & 15)

    def _detach(self) -> None:
        for queue in self.queues.values():
            for packet in queue:
                if packet.sent:
                    self._say(21, packet.number, b"")
        self.queues, self.cancelled, self.pipeline = {}, [], set()
        self.attached = self._infos = False
        self.types, self.sizes = [0] * 32, [0] * 32
        self.isochronous = set()

    def _streamed(self, kind: int, fixed: bytes, data: bytes) -> None:
        address, _, length = struct.unpack("<BBH", fixed)
        if address & 0x80:
            if len(data) != length:
                raise Died("parser: length")
        elif data or kind == 102:
            raise Died("parser: wrong direction")

    def _completed(self, kind: int, number: int, fixed: bytes, data: bytes) -> None:
        address, length, status = 0, 0, fixed[0]
        if kind == 100:
            address, _, _, status, _, _, length = struct.unpack("<BBBBHHH", fixed)
        elif kind == 101:
            address, status, low, _, high = struct.unpack("<BBHIH", fixed)
            length = high << 16 | low
        if kind > 99 and len(data) != (length if address & 0x80 else 0):
            raise Died("parser: length")
        key = _key(address if kind == 101 else 0)
        if not self.attached:
            return
        if number in self.cancelled:
            self.cancelled.remove(number)
            return
        queue = self.queues.get(key, deque())
        found = [packet for packet in queue if packet.number == number]
        if not found:
            return
        if not found[0].sent:
            raise Died("completed before it was sent")
        if queue[0] is not found[0]:
            raise Died("completed out of order")
        if kind > 99 and length > found[0].length:
            raise Died("completed with more than there is room for")
        queue.popleft()
        self.completed += 1
        self._believe(found[0], status, data)
        if status:  # the endpoint halts
            while queue:
                self._let_go(queue.popleft())
        elif queue and not queue[0].sent:
            if key and self.types[_index(key)] != BULK:
                raise Died("NAK for a queued packet")
            self._send(queue[0])

    def _believe(self, asked: Packet, status: int, data: bytes) -> None:
        """What the guest makes of an answer; it streams from what it was told is isochronous."""
        if asked.kind == 100 and asked.body[1:3] == b"\x06\x80" and asked.body[5] == 2:
            self._read(data)
        elif asked.kind == 6 and not status:
            self._configuration, self._alts = asked.body[0], {}
        elif asked.kind == 9 and not status:
            self._alts[asked.body[0]] = asked.body[1]
        else:
            return
        self.isochronous = (
            {
                index
                for (value, interface, alt), indices in self._described.items()
                if value == self._configuration and self._alts.get(interface, 0) == alt
                for index in indices
            }
            if asked.kind != 100
            else self.isochronous
        )

    def _read(self, data: bytes) -> None:
        setting = (data[5] if len(data) > 5 else 0, 0, 0)
        described: dict[tuple[int, int, int], set[int]] = {}
        while len(data) > 1 and 2 <= data[0] <= len(data):
            if data[1] == 4 and data[0] >= 9:
                setting = (setting[0], data[2], data[3])
            elif data[1] == 5 and data[0] >= 7 and data[3] & 3 == 1:
                described.setdefault(setting, set()).add(_index(data[2]))
            data = data[data[0] :]
        self._described.update(described)


def _key(address: int) -> int:
    return address if address & 15 else 0


def _index(address: int) -> int:
    return (address & 0x80) >> 3 | address & 15
