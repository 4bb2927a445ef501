"""A redirected device on a channel of a session, honest for as long as one likes."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable

from broker.spice.constants import Base, ChannelType
from broker.spice.wire import message
from tests.adversary.link import PATIENCE, Assault, Link
from tests.adversary.usb_stick import PLUGGED_IN, Stick


class Talk:
    """A stick, and the channel that it is redirected over."""

    def __init__(self, link: Link, stick: Stick, session: int) -> None:
        self.stick = stick
        self.session = session
        self.ended = False
        """The other side has closed."""
        self.twist: Callable[[bytes], list[bytes]] = lambda answer: [answer]
        """Makes something else of each answer."""
        self._link = link
        self._left = b""
        self._heard = asyncio.Event()

    async def say(self, *packets: bytes) -> None:
        """Packets of the device's, in one message of the channel's."""
        if said := b"".join(packets):
            await self._link.say(message(101, said))

    async def say_raw(self, said: bytes) -> None:
        """Anything else, on the channel itself."""
        await self._link.say(said)

    def reset(self) -> None:
        """Vanish."""
        self._link.reset()

    async def listen(self) -> None:
        """Answer what comes, until the other side closes."""
        with contextlib.suppress(OSError):
            while data := await self._link.reader.read(65536):
                self._left += data
                await self._take()
                self._wake()
        self.ended = True
        self._wake()

    async def until(self, true: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until that holds, or the other side has closed."""
        async with asyncio.timeout(seconds):
            while not true() and not self.ended:
                await self._heard.wait()

    def _wake(self) -> None:
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    async def _take(self) -> None:
        while len(self._left) >= 6:
            kind, size = struct.unpack_from("<HI", self._left)
            if len(self._left) < 6 + size:
                return
            body, self._left = self._left[6 : 6 + size], self._left[6 + size :]
            if kind == Base.SET_ACK:
                await self._link.say(message(1, body[:4]))
            elif kind == Base.PING:
                await self._link.say(message(3, body[:12]))
            elif kind == 101:
                for answer in self.stick.receive(body):
                    await self.say(*self.twist(answer))


async def restart(them: Assault, session: int) -> None:
    """Press Ctrl-Alt-Del: the machine's BIOS looks at every USB device anew."""
    link = await them.linked(ChannelType.INPUTS, session)
    for kind, codes in ((101, (0x1D, 0x38, 0x53)), (102, (0xD3, 0xB8, 0x9D))):
        await link.say(b"".join(message(kind, struct.pack("<I", code)) for code in codes))


@contextlib.asynccontextmanager
async def redirecting(
    them: Assault, stick: Stick, *, plugged: bool = True, number: int = 0
) -> AsyncIterator[Talk]:
    """A session with that stick in it, plugged in or only greeted."""
    _, session = await them.main()
    link = await them.linked(ChannelType.USBREDIR, session, number)
    talk = Talk(link, stick, session)
    listening = asyncio.ensure_future(talk.listen())
    try:
        await talk.say(stick.greeting)
        await talk.until(lambda: bool(stick.heard))
        if plugged:
            await talk.say(PLUGGED_IN)
        yield talk
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
