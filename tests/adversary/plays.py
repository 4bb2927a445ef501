"""Attacks by name. Each takes what it needs of a session, and leaves the cleaning up to others."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from broker.spice.constants import ChannelType
from broker.spice.wire import DisplayInit, message
from tests.adversary.link import Assault, Link, assault

Play = Callable[[Assault], Awaitable[None]]

INIT: Final = message(101, DisplayInit().encode())
BEGIN: Final = INIT + message(103, b"\1")
"""What an honest display says first."""
FLUSH_MARK: Final = message(4)
AGENT_START: Final = message(106, struct.pack("<I", 10))


def agent(size: int, data: bytes, kind: int = 4) -> bytes:
    """The first AGENT_DATA of an agent message that announces `size` bytes."""
    return message(107, struct.pack("<IIQI", 1, kind, 0, size) + data)


def vmc(size: int, data: bytes = b"") -> bytes:
    """DATA of usbredir, port and webdav that claims a size."""
    return struct.pack("<HI", 101, size) + data


async def display_closed_before_set_ack(them: Assault) -> None:
    _, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session)
    display.close()
    await asyncio.sleep(0.3)  # while main stays


async def display_reset_before_set_ack(them: Assault) -> None:
    _, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session)
    display.reset()
    await asyncio.sleep(0.3)


async def display_reset_after_init(them: Assault) -> None:
    _, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session, then=INIT)
    display.reset()
    await asyncio.sleep(0.3)


async def second_init(them: Assault) -> None:
    _, session = await them.main()
    display = await them.linked(ChannelType.DISPLAY, session, then=BEGIN)
    await display.reader.readexactly(6)
    await display.say(INIT)
    await display.hear(0.5)


async def flush_mark_on_main(them: Assault) -> None:
    main, _ = await them.main()
    link = Link(main.reader, main.writer)
    await link.say(FLUSH_MARK)
    await link.hear(0.5)


async def flush_mark_elsewhere(them: Assault) -> None:
    _, session = await them.main()
    for kind in (ChannelType.INPUTS, ChannelType.CURSOR, ChannelType.PLAYBACK, ChannelType.RECORD):
        try:
            link = await them.linked(kind, session, then=FLUSH_MARK)
        except (ConnectionError, asyncio.IncompleteReadError):
            continue
        await link.hear(0.2)


async def _glz(them: Assault, window: int) -> None:
    _, session = await them.main()
    body = message(101, struct.pack("<BqBi", 1, 0, 1, window))
    display = await them.linked(ChannelType.DISPLAY, session, then=body)
    await display.hear(0.5)


async def glz_window_negative(them: Assault) -> None:
    await _glz(them, -1)


async def glz_window_of_2g(them: Assault) -> None:
    await _glz(them, 2**31 - 1)


async def _vmc(them: Assault, data: bytes) -> None:
    _, session = await them.main()
    link = await them.linked(ChannelType.USBREDIR, session)
    await link.say(data)
    await link.hear(0.5)


async def vmc_of_4g(them: Assault) -> None:
    await _vmc(them, vmc(0xFFFFFFFF, bytes(70_000)))


async def vmc_of_2g(them: Assault) -> None:
    await _vmc(them, vmc(0x80000000, bytes(70_000)))


async def main_gone_while_a_display_waits(them: Assault) -> None:
    main, session = await them.main()
    await them.linked(ChannelType.DISPLAY, session)
    await asyncio.sleep(0.1)  # until the display's thread waits for INIT
    Link(main.reader, main.writer).reset()
    await asyncio.sleep(0.3)


ELEVEN: Final[dict[str, Play]] = {
    "display closed before SET_ACK": display_closed_before_set_ack,
    "display reset before SET_ACK": display_reset_before_set_ack,
    "display reset right after INIT": display_reset_after_init,
    "second DISPLAY_INIT": second_init,
    "MIGRATE_FLUSH_MARK on main": flush_mark_on_main,
    "MIGRATE_FLUSH_MARK elsewhere": flush_mark_elsewhere,
    "GLZ window -1": glz_window_negative,
    "GLZ window 2^31-1": glz_window_of_2g,
    "vmc DATA of 0xFFFFFFFF": vmc_of_4g,
    "vmc DATA of 0x80000000": vmc_of_2g,
    "main gone while a display waits": main_gone_while_a_display_waits,
}
"""What spice-server 0.15 was known to die or freeze of."""


async def init_then_bad_codecs(them: Assault) -> None:
    """The server drops the display by itself while it waits for INIT."""
    _, session = await them.main()
    then = INIT + message(105, b"\xff")
    display = await them.linked(ChannelType.DISPLAY, session, then=then)
    await display.hear(0.5)


async def init_then_bad_report(them: Assault) -> None:
    _, session = await them.main()
    then = INIT + message(102, struct.pack("<I", 9999) + bytes(28))
    display = await them.linked(ChannelType.DISPLAY, session, then=then)
    await display.hear(0.5)


async def vmc_of_nothing(them: Assault) -> None:
    await _vmc(them, vmc(0))


async def vmc_nothing_unpacked(them: Assault) -> None:
    await _vmc(them, message(102, struct.pack("<BI", 1, 0)))


async def vmc_unpacked_to_more(them: Assault) -> None:
    await _vmc(them, message(102, struct.pack("<BI", 1, 1 << 20) + b"\x10a"))


async def _say_on_main(them: Assault, data: bytes) -> None:
    main, _ = await them.main()
    link = Link(main.reader, main.writer)
    await link.say(data)
    await link.hear(0.5)


async def agent_token_unasked(them: Assault) -> None:
    await _say_on_main(them, message(108, struct.pack("<I", 1)))


async def agent_data_of_nothing(them: Assault) -> None:
    await _say_on_main(them, AGENT_START + agent(100, b"") + message(107))


async def agent_data_unasked(them: Assault) -> None:
    await _say_on_main(them, agent(4, b"four"))


async def agent_over_tokens(them: Assault) -> None:
    await _say_on_main(
        them, AGENT_START + agent(10**6, bytes(2028)) + message(107, bytes(2048)) * 60
    )


async def agent_split_and_taken_over(them: Assault) -> None:
    """Half a message, then another viewer throws us out, then it speaks itself."""
    main, _ = await them.main()
    await Link(main.reader, main.writer).say(AGENT_START + agent(900, bytes(900))[:200])
    await asyncio.sleep(0.2)
    async with assault(them.way.another()) as others:
        other, _ = await others.main()
        link = Link(other.reader, other.writer)
        await link.say(AGENT_START + agent(900, bytes(900)))
        await link.hear(0.5)


async def agent_asks_for_a_monstrous_screen(them: Assault) -> None:
    """The server drops the viewer in the middle of its own message."""
    await _say_on_main(them, AGENT_START + agent(1 << 30, bytes(100), kind=2))


async def agent_gone_with_half_a_message(them: Assault) -> None:
    main, _ = await them.main()
    link = Link(main.reader, main.writer)
    await link.say(AGENT_START + agent(900, bytes(900))[:200])
    await asyncio.sleep(0.1)
    link.reset()
    await asyncio.sleep(0.2)


async def main_with_an_id(them: Assault) -> None:
    link = await them.connect()
    await link.request(ChannelType.MAIN, 0x1234)
    await link.say(await link.sealed(them.way.ticket))
    await link.hear(0.5)


async def acks_in_surplus(them: Assault) -> None:
    _, session = await them.main()
    for kind in (ChannelType.CURSOR, ChannelType.DISPLAY):
        then = BEGIN if kind is ChannelType.DISPLAY else b""
        link = await them.linked(kind, session, then=then)
        await link.say(message(2) * 200)
        await link.hear(0.3)


async def oversize(them: Assault) -> None:
    _, session = await them.main()
    link = await them.linked(ChannelType.INPUTS, session)
    await link.say(struct.pack("<HI", 104, 0xFFFFFFF0) + bytes(70_000))
    await link.hear(0.5)


async def unknown_types(them: Assault) -> None:
    _, session = await them.main()
    for kind in (ChannelType.INPUTS, ChannelType.CURSOR, ChannelType.RECORD):
        link = await them.linked(kind, session)
        await link.say(message(0) + message(999, bytes(9)))
        await link.hear(0.2)


MORE: Final[dict[str, Play]] = {
    "INIT, then codecs that cannot be read": init_then_bad_codecs,
    "INIT, then a report on no stream": init_then_bad_report,
    "vmc DATA of 0": vmc_of_nothing,
    "vmc COMPRESSED_DATA of 0": vmc_nothing_unpacked,
    "vmc COMPRESSED_DATA that lies": vmc_unpacked_to_more,
    "AGENT_TOKEN before AGENT_START": agent_token_unasked,
    "AGENT_DATA of 0": agent_data_of_nothing,
    "AGENT_DATA before AGENT_START": agent_data_unasked,
    "AGENT_DATA over its tokens": agent_over_tokens,
    "half an AGENT_DATA, then taken over": agent_split_and_taken_over,
    "half an AGENT_DATA, then gone": agent_gone_with_half_a_message,
    "agent: a screen of 1 GiB": agent_asks_for_a_monstrous_screen,
    "main with a connection id": main_with_an_id,
    "surplus ACKs": acks_in_surplus,
    "4 GiB of scan codes": oversize,
    "unknown types": unknown_types,
}
"""What a careful reader of its sources tries next."""


ALL: Final = {**ELEVEN, **MORE}
