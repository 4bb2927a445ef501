"""One's own session that was just left is waited for; anybody else's is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from broker import tokens
from broker.model import MachineKey, Session, SessionId, Token
from broker.service import leaving
from broker.service.leaving import Leaving
from tests.fakes.service import NOW, console, key, session

MINE = "Mine" * 12
WHERE: MachineKey = key("here", 1)


class Listing:
    """Live sessions, which end when somebody says so."""

    def __init__(self, *live: str) -> None:
        self.live = [session(console("web-01"), name, "192.0.2.9:5000") for name in live]
        self.looked = asyncio.Event()

    async def sessions(self) -> Sequence[Session]:
        self.looked.set()
        return list(self.live)

    def token(self, digest: bytes) -> Token | None:
        opened = Token(digest, WHERE, NOW, NOW, session=SessionId("mine"))
        return opened if digest == tokens.digest(MINE) else None


async def test_it_waits_until_the_session_that_was_left_is_over() -> None:
    listing = Listing("mine")
    left = Leaving(listing.token, listing.sessions)
    left.left(WHERE, MINE)
    waiting = asyncio.create_task(left.over(WHERE))
    await listing.looked.wait()
    assert not waiting.done()
    listing.live.clear()
    await waiting
    listing.live = [session(console("web-01"), "mine", "192.0.2.9:5000")]
    await left.over(WHERE)  # nothing was left since


async def test_somebody_else_s_session_is_not_waited_for() -> None:
    listing = Listing("theirs")
    left = Leaving(listing.token, listing.sessions)
    await left.over(WHERE)
    assert not listing.looked.is_set()
    left.left(WHERE, MINE)
    await left.over(WHERE)
    assert [one.id for one in listing.live] == ["theirs"]


async def test_a_token_that_opened_nothing_is_not_waited_for() -> None:
    listing = Listing("mine")
    unused = Token(b"", WHERE, NOW, NOW)
    left = Leaving(lambda _: unused, listing.sessions)
    left.left(WHERE, MINE)
    await left.over(WHERE)
    left = Leaving(lambda _: None, listing.sessions)
    left.left(WHERE, MINE)
    await left.over(WHERE)


async def test_one_that_does_not_end_is_anybody_s_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leaving, "PATIENCE_SECONDS", 0.2)
    listing = Listing("mine")
    left = Leaving(listing.token, listing.sessions)
    left.left(WHERE, MINE)
    await left.over(WHERE)
    assert [one.id for one in listing.live] == ["mine"]
