"""Redirected USB devices that go wrong in ways that nobody thought of, drawn from a seed."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Final

from broker.spice.usb_packets import HEADER, packet
from tests.adversary.draw import THROWN_OUT
from tests.adversary.link import Assault
from tests.adversary.usb_plays import IMAGE
from tests.adversary.usb_stick import BULK_IN, BULK_OUT, INTERRUPT_IN, PLUGGED_IN, Stick
from tests.adversary.usb_talk import Talk, redirecting, restart

KINDS: Final = (*range(30), 100, 101, 102, 103, 104, 0xFFFFFFFF)
ADDRESSES: Final = (0, 0x80, BULK_IN, BULK_OUT, INTERRUPT_IN, 0x8F, 0xFF)
USED_SECONDS: Final = 0.8


def _split(packets: bytes) -> list[bytes]:
    found = []
    while packets:
        _, length, _ = HEADER.unpack_from(packets)
        found.append(packets[: HEADER.size + length])
        packets = packets[HEADER.size + length :]
    return found


class UsbAttack:
    """One device on one machine. `story` tells what it did, once it has."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.story: list[str] = []
        self._random = Random(seed)
        self._rate = self._random.choice((0.03, 0.1, 0.3))
        self._numbers = [0]

    async def play(self, them: Assault) -> None:
        """Plug it in, perhaps have the BIOS use it, and leave in one way or another."""
        draw = self._random
        stick = Stick(IMAGE)
        with contextlib.suppress(*THROWN_OUT):
            async with (
                asyncio.timeout(10),
                redirecting(them, stick, plugged=False) as talk,
            ):
                talk.twist = self._twisted
                kept = self._rate if draw.random() < 0.5 else 0.0
                for each in _split(PLUGGED_IN):
                    await self._say(talk, self._wrong(each, kept))
                if draw.random() < 0.7:
                    await restart(them, talk.session)
                    with contextlib.suppress(TimeoutError):
                        await talk.until(
                            lambda: stick.sectors_read > 0, USED_SECONDS * draw.random()
                        )
                if draw.random() < 0.5:
                    await self._say(talk, [packet(2)])
                    if draw.random() < 0.5:
                        await self._say(talk, self._wrong(PLUGGED_IN, self._rate))
                if draw.random() < 0.5:
                    talk.reset()
                elif draw.random() < 0.5:
                    with contextlib.suppress(TimeoutError):
                        await talk.until(lambda: False, 0.05)

    async def _say(self, talk: Talk, packets: list[bytes]) -> None:
        """In one message, in several, or in one that is cut anywhere."""
        said = b"".join(packets)
        if self._random.random() < 0.3 and said:
            cut = self._random.randrange(len(said))
            await talk.say(said[:cut])
            await asyncio.sleep(0)
            said = said[cut:]
        await talk.say(said)

    def _twisted(self, answer: bytes) -> list[bytes]:
        self._numbers.append(HEADER.unpack_from(answer)[2])
        return self._wrong(answer, self._rate)

    def _wrong(self, good: bytes, rate: float) -> list[bytes]:
        """What becomes of a packet; mostly nothing."""
        draw = self._random
        if draw.random() >= rate:
            return [good]
        what = draw.randrange(9)
        bad = bytearray(good)
        kind, length, number = HEADER.unpack_from(good)
        match what:
            case 0:  # any bytes
                for _ in range(draw.choice((1, 1, 2, 8))):
                    bad[draw.randrange(len(bad))] = draw.choice(
                        (0, 1, 2, 3, 255, draw.randrange(256))
                    )
            case 1:  # a length that lies
                length = draw.choice((0, 1, length - 1, length + 1, length * 2, 0x7FFFFFFF))
                HEADER.pack_into(bad, 0, kind, length % 2**32, number)
            case 2:  # of another kind
                HEADER.pack_into(bad, 0, draw.choice(KINDS), length, number)
            case 3:  # for another request
                number = draw.choice((0, number + 16, number - 16, *self._numbers[-4:]))
                HEADER.pack_into(bad, 0, kind, length, number % 2**64)
            case 4:
                return [good, good]
            case 5:
                return []
            case 6:  # another packet before or behind it
                other = self._other()
                self._tell(other)
                return [good, other] if draw.random() < 0.5 else [other, good]
            case 7:  # cut short, and whatever comes next is taken for the rest
                del bad[draw.randrange(len(bad)) :]
            case 8:  # another endpoint
                bad[min(HEADER.size + draw.randrange(2), len(bad) - 1)] = draw.choice(ADDRESSES)
        self._tell(bytes(bad))
        return [bytes(bad)]

    def _other(self) -> bytes:
        """Any packet: a kind with something of about the size that it should have."""
        draw = self._random
        size = draw.choice((0, 1, 2, 3, 4, 6, 9, 10, 10, 12, 132, 160, 160, 288, 600))
        body = draw.choice((bytes(size), b"\1" * size, b"\2" * size, draw.randbytes(size)))
        if size and draw.random() < 0.6:
            body = bytes([draw.choice(ADDRESSES)]) + body[1:]
        if draw.random() < 0.3:
            return draw.choice((PLUGGED_IN, packet(2), packet(2) * 3))
        return packet(draw.choice(KINDS), body, number=draw.choice(self._numbers[-4:]))

    def _tell(self, bad: bytes) -> None:
        self.story.append(f"{bad[:48].hex()} ({len(bad)} bytes)")
