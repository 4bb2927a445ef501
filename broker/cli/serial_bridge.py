"""A guest's serial console in a person's terminal: keys to it, what it says to the screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from broker.cli.stdin import chunks
from broker.cli.terminal import LentTerminal, harmless

if TYPE_CHECKING:
    from broker.guest import SerialLine, SerialWriter

LEAVE: Final = b"\x1d"
"""Ctrl-]"""
_LEAVE_LOOKING: Final = frozenset(b"\x1d\x03\x04q")
"""Where nothing is typed, also Ctrl-C, Ctrl-D and q."""
DRAIN_SECONDS: Final = 1.0


async def bridge(line: SerialLine, *, typing: bool, history: int) -> bool:
    """Lend the terminal to the guest until Ctrl-] is pressed or the VM ends.

    Args:
        typing: Be the writer; otherwise look on.
        history: How many lines of what was said before are shown first.

    Returns:
        Whether the VM has ended.

    Raises:
        Refused: Somebody else is the writer; the terminal was not touched.
        BrokerError: What went wrong on the way; the terminal is as before.
    """
    async with contextlib.AsyncExitStack() as opened:
        writer = await opened.enter_async_context(line.writing()) if typing else None
        terminal = opened.enter_context(LentTerminal())
        begin, now = line.lines_back(history), line.end()
        async with asyncio.TaskGroup() as group:
            said = group.create_task(_show(line, terminal, begin, now), name="serial to screen")
            typed = group.create_task(_type(writer), name="keys to serial")
            await asyncio.wait({said, typed}, return_when=asyncio.FIRST_COMPLETED)
            ended = said.done()
            said.cancel()
            typed.cancel()
    return ended


async def _show(line: SerialLine, terminal: LentTerminal, begin: int, now: int) -> None:
    """Show what was said from `begin` on; up to `now` it is the past."""
    async with contextlib.aclosing(line.follow(begin)) as said:
        async for data in said:
            past = max(0, min(now - begin, len(data)))
            begin += len(data)
            shown = harmless(data[:past]) + data[past:]
            # In a thread: while a slow terminal takes it, the writer's socket is looked after.
            await asyncio.to_thread(terminal.show, shown)


async def _type(writer: SerialWriter | None) -> None:
    """Pass keys on until it is time to leave."""
    async with contextlib.aclosing(_keys(writer is not None)) as keys:
        async for data in keys:
            if writer is not None:
                await writer.send(data)
    if writer is not None:
        await writer.drained(DRAIN_SECONDS)


async def _keys(typing: bool) -> AsyncGenerator[bytes, None]:
    """What is typed, up to the key that leaves, or the terminal's end."""
    async with contextlib.aclosing(chunks()) as typed:
        async for data in typed:
            before, leave, _ = data.partition(LEAVE)
            if typing and before:
                yield before
            if leave or (not typing and not _LEAVE_LOOKING.isdisjoint(data)):
                return
