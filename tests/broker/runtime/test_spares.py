"""Connections that a supervisor keeps for a relay worker that may be killed."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from broker.runtime import spares
from broker.runtime.spares import SpareHolder, SpareLine


class Server:
    """The other end of a connection of the worker's."""

    def __init__(self) -> None:
        self.workers, self.end = socket.socketpair()
        self.end.setblocking(False)

    @property
    def is_cut(self) -> bool:
        try:
            return not self.end.recv(16)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def close(self) -> None:
        self.workers.close()
        self.end.close()


class Worker:
    """A worker's end of its line, and its connections."""

    def __init__(self, holder: SpareHolder) -> None:
        with holder.line() as end:
            self._sock = end.dup()
        self.line = SpareLine(self._sock)
        self.servers: list[Server] = []
        self._held = contextlib.ExitStack()

    def opens(self, *, main: bool = False) -> Server:
        """It is in the window from now on."""
        server = Server()
        self.servers.append(server)
        self._held.enter_context(self.line.kept(server.workers, main=main))
        return server

    def goes_on(self) -> None:
        """It is out of the window."""
        self._held.close()

    def dies(self) -> None:
        """As the kernel ends it."""
        for server in self.servers:
            server.workers.close()
        self._sock.close()


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> SpareHolder:
    monkeypatch.setattr(spares, "SETTLE_SECONDS", 0.02)
    return SpareHolder()


@pytest.fixture
async def hired(holder: SpareHolder) -> AsyncIterator[Callable[[], Worker]]:
    workers: list[Worker] = []

    def hire() -> Worker:
        workers.append(Worker(holder))
        return workers[-1]

    yield hire
    for worker in workers:
        worker.dies()
        for server in worker.servers:
            server.close()
    await asyncio.sleep(0)
    await holder.let_go()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another callback of this loop changes it
            await asyncio.sleep(0)


def said_to(end: socket.socket) -> list[bytes]:
    """Every word that waits there; the descriptors are dropped."""
    end.setblocking(False)
    said = []
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(end.recv(16))
    return said


Hired = Callable[[], Worker]


async def test_a_display_that_has_opened_is_not_kept(holder: SpareHolder, hired: Hired) -> None:
    worker = hired()
    server = worker.opens()
    await until(lambda: holder.count == 1)
    worker.goes_on()
    await until(lambda: not holder.count)
    worker.dies()
    assert server.is_cut


async def test_a_display_that_is_opening_outlives_its_worker_until_the_server_spoke(
    holder: SpareHolder, hired: Hired
) -> None:
    worker = hired()
    main, display = worker.opens(main=True), worker.opens()
    worker.dies()  # before the holder has read anything
    await until(lambda: holder.count)
    assert not display.is_cut
    assert not main.is_cut
    display.end.send(b"SET_ACK")
    await holder.let_go()
    assert display.is_cut
    assert main.is_cut


async def test_main_goes_with_its_worker_where_no_display_is_opening(
    holder: SpareHolder, hired: Hired
) -> None:
    worker = hired()
    main = worker.opens(main=True)
    worker.dies()
    await until(lambda: main.is_cut)


async def test_main_waits_for_a_display_that_another_worker_opens(
    holder: SpareHolder, hired: Hired
) -> None:
    first, second = hired(), hired()
    main, display = first.opens(main=True), second.opens()
    await until(lambda: holder.count)
    first.dies()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not main.is_cut
    second.goes_on()
    await until(lambda: main.is_cut)
    assert not display.is_cut


async def test_a_machine_that_says_nothing_is_not_waited_for_for_ever(
    holder: SpareHolder, hired: Hired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares, "ANSWER_SECONDS", 0.02)
    worker = hired()
    display = worker.opens()
    worker.dies()
    await until(lambda: display.is_cut)


async def test_what_is_broken_off_by_force_is_kept(holder: SpareHolder, hired: Hired) -> None:
    worker = hired()
    server = Server()
    worker.servers.append(server)

    async def cross() -> None:
        with worker.line.kept(server.workers):
            await asyncio.Event().wait()

    crossing = asyncio.ensure_future(cross())
    await until(lambda: holder.count)
    crossing.cancel()
    await asyncio.wait([crossing])
    worker.dies()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not server.is_cut
    server.end.send(b"SET_ACK")
    await holder.let_go()


async def test_a_worker_goes_on_when_nobody_keeps(hired: Hired) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    server = Server()
    with ours, contextlib.closing(server), SpareLine(ours).kept(server.workers):
        assert not server.is_cut


async def test_what_could_not_be_said_is_said_later(hired: Hired) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line, server = SpareLine(ours), Server()
    with ours, theirs, contextlib.closing(server):
        with contextlib.suppress(BlockingIOError), line.kept(server.workers):
            while True:  # nobody reads
                ours.send(b"00000")
        assert said_to(theirs)[-1] == b"00000"
        with line.kept(server.workers):
            pass
        assert [word[:1] for word in said_to(theirs)] == [b"d", b"-", b"-"]
