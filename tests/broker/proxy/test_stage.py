"""What breaks a stretch of a connection's life off, and that nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from broker.model import SessionId, UnixTarget
from broker.proxy.gate import Admission, Peer
from broker.proxy.session import Session, SessionOver
from broker.proxy.stage import Patience, Stage

SOON = 0.01
NEVER = 3600.0


@pytest.fixture
async def session() -> Session:
    return Session(7, Admission(SessionId("s"), bytes(32), UnixTarget("/s")), Peer("127.0.0.1", 1))


async def waits(session: Session | None, patience: Patience | None) -> None:
    with Stage(session, patience):
        await asyncio.get_running_loop().create_future()


async def test_each_of_many_is_broken_off_and_whoever_is_done_is_not() -> None:
    patience = Patience(SOON)
    late = [asyncio.ensure_future(waits(None, patience)) for _ in range(5)]
    with Stage(None, patience):
        await asyncio.sleep(0)
    done, _ = await asyncio.wait(late, timeout=30)
    assert [type(each.exception()) for each in done] == [TimeoutError] * 5
    again = asyncio.ensure_future(waits(None, patience))  # its timer had stopped, and begins anew
    await asyncio.wait([again], timeout=30)
    assert again.done()
    assert isinstance(again.exception(), TimeoutError)
    current = asyncio.current_task()
    assert current is not None
    assert not current.cancelling()


async def test_one_that_begins_while_another_waits_has_its_own_time() -> None:
    patience = Patience(0.05)
    loop = asyncio.get_running_loop()
    first = asyncio.ensure_future(waits(None, patience))
    await asyncio.sleep(0.02)
    began = loop.time()
    with pytest.raises(TimeoutError):
        await waits(None, patience)
    assert loop.time() - began >= 0.05
    assert isinstance(first.exception(), TimeoutError)


async def test_the_end_of_the_session_comes_before_a_time_out(session: Session) -> None:
    waiting = asyncio.ensure_future(waits(session, Patience(NEVER)))
    await asyncio.sleep(0)
    session.end("disconnected")
    with pytest.raises(SessionOver, match="disconnected"):
        await waiting


async def test_a_session_that_ends_as_time_runs_out_is_broken_off_once(session: Session) -> None:
    async def ends() -> None:
        with Stage(session, Patience(SOON)):
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                session.end("disconnected")
                await asyncio.sleep(SOON)

    ending = asyncio.ensure_future(ends())
    with pytest.raises(SessionOver):
        await ending


async def test_nothing_begins_in_a_session_that_is_over(session: Session) -> None:
    session.end("disconnected")
    with pytest.raises(SessionOver), Stage(session):
        pytest.fail("it would have begun")


async def test_a_cancellation_by_others_passes(session: Session) -> None:
    waiting = asyncio.ensure_future(waits(session, Patience(NEVER)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_the_body_raises_passes(session: Session) -> None:
    patience = Patience(NEVER)
    with pytest.raises(ValueError, match="its own"), Stage(session, patience):
        raise ValueError("its own")
    assert not session.on_ending
    assert not patience.ends
