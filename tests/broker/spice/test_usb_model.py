"""Whatever a device says, and whenever: a model of QEMU behind our judgement does not die."""

from __future__ import annotations

import os
import struct
from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.spice.usb_packets import CONTROL, HEADER, Kind, Type, hello, packet
from broker.spice.usbredir import UsbRedirection
from tests.adversary.usb_stick import (
    BULK_IN,
    BULK_OUT,
    CAPS,
    CONFIGURATION,
    CONNECT,
    endpoint_info,
    interface_info,
)
from tests.broker.spice.usb_model import Died, Qemu

STEPS = 60
TRIES = int(os.environ.get("USB_TRIES", "1500"))
ISO_IN = 0x84


def configuration(draw: Random) -> bytes:
    """Of a device with an interface that has an isochronous endpoint, perhaps, in one setting."""

    def endpoint(address: int, kind: int) -> bytes:
        return struct.pack("<BBBBHB", 7, 5, address, kind, 512, 1)

    said = struct.pack("<9B", 9, 4, 0, 0, 2, 8, 6, 0x50, 0)
    said += endpoint(BULK_IN, 2) + endpoint(BULK_OUT, 2)
    for alt in range(3):
        said += struct.pack("<9B", 9, 4, 1, alt, 1, 1, 2, 0, 0)
        if draw.random() < 0.5:
            said += endpoint(ISO_IN, draw.choice((1, 1, 3, 5)))
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(said), 2, 1, 0, 0x80, 50) + said


class World:
    """A device, our judgement and the model, with bytes under way in both directions."""

    def __init__(self, draw: Random, wrong: float) -> None:
        self.draw, self.wrong = draw, wrong
        self.qemu = Qemu()
        self.spoken = UsbRedirection()
        self.to_qemu = b""
        self.reason = ""
        self.asked: deque[tuple[int, int, bytes]] = deque()
        self._left = b""
        self._greeted = False
        self._numbers = [0, 0x1000]
        self.types = list(endpoint_info()[:32])

    def described(self) -> bytes:
        return configuration(self.draw)

    def info(self) -> bytes:
        draw, types, sizes = self.draw, list(self.types), [512] * 32
        for _ in range(draw.randrange(3)):
            index = draw.choice((17, 2, 19, 20, 20, 20, 0, 16))
            types[index] = draw.choice((Type.NONE, Type.ISO, Type.BULK, Type.INTERRUPT, 0))
        if draw.random() < 0.1:
            sizes[17] = 0
        if draw.random() < 0.9:
            types[0] = types[16] = 0
        return endpoint_info(
            types=tuple(types), sizes=tuple(sizes), intervals=(int(draw.random() < 0.97),) * 32
        )

    def plugging(self) -> list[bytes]:
        return [
            packet(Kind.INTERFACE_INFO, interface_info()),
            packet(Kind.EP_INFO, self.info()),
            packet(Kind.DEVICE_CONNECT, CONNECT),
        ]

    def answer(self) -> list[bytes]:
        """To the oldest request, or another."""
        if not self.asked:
            return []
        at = self.draw.randrange(len(self.asked)) if self.draw.random() < self.wrong else 0
        kind, number, body = self.asked[at]
        if self.draw.random() >= self.wrong:
            del self.asked[at]
        status = self.draw.choice((0, 0, 0, 0, 1, 4))
        match kind:
            case 6:
                fixed = bytes([status, body[0]])
                more = [packet(Kind.EP_INFO, self.info())] if self.draw.random() < 0.7 else []
                return [*more, packet(Kind.CONFIGURATION_STATUS, fixed, number=number)]
            case 9:
                more = [packet(Kind.EP_INFO, self.info())] if self.draw.random() < 0.7 else []
                fixed = bytes([status, *body])
                return [*more, packet(Kind.ALT_SETTING_STATUS, fixed, number=number)]
            case 100:
                address, *rest, length = CONTROL.unpack_from(body)
                data = self.described()[:length] if address else b""
                fixed = CONTROL.pack(address, *rest, len(data) if address else length)
                return [packet(100, fixed, data, number=number)]
            case 101:
                address, _, low, stream, high = struct.unpack_from("<BBHIH", body)
                low = self.draw.choice((low, low // 2, 0))
                fixed = struct.pack("<BBHIH", address, status, low, stream, high)
                return [packet(101, fixed, bytes(low if address & 0x80 else 0), number=number)]
        return []

    def device_acts(self) -> None:
        draw = self.draw
        chance = draw.random()
        said: list[bytes] = []
        if chance < 0.75:
            said = self.answer()
        elif chance < 0.75 + self.wrong:
            said = [
                draw.choice(
                    (
                        packet(Kind.EP_INFO, self.info()),
                        packet(Kind.DEVICE_DISCONNECT),
                        *self.plugging(),
                        packet(
                            draw.choice((*range(28), *range(100, 105))),
                            bytes(draw.randrange(20)),
                            number=draw.choice(self._numbers),
                        ),
                    )
                )
            ]
        elif chance < 0.78 + self.wrong:  # what it will be asked next, if it guesses well
            fixed = struct.pack("<BBHIH", draw.choice((BULK_IN, BULK_OUT)), 0, 0, 0, 0)
            said = [packet(101, fixed, number=self._numbers[-1] + 16 * draw.randrange(1, 4))]
        elif chance > 0.97:
            said = [packet(Kind.DEVICE_DISCONNECT)]
        elif chance > 0.9:
            said = self.plugging()
        if said and draw.random() < self.wrong / 2:
            bad = bytearray(b"".join(said))
            bad[draw.randrange(len(bad))] = draw.randrange(256)
            said = [bytes(bad)]
        self.say(b"".join(said))

    def say(self, said: bytes) -> None:
        while said and not self.reason:
            cut = self.draw.choice((1, 7, 40, len(said), len(said)))
            passed, self.reason = self.spoken.from_viewer(memoryview(said[:cut]))
            self.to_qemu += passed
            said = said[cut:]

    def guest_acts(self) -> None:
        draw, qemu = self.draw, self.qemu
        match draw.randrange(8):
            case 0:
                qemu.control(0x80, 6, draw.choice((0x100, 0x200, 0x200)), draw.choice((9, 255)))
            case 1:
                qemu.configure(1)
            case 2:
                qemu.set_alt(draw.choice((0, 1, 1)), draw.randrange(3))
            case 3 | 4:
                qemu.bulk(BULK_IN, 512)
            case 5:
                qemu.bulk(BULK_OUT, 31)
            case 6:
                qemu.stream()
            case 7:
                if draw.random() < 0.3:
                    qemu.cancel(draw.choice((0, BULK_IN, BULK_OUT)), draw.randrange(4))

    def delivers_to_qemu(self) -> None:
        cut = self.draw.choice((1, 20, len(self.to_qemu), len(self.to_qemu)))
        piece, self.to_qemu = self.to_qemu[:cut], self.to_qemu[cut:]
        self.qemu.receive(piece)

    def delivers_to_device(self) -> None:
        cut = self.draw.choice((1, 20, len(self.qemu.said), len(self.qemu.said)))
        piece = bytes(self.qemu.said[:cut])
        del self.qemu.said[:cut]
        passed, reason = self.spoken.from_machine(memoryview(piece))
        assert (len(passed), reason) == (len(piece), "") or reason == "usb-unanswered"
        self._left += passed
        while len(self._left) >= (size := HEADER.size if self._greeted else 12):
            length = int.from_bytes(self._left[4:8], "little")
            if len(self._left) < size + length:
                return
            if self._greeted:
                kind, _, number = HEADER.unpack_from(self._left)
                self.asked.append((kind, number, self._left[size : size + length]))
                self._numbers.append(number)
            self._greeted = True
            self._left = self._left[size + length :]


def lived(draw: Random, wrong: float) -> World:
    world = World(draw, wrong)
    world.say(hello(b"model", CAPS))
    while world.qemu.said:
        world.delivers_to_device()
    world.say(b"".join(world.plugging()))
    acts = (
        world.device_acts, world.guest_acts, world.guest_acts,
        world.delivers_to_qemu, world.delivers_to_device, world.delivers_to_qemu,
    )  # fmt: skip
    for _ in range(STEPS):
        draw.choice(acts)()
    while world.to_qemu:
        world.delivers_to_qemu()
    return world


@settings(max_examples=TRIES, deadline=None)
@given(seed=st.integers(0, 2**64), wrong=st.sampled_from((0.0, 0.02, 0.1, 0.3)))
def test_no_device_kills_the_model(seed: int, wrong: float) -> None:
    lived(Random(seed), wrong)


def test_without_us_devices_kill_it_in_every_way_that_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check that cannot fail is none."""
    monkeypatch.setattr(
        "broker.spice.usb_device.Device.says", lambda _self, _kind, _number, fixed, _length: fixed
    )
    monkeypatch.setattr("broker.spice.usb_device.Device.describes", False, raising=False)
    ways = set()
    for seed in range(4000):
        try:
            lived(Random(seed), 0.1)
        except Died as death:
            ways.add(str(death).split(":")[0])
    assert ways >= {
        "NAK for an isochronous packet",
        "division by zero",
        "endpoint 0 may not wait",
        "completed out of order",
        "NAK for a queued packet",
        "not asynchronous behind others",
        "completed before it was sent",
    }, ways


def test_well_behaved_devices_are_used_and_never_refused() -> None:
    completed = 0
    for seed in range(300):
        world = Well(Random(seed), 0.0)
        world.run()
        assert not world.reason
        completed += world.qemu.completed
    assert completed > 1000


class Well(World):
    """A device that is what it says, and answers in order."""

    def described(self) -> bytes:
        return CONFIGURATION

    def info(self) -> bytes:
        return endpoint_info()

    def run(self) -> None:
        self.say(hello(b"model", CAPS))
        while self.qemu.said:
            self.delivers_to_device()
        self.say(b"".join(self.plugging()))
        for _ in range(STEPS):
            self.draw.choice(
                (self.answers, self.guest_acts, self.delivers_to_qemu, self.delivers_to_device)
            )()

    def answers(self) -> None:
        self.say(b"".join(self.answer()))
