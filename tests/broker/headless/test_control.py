"""The control socket over a session that says what it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.errors import StoreError, UsageError
from broker.headless.control import QUEUE_EVENTS, serving
from broker.headless.control_socket import see_that_it_can_be
from broker.headless.inbox import Inbox
from broker.headless.session import Heard, Session
from broker.headless.typist import keys_for
from broker.spice.client import AgentChanged, Event, Pinged
from broker.spice.constants import ChannelType
from broker.spice.screen import Painted, Rect

SECONDS = 60.0
A, B = 0x1E, 0x30


class FakeSession(Session):
    """Open, with an agent; remembers the keys."""

    def __init__(self, group: asyncio.TaskGroup, stack: contextlib.AsyncExitStack) -> None:
        async def dial() -> Inbox:
            raise AssertionError

        super().__init__(dial, "", group, stack)
        self.agent_connected = True
        self.keys: list[tuple[int, bool]] = []
        self.struck = asyncio.Event()

    async def key(self, code: int, *, down: bool) -> None:
        self.keys.append((code, down))
        self.struck.set()

    def happens(self, event: Event, at: float = 0.0, kind: ChannelType = ChannelType.MAIN) -> None:
        for listener in tuple(self._listeners):
            listener(Heard(kind, 0, event, at))


class Client:
    """A client of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            line = await self.reader.readline()
        return dict(json.loads(line)) if line else {}

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Sends it; the answer, which must come next."""
        self.writer.write(
            json.dumps({"id": 7, "method": method, "params": params}).encode() + b"\n"
        )
        said = await self.hear()
        assert said["id"] == 7
        return said

    async def event(self) -> tuple[str, dict[str, Any]]:
        said = await self.hear()
        return said["event"], said["data"]

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def is_there(path: Path) -> bool:
    return path.exists()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(broker_home: Path) -> Path:
    return broker_home / "c.sock"


@pytest.fixture
async def session() -> AsyncIterator[FakeSession]:
    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        yield FakeSession(group, stack)


@pytest.fixture
async def faults() -> AsyncIterator[list[dict[str, Any]]]:
    """What nobody caught."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield found
    assert not found


@contextlib.asynccontextmanager
async def connected(path: Path, *, hello: bool = True) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_unix_connection(str(path), limit=1 << 22))
    try:
        if hello:
            await client.ask("hello", client_name="test", protocol_version="1.2")
        yield client
    finally:
        client.writer.transport.abort()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture
async def client(
    session: FakeSession, path: Path, faults: list[dict[str, Any]]
) -> AsyncIterator[Client]:
    async with serving(session, path, keys_for), connected(path) as client:
        yield client


DRAWN = Painted(0, (Rect(0, 0, 1, 1),))


async def test_the_oldest_events_make_room_and_their_number_is_told(
    session: FakeSession, client: Client
) -> None:
    await client.ask("subscribe", events=["surface_drawn"])
    for place in range(QUEUE_EVENTS + 44):
        session.happens(DRAWN, at=float(place))
    assert await client.event() == ("dropped", {"count": 44})
    first = (await client.event())[1]["produced_at_secs"]
    rest = [(await client.event())[1]["produced_at_secs"] for _ in range(QUEUE_EVENTS - 1)]
    assert rest[-1] - first == QUEUE_EVENTS - 1
    session.happens(DRAWN)
    assert (await client.event())[0] == "surface_drawn"


async def test_latency_is_the_time_between_two_pings(session: FakeSession, client: Client) -> None:
    await client.ask("subscribe", events=["latency"])
    session.happens(Pinged(), at=1.0)
    session.happens(Pinged(), at=1.25)
    name, data = await client.event()
    assert (name, data["sample_ms"]) == ("latency", 250.0)
    assert data["wallclock_us"] > 0


async def test_an_agent_that_comes_and_goes_is_told(session: FakeSession, client: Client) -> None:
    await client.ask("subscribe", events=["agent_connected"])
    session.happens(AgentChanged(connected=False))
    session.happens(AgentChanged(connected=True))
    assert await client.event() == ("agent_connected", {"connected": False})
    assert await client.event() == ("agent_connected", {"connected": True})


async def test_nothing_is_told_that_was_not_asked_for(session: FakeSession, client: Client) -> None:
    await client.ask("subscribe", events=["latency"])
    session.happens(DRAWN)
    await client.ask("unsubscribe", events=["latency"])
    session.happens(Pinged(), at=1.0)
    session.happens(Pinged(), at=2.0)
    assert (await client.ask("status"))["ok"]


async def test_texts_are_typed_one_after_the_other(session: FakeSession, client: Client) -> None:
    await client.ask("subscribe", events=["paste_completed"])
    await client.ask("paste", text="aa", char_delay_ms=1)
    await client.ask("paste", text="bb", char_delay_ms=0)
    for _ in range(2):
        assert await client.event() == ("paste_completed", {"request_id": 7, "chars_sent": 2})
    assert [code for code, down in session.keys if down] == [A, A, B, B]


async def test_an_agent_that_goes_ends_a_text(session: FakeSession, client: Client) -> None:
    await client.ask("subscribe", events=["paste_failed"])
    await client.ask("paste", text="a" * 1000, char_delay_ms=1)
    await session.struck.wait()
    session.agent_connected = False
    name, data = await client.event()
    assert (name, data["request_id"]) == ("paste_failed", 7)
    assert (await client.ask("paste", text="a"))["error"]["code"] == "agent_not_connected"


async def test_a_client_that_leaves_stops_its_text_and_makes_room(
    session: FakeSession, path: Path, faults: list[dict[str, Any]]
) -> None:
    async with serving(session, path, keys_for):
        async with connected(path) as first:
            await first.ask("paste", text="a" * 1000, char_delay_ms=5)
            await session.struck.wait()
            await first.leave()
        async with asyncio.timeout(SECONDS), contextlib.AsyncExitStack() as stack:
            while True:
                second = await stack.enter_async_context(connected(path, hello=False))
                second.writer.write(b'{"id":1,"method":"hello","params":{"client_name":"x",')
                second.writer.write(b'"protocol_version":"1.0"}}\n')
                if (await second.hear())["ok"]:
                    break
            held = [code for code, down in session.keys if down]
            assert len(held) < 1000
            session.happens(DRAWN)  # what the first had asked for is forgotten
            assert (await second.ask("status"))["ok"]


async def test_a_client_that_vanishes_among_events_disturbs_nobody(
    session: FakeSession, path: Path, faults: list[dict[str, Any]]
) -> None:
    async with serving(session, path, keys_for):
        async with connected(path) as client:
            await client.ask("subscribe", events=["surface_drawn"])
            for _ in range(50):
                for _ in range(QUEUE_EVENTS):
                    session.happens(DRAWN)
                await asyncio.sleep(0)
        for _ in range(QUEUE_EVENTS):
            session.happens(DRAWN)


async def test_a_client_that_does_not_read_holds_nobody_up(
    session: FakeSession, path: Path, faults: list[dict[str, Any]]
) -> None:
    async with connected_after(session, path) as client, asyncio.timeout(SECONDS):
        await client.ask("subscribe", events=["surface_drawn"])
        for _ in range(200):  # far more than the kernel keeps
            for _ in range(QUEUE_EVENTS):
                session.happens(DRAWN)
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected_after(session: FakeSession, path: Path) -> AsyncIterator[Client]:
    """A client that is still there when the serving ends."""
    async with contextlib.AsyncExitStack() as stack:
        async with serving(session, path, keys_for):
            client = await stack.enter_async_context(connected(path))
            yield client
        assert not is_there(path)


async def test_a_line_without_an_end_is_answered_and_ends_it(
    session: FakeSession, path: Path, faults: list[dict[str, Any]]
) -> None:
    async with serving(session, path, keys_for), connected(path) as client:
        with contextlib.suppress(ConnectionError):
            client.writer.write(b"x" * (3 << 20))
            await client.writer.drain()
        with contextlib.suppress(ConnectionError):
            said = await client.hear()
            assert not said or said["error"]["code"] == "bad_params"
            assert await client.hear() == {}


# -- the socket


async def test_a_stale_socket_is_replaced_and_ours_is_private_and_goes(
    session: FakeSession, path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(session, path, keys_for):
        assert mode_of(path) == 0o600
        with pytest.raises(UsageError, match="Somebody serves"):
            see_that_it_can_be(path)
    assert not is_there(path)


def test_a_place_where_no_socket_can_be_is_said(broker_home: Path) -> None:
    file = broker_home / "file"
    file.touch()
    with pytest.raises(UsageError, match="no socket"):
        see_that_it_can_be(file)
    with pytest.raises(UsageError, match="too long"):
        see_that_it_can_be(broker_home / ("x" * 120))
    with pytest.raises(UsageError, match="no directory"):
        see_that_it_can_be(broker_home / "nowhere" / "x.sock")


async def test_a_directory_that_takes_no_socket(session: FakeSession) -> None:
    with pytest.raises(StoreError, match="cannot be made"):
        async with serving(session, Path("/proc/x.sock"), keys_for):
            pass
