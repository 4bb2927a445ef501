from __future__ import annotations

import asyncio
import itertools

import pytest

from broker.model import SessionId, UnixTarget
from broker.proxy.gate import Admission, Peer
from broker.proxy.session import Session, SessionOver, Sessions

ADMISSION = Admission(SessionId("s"), bytes(32), UnixTarget("/s"))
PEER = Peer("127.0.0.1", 1)


@pytest.fixture
async def session() -> Session:
    return Session(7, ADMISSION, PEER)


async def test_the_first_reason_counts(session: Session) -> None:
    session.end("disconnected")
    session.end("client-closed")
    assert session.end_reason == "disconnected"


async def test_who_wants_to_know_is_told_once_and_only_while_it_matters(session: Session) -> None:
    told = list[str]()
    with session.on_end(lambda reason: told.append(f"early {reason}")):
        pass
    with session.on_end(told.append):
        session.end("disconnected")
        session.end("again")
    assert told == ["disconnected"]


async def test_nothing_begins_in_a_session_that_is_over(session: Session) -> None:
    session.end("disconnected")
    with pytest.raises(SessionOver), session.crossing():
        pytest.fail("a ticket would have been sent")
    with pytest.raises(SessionOver), session.on_end(lambda _: None):
        pytest.fail("a channel would have been opened")


async def test_it_is_calm_when_the_last_display_has_crossed(session: Session) -> None:
    first, second = session.crossing(), session.crossing()
    first.__enter__()
    second.__enter__()
    calm = asyncio.ensure_future(session.calm())
    await asyncio.sleep(0)
    first.__exit__(None, None, None)
    await asyncio.sleep(0)
    assert not calm.done()
    second.__exit__(None, None, None)
    await calm


async def test_it_is_empty_when_the_last_channel_has_gone(session: Session) -> None:
    await session.emptied(0)
    with session.channel("display.0"), session.channel("inputs.0"):
        assert session.channels == {"display.0", "inputs.0"}
        await session.emptied(0.001)
    assert session.channels == set()


async def test_ids_are_neither_zero_nor_taken() -> None:
    drawn = itertools.chain([5, 0, 5, 6])
    sessions = Sessions(lambda: next(drawn))
    assert [sessions.open(ADMISSION, PEER).connection_id for _ in range(2)] == [5, 6]


async def test_a_session_is_found_while_it_lives_and_is_known_to_the_server() -> None:
    sessions = Sessions(lambda: 5)
    session = sessions.open(ADMISSION, PEER)
    assert sessions.find(5) is None
    session.backend_id = 9
    assert sessions.find(5) is session
    session.end("disconnected")
    assert sessions.find(5) is None
    assert sessions.all() == (session,)
    sessions.forget(session)
    assert sessions.all() == ()
