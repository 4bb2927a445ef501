"""Attacks by name that need the socket itself: they come by the proxy's private door only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final

from broker.spice.constants import ChannelType
from broker.spice.wire import LinkMess, message
from tests.adversary.link import CAPS, Assault, Link
from tests.adversary.plays import AGENT_START, BEGIN, INIT, Play, agent

TLS_HELLO: Final = bytes.fromhex("1603010200010001fc0303") + bytes(512)
KEY_UP: Final = message(102, struct.pack("<I", 0x9E))
"""A key comes up: as harmless as anything on INPUTS."""


@contextlib.contextmanager
def socket_of(link: Link) -> Iterator[socket.socket]:
    """Its own, which asyncio lends out for little."""
    with socket.fromfd(
        link.writer.get_extra_info("socket").fileno(), socket.AF_UNIX, socket.SOCK_STREAM
    ) as sock:
        yield sock


async def half_closed(them: Assault) -> None:
    """Every channel says that it will say no more, the display in the middle of its INIT."""
    main, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session, then=INIT[:9])
    inputs = await them.linked(ChannelType.INPUTS, session)
    for link in (display, inputs, Link(main.reader, main.writer)):
        link.writer.write_eof()
        await link.hear(0.3)


async def half_closed_and_never_read(them: Assault) -> None:
    """The other half stays open, and pictures pile up in front of it."""
    _, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session, then=BEGIN)
    display.writer.write_eof()
    await asyncio.sleep(0.5)


async def gone_with_a_picture_unread(them: Assault) -> None:
    """A unix socket that is closed so tells the other side of a reset."""
    main, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session, then=BEGIN)
    with socket_of(display) as sock:
        await asyncio.sleep(0.2)
        sock.shutdown(socket.SHUT_RD)
        await asyncio.sleep(0.2)
    display.reset()
    Link(main.reader, main.writer).reset()


async def descriptors_along(them: Assault) -> None:
    """A unix socket carries descriptors, and QEMU's own monitor takes them."""
    main, session = await them.main()
    inputs = await them.linked(ChannelType.INPUTS, session)
    with socket_of(inputs) as sock:
        for _ in range(20):
            socket.send_fds(sock, [KEY_UP[:4]], [sock.fileno()] * 50)
            socket.send_fds(sock, [KEY_UP[4:]], [0, 1, 2])
    with socket_of(Link(main.reader, main.writer)) as sock:
        socket.send_fds(sock, [AGENT_START + agent(900, bytes(900))[:200]], [sock.fileno()] * 253)
    await inputs.hear(0.3)


async def urgent_bytes(them: Assault) -> None:
    """A byte out of turn, in front of a message, within it and alone."""
    _, session = await them.main()
    inputs = await them.linked(ChannelType.INPUTS, session)
    with socket_of(inputs) as sock:
        for part in (b"!", KEY_UP[:3] + b"!", KEY_UP[3:] + b"!", b"!"):
            sock.send(part, socket.MSG_OOB)
            await inputs.hear(0.05)


async def tls_where_none_is_spoken(them: Assault) -> None:
    link = await them.connect()
    await link.say(TLS_HELLO)
    await link.hear(0.3)


async def a_byte_at_a_time(them: Assault) -> None:
    """Each in a packet of its own, from the first of the link to the display's INIT, and away."""
    _, session = await them.main()
    link = await them.connect()
    for byte in LinkMess(session, ChannelType.DISPLAY, 0, CAPS, 2).encode():
        await link.say(bytes([byte]))
        await asyncio.sleep(0)
    for byte in await link.sealed(them.way.ticket) + BEGIN[:-1]:
        await link.say(bytes([byte]))
        await asyncio.sleep(0)
    link.close()
    await asyncio.sleep(0.3)


async def knocks_by_the_hundred(them: Assault) -> None:
    """More than may wait, each gone before it is asked anything."""
    for _ in range(300):
        (await them.connect()).reset()
    for _ in range(150):
        await them.connect()
    await asyncio.sleep(0.2)


SOCKET: Final[dict[str, Play]] = {
    "half closed": half_closed,
    "half closed, and nothing read": half_closed_and_never_read,
    "gone with a picture unread": gone_with_a_picture_unread,
    "descriptors along with words": descriptors_along,
    "urgent bytes": urgent_bytes,
    "TLS where none is spoken": tls_where_none_is_spoken,
    "a byte at a time": a_byte_at_a_time,
    "hundreds of knocks": knocks_by_the_hundred,
}
"""What TLS over TCP does not let one do, or only asks otherwise."""
