"""Attacks from inside a redirected USB device, by name.

Some need no more than a channel, others a guest that uses the device: the machine's BIOS does,
when the viewer presses Ctrl-Alt-Del.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from broker.demo import image_bytes
from broker.spice.usb_packets import (
    BULK,
    CONTROL,
    DEVICE_CONNECT,
    ENDPOINTS,
    HEADER,
    HELLO_HEADER,
    STREAM_DATA,
    Kind,
    Type,
    hello,
    index_of,
    packet,
)
from broker.spice.wire import message
from tests.adversary.link import Assault
from tests.adversary.usb_stick import (
    BULK_IN,
    BULK_OUT,
    CAPS,
    CONNECT,
    INTERRUPT_IN,
    PLUGGED_IN,
    Stick,
    endpoint_info,
    interface_info,
)
from tests.adversary.usb_talk import Talk, redirecting, restart

Play = Callable[[Assault], Awaitable[None]]
Twist = Callable[[Talk, int, bytes], list[bytes]]
"""What becomes of an answer of that kind."""
IMAGE: Final = image_bytes()
USE_SECONDS: Final = 2.5
"""A BIOS asks for the boot sector after a quarter of a second."""
BUFFERED_BULK: Final = 104
FTDI: Final = DEVICE_CONNECT.pack(2, 0, 0, 0, 0x0403, 0x6001, 0x100)
"""DEVICE_CONNECT of a serial adapter, whose bulk input QEMU reads ahead."""
REST: Final = bytes(40)
"""What the parser did not take is still there when it is called again: QEMU asserts."""


def says(*packets: bytes, plugged: bool = False, caps: int = CAPS) -> Play:
    """Say that twice, with something behind it."""

    async def play(them: Assault) -> None:
        async with redirecting(them, Stick(IMAGE, caps), plugged=plugged) as talk:
            for _ in range(2):
                await talk.say(*packets, REST)
                with contextlib.suppress(TimeoutError):
                    await talk.until(lambda: False, 0.15)

    return play


def raw(*said: bytes) -> Play:
    """Say that on the channel itself, after the greetings."""

    async def play(them: Assault) -> None:
        async with redirecting(them, Stick(IMAGE), plugged=True) as talk:
            for each in said:
                await talk.say_raw(each)
                with contextlib.suppress(TimeoutError):
                    await talk.until(lambda: False, 0.15)

    return play


def used(twist: Twist, *plugging: bytes) -> Play:
    """Plug in, be used by the BIOS, and answer it in another way than it expects."""

    async def play(them: Assault) -> None:
        stick = Stick(IMAGE)
        async with redirecting(them, stick, plugged=False) as talk:

            def twisted(answer: bytes) -> list[bytes]:
                kind, _, _ = HEADER.unpack_from(answer)
                return twist(talk, kind, answer)

            talk.twist = twisted
            await talk.say(*(plugging or (PLUGGED_IN,)))
            await restart(them, talk.session)
            with contextlib.suppress(TimeoutError):
                await talk.until(lambda: stick.sectors_read > 0, USE_SECONDS)

    return play


def honest(_talk: Talk, _kind: int, answer: bytes) -> list[bytes]:
    return [answer]


def _plugging(info: bytes, connect: bytes = CONNECT) -> tuple[bytes, ...]:
    return (
        packet(Kind.INTERFACE_INFO, interface_info()),
        packet(Kind.EP_INFO, info),
        packet(Kind.DEVICE_CONNECT, connect),
    )


def _types(**kinds: int) -> tuple[int, ...]:
    types = list(endpoint_info()[:ENDPOINTS])
    for name, kind in kinds.items():
        types[index_of(int(name[1:], 16))] = kind
    return tuple(types)


ALWAYS: Final = (1,) * ENDPOINTS
"""Intervals; QEMU throws a device out for one of 0."""


def _sizes(address: int, size: int) -> tuple[int, ...]:
    sizes = [512] * ENDPOINTS
    sizes[index_of(address)] = size
    return tuple(sizes)


def _instead(which: int, other: bytes) -> Twist:
    """Another packet instead of one of that kind."""

    def twist(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
        return [packet(which, other)] if kind == which else [answer]

    return twist


def _before(which: int, *others: bytes) -> Twist:
    """Others in front of an answer of that kind."""

    def twist(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
        return [*others, answer] if kind == which else [answer]

    return twist


def _behind(which: int, *others: bytes) -> Twist:
    """Others behind an answer of that kind."""

    def twist(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
        return [answer, *others] if kind == which else [answer]

    return twist


def twice(_talk: Talk, _kind: int, answer: bytes) -> list[bytes]:
    return [answer, answer]


def never_ending(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
    """Once QEMU reads ahead of its guest: packets of nothing, in a loop that ends nowhere."""
    if kind == Kind.EP_INFO:
        return [packet(kind, SMALL)]
    if kind == Kind.BULK_PACKET:
        header = struct.pack("<IIBB", 0, 8, BULK_IN, 0)
        return [
            answer,
            packet(Kind.EP_INFO, endpoint_info(sizes=_sizes(BULK_IN, 0))),
            packet(BUFFERED_BULK, header, bytes(8)),
        ]
    return [answer]


def overflowing(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
    """More read ahead than QEMU keeps: it frees what it still holds."""
    if kind == Kind.EP_INFO:
        return [packet(kind, TINY)]
    if kind == Kind.BULK_PACKET:
        header = struct.pack("<IIBB", 0, 30_000, BULK_IN, 0)
        return [answer, *[packet(BUFFERED_BULK, header, bytes(30_000))] * 3]
    return [answer]


def lying_output(_talk: Talk, kind: int, answer: bytes) -> list[bytes]:
    """More was written than there was."""
    if kind != Kind.BULK_PACKET or answer[HEADER.size] != BULK_OUT:
        return [answer]
    number = HEADER.unpack_from(answer)[2]
    return [packet(kind, BULK.pack(BULK_OUT, 0, 0xFFFF, 0, 0xFF), number=number)]


def _data(kind: int, endpoint: int, size: int, told: int | None = None) -> bytes:
    fixed = STREAM_DATA.pack(endpoint, 0, size if told is None else told)
    return packet(kind, fixed, bytes(size))


def _zero(kind: Type) -> bytes:
    return endpoint_info(types=_types(x00=kind, x80=kind), intervals=ALWAYS)


SMALL: Final = endpoint_info(sizes=_sizes(BULK_IN, 4))
TINY: Final = endpoint_info(sizes=_sizes(BULK_IN, 1))
GREETED: Final[dict[str, Play]] = {
    "an unknown packet": says(packet(77, bytes(9))),
    "a packet for the other side": says(packet(Kind.RESET)),
    "a hello again": says(hello(b"again", CAPS)),
    "a hello of 200 MiB": raw(message(101, HELLO_HEADER.pack(0, 200 << 20, 0) + REST) * 2),
    "EP_INFO too short": says(packet(Kind.EP_INFO, bytes(96))),
    "EP_INFO too long": says(packet(Kind.EP_INFO, bytes(300))),
    "DEVICE_CONNECT with data": says(packet(Kind.DEVICE_CONNECT, CONNECT, bytes(20))),
    "33 interfaces": says(packet(Kind.INTERFACE_INFO, interface_info(33))),
    "a filter": says(packet(Kind.FILTER_FILTER, b"", b"-1,-1,-1,-1,1\0")),
    "a filter that does not end": says(packet(Kind.FILTER_FILTER, b"", b"-1,-1")),
    "an acknowledgement": says(packet(Kind.DEVICE_DISCONNECT_ACK)),
    "a rejection": says(packet(Kind.FILTER_REJECT)),
    "no hello": raw(message(101, packet(77, bytes(50))) * 3),
    "no 64 bit ids": says(PLUGGED_IN, caps=0),
    "bulk data shorter than told": says(
        packet(Kind.BULK_PACKET, BULK.pack(BULK_IN, 0, 900, 0, 0), bytes(9)), plugged=True
    ),
    "bulk data that an output sends": says(
        packet(Kind.BULK_PACKET, BULK.pack(BULK_OUT, 0, 9, 0, 0), bytes(9)), plugged=True
    ),
    "bulk data of 2 GiB": says(
        packet(Kind.BULK_PACKET, BULK.pack(BULK_IN, 0, 0, 0, 0x8000)), plugged=True
    ),
    "control data of the wrong length": says(
        packet(Kind.CONTROL_PACKET, CONTROL.pack(0x80, 6, 0x80, 0, 0x100, 0, 99), bytes(18)),
        plugged=True,
    ),
    "isochronous data from an output": says(_data(Kind.ISO_PACKET, 2, 9), plugged=True),
    "isochronous data from nowhere": says(_data(Kind.ISO_PACKET, 0x8F, 9), plugged=True),
    "interrupt data shorter than told": says(
        _data(Kind.INTERRUPT_PACKET, INTERRUPT_IN, 4, 8), plugged=True
    ),
    "an interrupt status of an output": says(
        packet(Kind.INTERRUPT_RECEIVING_STATUS, b"\0\2"), plugged=True
    ),
    "a status of read-ahead": says(packet(27, bytes(6)), plugged=True),
    "a status of streams": says(packet(20, bytes(9)), plugged=True),
    "in and out a hundred times": says(
        *(PLUGGED_IN, packet(Kind.DEVICE_DISCONNECT)) * 100, plugged=True
    ),
    "compressed": raw(message(102, struct.pack("<BI", 1, 64) + b"\x1f\0\1\0" + REST) * 2),
    "half a packet, then gone": raw(message(101, packet(Kind.EP_INFO, endpoint_info())[:70])),
}
USED: Final[dict[str, Play]] = {
    "endpoint 0 is isochronous": used(honest, *_plugging(_zero(Type.ISO))),
    "endpoint 0 is for interrupts": used(honest, *_plugging(_zero(Type.INTERRUPT))),
    "bulk packets of 0 bytes": used(
        _instead(Kind.EP_INFO, endpoint_info(sizes=_sizes(BULK_IN, 0)))
    ),
    "bulk turns into something else": used(
        _behind(
            Kind.BULK_PACKET,
            packet(
                Kind.EP_INFO,
                endpoint_info(types=_types(x81=Type.INTERRUPT, x02=Type.ISO), intervals=ALWAYS),
            ),
        )
    ),
    "each answer twice": used(twice),
    "out while it is used": used(_before(Kind.BULK_PACKET, packet(Kind.DEVICE_DISCONNECT))),
    "another while it is used": used(
        _before(Kind.BULK_PACKET, packet(Kind.DEVICE_DISCONNECT), PLUGGED_IN)
    ),
    "more written than there was": used(lying_output),
    "read-ahead that never ends": used(never_ending, *_plugging(SMALL, FTDI)),
    "read-ahead that overflows": used(overflowing, *_plugging(TINY, FTDI)),
}
USB: Final = {f"USB: {name}": play for name, play in {**GREETED, **USED}.items()}
"""What nobody but a reader of the USB protocol stops."""
ALIVE: Final = frozenset(
    f"USB: {name}"
    for name in (
        *("compressed", "half a packet, then gone", "bulk turns into something else"),
        *("each answer twice", "out while it is used", "another while it is used"),
        *("more written than there was", "read-ahead that never ends", "read-ahead that overflows"),
        "in and out a hundred times",
    )
)
"""Those that a bare QEMU 7.2 was seen to survive, with its BIOS for a guest."""
KILL_BARE: Final = tuple(name for name in USB if name not in ALIVE)
