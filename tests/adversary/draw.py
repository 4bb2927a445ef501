"""Attacks that nobody thought of: drawn from a seed, each the same whenever it is drawn again."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from random import Random
from typing import Final

from broker.spice.constants import ChannelType
from broker.spice.policy import FROM_CLIENT
from broker.spice.usb_packets import hello
from broker.spice.wire import DisplayInit, LinkMess, message
from tests.adversary.link import CAPS, Assault, Link, assault
from tests.adversary.plays import AGENT_START, FLUSH_MARK, INIT, agent, vmc

THROWN_OUT: Final = (OSError, ssl.SSLError, EOFError, TimeoutError)
"""How a connection ends that was refused, cut or reset."""
LATER: Final = tuple(kind for kind in FROM_CLIENT if kind is not ChannelType.MAIN)
BODY_MAX: Final = 3000
"""Bodies of messages are kept small: the sizes that lie are what hurts."""
VMC: Final = (ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV)


class Attack:
    """One attack on one machine. `story` tells what it did, once it has."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.story: list[str] = []
        self._random = Random(seed)

    async def play(self, them: Assault) -> None:
        """A session with misbehaving channels, cut anywhere; being thrown out is no error."""
        draw = self._random
        with contextlib.suppress(*THROWN_OUT):
            async with asyncio.timeout(10):
                if draw.random() < 0.15:
                    await self._channel(them, ChannelType.MAIN, 0, Random(draw.random()))
                    return
                main, session = await them.main()
                acts = [self._main(Link(main.reader, main.writer), Random(draw.random()))]
                for _ in range(draw.randrange(1, 5)):
                    kind = ChannelType.DISPLAY if draw.random() < 0.5 else draw.choice(LATER)
                    acts.append(self._channel(them, kind, session, Random(draw.random())))
                if draw.random() < 0.12:
                    acts.append(self._rival(them, Random(draw.random())))
                await asyncio.gather(*acts)

    async def _main(self, link: Link, draw: Random) -> None:
        """Say things on MAIN, and leave it in one way or another."""
        await self._moment(draw)
        if draw.random() < 0.6:
            await self._say(link, ChannelType.MAIN, draw)
        await self._end(link, "main", draw)

    async def _rival(self, them: Assault, draw: Random) -> None:
        """Another viewer comes in at a bad moment, and takes the machine over."""
        await self._moment(draw)
        self._tell("a rival comes")
        with contextlib.suppress(*THROWN_OUT):
            async with assault(them.way.another()) as others:
                main, _ = await others.main()
                await self._main(Link(main.reader, main.writer), draw)

    async def _channel(self, them: Assault, kind: ChannelType, session: int, draw: Random) -> None:
        name = kind.name.lower()
        with contextlib.suppress(*THROWN_OUT):
            await self._moment(draw)
            link = await them.connect()
            if await self._linked(link, them, kind, session, draw) and draw.random() < 0.7:
                await self._say(link, kind, draw)
            await self._end(link, name, draw)

    async def _linked(
        self, link: Link, them: Assault, kind: ChannelType, session: int, draw: Random
    ) -> bool:
        """The link stage, perhaps cut at some byte; whether it was gone through."""
        number = draw.choice((0, 0, 0, 0, 1, 255))
        own = draw.choice((0, 2, 2, 0x1FF, 0xFFFFFFFF))
        caps = CAPS if draw.random() < 0.9 else draw.choice((0, 3, 9, 0xFFFF))
        if kind is ChannelType.MAIN and draw.random() < 0.3:
            session = draw.randrange(1, 2**32)
        request = LinkMess(session, kind, number, caps, own).encode()
        first = self._first(kind, draw)
        cut = draw.randrange(len(request) + 132 + len(first) + 1) if draw.random() < 0.45 else -1
        if draw.random() < 0.05:  # a byte of the request is wrong
            at = draw.randrange(len(request))
            request = request[:at] + draw.randbytes(1) + request[at + 1 :]
        told = f" cut at {cut}" if cut >= 0 else ""
        self._tell(f"{kind.name.lower()}.{number} {caps:#x}/{own:#x}{told}")
        if 0 <= cut < len(request):
            await link.say(request[:cut])
            return False
        await link.say(request)
        if cut == len(request):
            return False
        said = await link.sealed(them.way.ticket)
        if draw.random() < 0.5:  # all in one write
            said, first = said + first, b""
        left = cut - len(request)
        self._tell(f"{kind.name.lower()} begins with {first[:40].hex()} ({len(first)} bytes)")
        if cut >= 0:
            await link.say((said + first)[:left])
            return False
        await link.say(said)
        if draw.random() < 0.8:
            if await link.result():
                return False
            await self._moment(draw)
        await link.say(first)
        return True

    def _first(self, kind: ChannelType, draw: Random) -> bytes:
        """What goes right behind the ticket."""
        if kind is not ChannelType.DISPLAY:
            return b"" if draw.random() < 0.7 else self._drawn(kind, draw)
        if draw.random() < 0.1:
            return b""
        init = INIT
        if draw.random() < 0.15:
            init = message(
                101,
                struct.pack(
                    "<BqBi",
                    draw.randrange(3),
                    draw.choice((0, -1, 2**62, 2**20)),
                    draw.randrange(3),
                    draw.choice((0, -1, 2**31 - 1, -(2**31), 2**22, 32 * 2**20)),
                ),
            )
        elif draw.random() < 0.3:
            init = message(101, DisplayInit(20971520, 6290432).encode())
        if draw.random() < 0.6:
            init += message(103, bytes([draw.randrange(1, 8)]))
        while draw.random() < 0.35:
            init += self._drawn(kind, draw)
        return init

    async def _say(self, link: Link, kind: ChannelType, draw: Random) -> None:
        """A few messages, whole or in pieces."""
        for _ in range(draw.randrange(1, 8)):
            said = self._drawn(kind, draw)
            self._tell(f"{kind.name.lower()} says {said[:40].hex()} ({len(said)} bytes)")
            if draw.random() < 0.15:
                said = said[: draw.randrange(len(said))]
                await link.say(said)
                return
            if draw.random() < 0.3:
                cut = draw.randrange(len(said))
                await link.say(said[:cut])
                await self._moment(draw)
                said = said[cut:]
            await link.say(said)

    def _drawn(self, kind: ChannelType, draw: Random) -> bytes:
        """One message: usually one that the rules allow, with a body that nobody would send."""
        chance = draw.random()
        if chance < 0.05:
            return draw.choice((FLUSH_MARK, message(5, bytes(40)), message(draw.randrange(600))))
        if chance < 0.1:
            size = draw.choice((0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 1 << 24, 70_000))
            return struct.pack("<HI", draw.choice((101, 102, 104, 107)), size) + bytes(9000)
        if chance < 0.15:
            return message(2) * draw.randrange(1, 40)
        if kind is ChannelType.MAIN and chance < 0.7:
            return self._agent(draw)
        if kind in VMC and chance < 0.6:
            return self._redirected(draw)
        rules = FROM_CLIENT[kind]
        number = draw.choice(sorted(rules.largest))
        least, most = rules.smallest.get(number, 0), min(rules.largest[number], BODY_MAX)
        size = draw.choice((least, most, draw.randint(least, most)))
        filled: tuple[Callable[[], bytes], ...] = (
            lambda: bytes(size), lambda: b"\xff" * size, lambda: draw.randbytes(size),
            lambda: bytes([draw.randrange(8)]) + bytes(size - 1) if size else b"",
        )  # fmt: skip
        return message(number, draw.choice(filled)())

    def _agent(self, draw: Random) -> bytes:
        """Something of the agent's, in and out of turn."""
        chance = draw.random()
        if chance < 0.25:
            return AGENT_START if draw.random() < 0.5 else message(106, draw.randbytes(4))
        if chance < 0.35:
            return message(108, struct.pack("<I", draw.choice((0, 1, 10, 2**31, 2**32 - 1))))
        if chance < 0.5:
            return message(107, draw.randbytes(draw.choice((0, 1, 19, 20, 21, 2047, 2048))))
        size = draw.choice((0, 4, 12, 900, 2028, 5000, 10**6, 2**32 - 1))
        data = draw.randbytes(min(size, draw.choice((0, 4, 12, 900, 2028))))
        return agent(size, data, kind=draw.randrange(1, 18))

    def _redirected(self, draw: Random) -> bytes:
        """The language of redirected USB devices, badly spoken; or nothing of the kind."""
        said = hello(b"adversary", 0xFE) if draw.random() < 0.5 else b""
        for _ in range(draw.randrange(4)):
            data = draw.randbytes(draw.choice((0, 4, 10, 12, 64, 132, 300)))
            size = len(data) if draw.random() < 0.8 else draw.randrange(2**32)
            kind = draw.choice((*range(26), 100, 101, 102, 103, 104))
            said += struct.pack("<IIQ", kind, size, draw.randrange(5)) + data
        if draw.random() < 0.1:
            return vmc(len(said) + draw.randrange(1, 3000), said)
        return message(101, said)

    async def _moment(self, draw: Random) -> None:
        """Mostly none, else as long as a window of the server's is wide."""
        if draw.random() < 0.5:
            await asyncio.sleep(draw.choice((0, 0.001, 0.003, 0.006, 0.012, 0.03)))

    async def _end(self, link: Link, name: str, draw: Random) -> None:
        chance = draw.random()
        if chance < 0.4:
            self._tell(f"{name} resets")
            link.reset()
        elif chance < 0.6:
            self._tell(f"{name} closes")
            link.close()
        elif chance < 0.8:
            await link.hear(draw.choice((0.005, 0.02, 0.06)))
            self._tell(f"{name} resets after a while")
            link.reset()
        else:
            self._tell(f"{name} stays")

    def _tell(self, what: str) -> None:
        self.story.append(what.strip())
