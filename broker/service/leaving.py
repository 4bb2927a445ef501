"""Sessions that this process has left itself, while the proxy has yet to say that they are over.

From leaving a screen to the proxy's writing that down passes a moment, in which whoever comes back
would be told that somebody is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from broker import tokens
from broker.model import MachineKey, Session, Token
from broker.within import within

PATIENCE_SECONDS: Final = 5.0
"""A session that has not ended by then counts as anybody's; its worker may hang."""
LOOK_EVERY: Final = 0.05
"""Seconds between looks whether it has ended; a worker writes that down at once."""


class Leaving:
    """Remembers, by machine, the token of the session that was left last.

    Args:
        token: What is known of a token, by its digest; called in a thread.
        sessions: The live ones.
    """

    def __init__(
        self,
        token: Callable[[bytes], Token | None],
        sessions: Callable[[], Awaitable[Sequence[Session]]],
    ) -> None:
        self._token = token
        self._sessions = sessions
        self._left: dict[MachineKey, bytes] = {}

    def left(self, key: MachineKey, token: str) -> None:
        """The session that this token opened, if it did, was closed from here."""
        self._left[key] = tokens.digest(token)

    async def over(self, key: MachineKey) -> None:
        """Wait until no session at that machine is one that was left; see `PATIENCE_SECONDS`."""
        digest = self._left.get(key)
        if digest is None:
            return
        token = await asyncio.to_thread(self._token, digest)
        with contextlib.suppress(TimeoutError):
            async with within(PATIENCE_SECONDS):
                while token and token.session in await self._live():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(LOOK_EVERY)
        if self._left.get(key) == digest:
            del self._left[key]

    async def _live(self) -> set[str]:
        return {one.id for one in await self._sessions()}
