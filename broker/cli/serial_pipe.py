"""A guest's serial console for scripts: input from a pipe, output to one, waiting for a text."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.cli.stdin import chunks
from broker.errors import BrokerError, Unreachable
from broker.within import within

if TYPE_CHECKING:
    from broker.guest import SerialLine

WINDOW_BYTES: Final = 64 * 1024
"""How far back a match may begin; a guest that never says it must not fill our memory."""
DRAIN_SECONDS: Final = 10.0


class NotSaid(Unreachable):
    """The guest did not say in time what was waited for."""

    code = "not-said"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of it.

    Attributes:
        position: Where what was not looked at begins; for the next call's `--after`.
        match: What was waited for, if anything was.
    """

    position: int
    match: re.Match[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What to do on a line.

    Attributes:
        begin: The position to begin at.
        until: What to wait for; None goes on to the VM's end.
        timeout: Seconds for all of it; None has no end.
        takes_input: Pass stdin on.
    """

    begin: int
    until: re.Pattern[bytes] | None = None
    timeout: float | None = None
    takes_input: bool = False


async def converse(line: SerialLine, name: str, wish: Wish, say: Callable[[bytes], None]) -> Heard:
    """Do that, and say what the guest says up to the end of the match.

    Raises:
        NotSaid: Not within the time.
        BrokerError: The VM ended before it was said.
        Refused: There is input, and somebody else is the writer.
    """
    heard = Listener(wish.until, wish.begin)
    try:
        async with within(wish.timeout), asyncio.TaskGroup() as group:
            typed = group.create_task(_pass_on(line, wish.takes_input), name="stdin to serial")
            async with contextlib.aclosing(line.follow(wish.begin)) as said:
                async for data in said:
                    say(heard.take(data))
                    if heard.match is not None:
                        break
            typed.cancel()
    except TimeoutError as exc:
        if wish.until is not None:
            raise NotSaid(
                f"{name} did not say {heard.wanted} within {wish.timeout:g} s",
                fix=f"See what it said: broker vm log {name} --serial",
            ) from exc
    else:
        if wish.until is not None and heard.match is None:
            raise BrokerError(
                f"{name} ended before it said {heard.wanted}",
                fix=f"See what it said: broker vm log {name} --serial",
            )
    return Heard(heard.position, heard.match)


class Listener:
    """Looks for a pattern in what comes, wherever it is cut."""

    def __init__(self, until: re.Pattern[bytes] | None, position: int) -> None:
        self._until = until
        self._recent = b""
        self.position = position
        self.match: re.Match[bytes] | None = None

    @property
    def wanted(self) -> str:
        """The pattern, for people."""
        return repr(self._until.pattern.decode("utf-8", "replace")) if self._until else "anything"

    def take(self, data: bytes) -> bytes:
        """Take what came; the part of it up to the end of a match."""
        if self._until is not None:
            recent = self._recent + data
            self.match = self._until.search(recent)
            if self.match is not None:
                data = data[: max(0, self.match.end() - len(self._recent))]
            self._recent = recent[-WINDOW_BYTES:]
        self.position += len(data)
        return data


async def _pass_on(line: SerialLine, takes_input: bool) -> None:
    """Type what comes from stdin; nobody is the writer before something came."""
    if not takes_input:
        return
    async with contextlib.AsyncExitStack() as opened:
        typed = await opened.enter_async_context(contextlib.aclosing(chunks()))
        writer = None
        async for data in typed:
            if writer is None:
                writer = await opened.enter_async_context(line.writing())
            await writer.send(data)
        if writer is not None:
            await writer.drained(DRAIN_SECONDS)
