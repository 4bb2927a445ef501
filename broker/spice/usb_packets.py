"""What a redirected USB device and a machine say to each other: numbers, sizes, layouts.

All integers are little-endian and packed. With the capabilities that we insist on, every packet
after the two hellos begins with a header of 16 bytes, and each kind has one layout.

Source: usbredirproto.h and usbredirparser.c of usbredir 0.7 to 0.15; QEMU 7.2 `hw/usb/redirect.c`.
"""

import struct
from enum import IntEnum
from typing import Final

HELLO_HEADER: Final = struct.Struct("<III")
"""Kind, length, id; in front of each side's hello."""
HEADER: Final = struct.Struct("<IIQ")
"""The same for all that follows, with an id of 64 bits."""
VERSION_BYTES: Final = 64
"""The text that a hello begins with; words of capabilities follow it."""


class Kind(IntEnum):
    """Kinds of packets. A device answers what a machine asks, and streams what it started."""

    HELLO = 0
    DEVICE_CONNECT = 1
    DEVICE_DISCONNECT = 2
    RESET = 3
    INTERFACE_INFO = 4
    EP_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    START_ISO_STREAM = 12
    STOP_ISO_STREAM = 13
    ISO_STREAM_STATUS = 14
    START_INTERRUPT_RECEIVING = 15
    STOP_INTERRUPT_RECEIVING = 16
    INTERRUPT_RECEIVING_STATUS = 17
    CANCEL_DATA_PACKET = 21
    FILTER_REJECT = 22
    FILTER_FILTER = 23
    DEVICE_DISCONNECT_ACK = 24
    CONTROL_PACKET = 100
    BULK_PACKET = 101
    ISO_PACKET = 102
    INTERRUPT_PACKET = 103


class Cap(IntEnum):
    """What a hello offers: capability N is bit N."""

    BULK_STREAMS = 0
    CONNECT_DEVICE_VERSION = 1
    FILTER = 2
    DEVICE_DISCONNECT_ACK = 3
    EP_INFO_MAX_PACKET_SIZE = 4
    IDS_OF_64_BITS = 5
    BULK_LENGTH_OF_32_BITS = 6
    BULK_RECEIVING = 7


class Type(IntEnum):
    """Of an endpoint; the numbers of the USB specification, and one for none."""

    CONTROL = 0
    ISO = 1
    BULK = 2
    INTERRUPT = 3
    NONE = 255


DEVICE_CONNECT: Final = struct.Struct("<BBBBHHH")
INTERFACE_INFO: Final = struct.Struct("<I32s32s32s32s")
EP_INFO: Final = struct.Struct("<32s32s32s32H")
CONFIGURATION_STATUS: Final = struct.Struct("<BB")
ALT_SETTING_STATUS: Final = struct.Struct("<BBB")
STREAM_STATUS: Final = struct.Struct("<BB")
CONTROL: Final = struct.Struct("<BBBBHHH")
BULK: Final = struct.Struct("<BBHIH")
STREAM_DATA: Final = struct.Struct("<BBH")
"""Of ISO_PACKET and INTERRUPT_PACKET."""

FROM_DEVICE: Final = {
    Kind.DEVICE_CONNECT: DEVICE_CONNECT.size,
    Kind.DEVICE_DISCONNECT: 0,
    Kind.INTERFACE_INFO: INTERFACE_INFO.size,
    Kind.EP_INFO: EP_INFO.size,
    Kind.CONFIGURATION_STATUS: CONFIGURATION_STATUS.size,
    Kind.ALT_SETTING_STATUS: ALT_SETTING_STATUS.size,
    Kind.ISO_STREAM_STATUS: STREAM_STATUS.size,
    Kind.INTERRUPT_RECEIVING_STATUS: STREAM_STATUS.size,
    Kind.CONTROL_PACKET: CONTROL.size,
    Kind.BULK_PACKET: BULK.size,
    Kind.ISO_PACKET: STREAM_DATA.size,
    Kind.INTERRUPT_PACKET: STREAM_DATA.size,
}
"""What a device may say after its hello, and the fixed part of each. FILTER_FILTER is not here:
QEMU takes it, and calls a function that it never set."""
CARRIES_DATA: Final = frozenset(
    {Kind.CONTROL_PACKET, Kind.BULK_PACKET, Kind.ISO_PACKET, Kind.INTERRUPT_PACKET}
)
"""Kinds that may be longer than their fixed part."""
FROM_MACHINE: Final = {
    Kind.SET_CONFIGURATION: 1,
    Kind.SET_ALT_SETTING: 2,
    Kind.GET_ALT_SETTING: 1,
    Kind.START_ISO_STREAM: 3,
    Kind.START_INTERRUPT_RECEIVING: 1,
    Kind.CONTROL_PACKET: CONTROL.size,
    Kind.BULK_PACKET: BULK.size,
    Kind.INTERRUPT_PACKET: STREAM_DATA.size,
}
"""How much of a machine's packet has to be looked at; nothing of those that are missing."""

ENDPOINTS: Final = 32
INPUT: Final = 0x80
"""The bit of an endpoint's address, and of a request's type, that says: towards the machine."""
SUCCESS: Final = 0


def index_of(address: int) -> int:
    """Where an endpoint stands in EP_INFO: 0 to 15 are outputs, 16 to 31 inputs."""
    return (address & INPUT) >> 3 | address & 0x0F


def packet(kind: int, fixed: bytes = b"", data: bytes = b"", *, number: int = 0) -> bytes:
    """A packet with the header that follows the hellos."""
    return HEADER.pack(kind, len(fixed) + len(data), number) + fixed + data


def hello(version: bytes, caps: int) -> bytes:
    """The packet that each side begins with."""
    body = version.ljust(VERSION_BYTES, b"\0")[:VERSION_BYTES] + struct.pack("<I", caps)
    return HELLO_HEADER.pack(Kind.HELLO, len(body), 0) + body
