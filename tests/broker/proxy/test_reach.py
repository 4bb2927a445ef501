"""Several addresses, and an HTTP proxy on the way."""

from __future__ import annotations

import asyncio
import socket

import pytest

from broker.model import HandOverTarget, TcpTarget
from broker.proxy import reach
from broker.proxy.dial import TargetDialer, pinned
from broker.proxy.gate import BackendUnreachable
from broker.proxy.reach import first_to_answer, in_turn, split_proxy
from tests.broker.proxy.connect_proxy import connect_proxy
from tests.broker.proxy.rig import listening

FOUR, SIX = socket.AF_INET, socket.AF_INET6


def test_families_take_turns_beginning_with_the_first() -> None:
    addresses = [(SIX, "a"), (SIX, "b"), (SIX, "c"), (FOUR, "d"), (FOUR, "e")]
    assert "".join(str(address) for _, address in in_turn(addresses)) == "adbec"
    assert list(in_turn([])) == []


class Net:
    """Addresses that answer after a while, fail, or never do anything."""

    def __init__(self, **seconds: float | None) -> None:
        self.seconds = seconds
        self.tried: list[str] = []
        self.made: dict[str, socket.socket] = {}

    async def connect(self, family: int, address: object, where: str) -> socket.socket:
        name = str(address)
        self.tried.append(name)
        if (seconds := self.seconds[name]) is None:
            raise BackendUnreachable(f"{name} refuses")
        await asyncio.sleep(seconds)
        self.made[name] = socket.socket()
        return self.made[name]

    async def race(self) -> str:
        found = await first_to_answer([(FOUR, name) for name in self.seconds], "vm:1")
        (name,) = (name for name, sock in self.made.items() if sock is found)
        found.close()
        await asyncio.sleep(0)
        assert all(sock.fileno() == -1 for sock in self.made.values())
        return name


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(reach, "NEXT_AFTER", 0.3)
    return monkeypatch


async def test_the_first_that_answers_is_kept(hurried: pytest.MonkeyPatch) -> None:
    net = Net(a=30.0, b=0.0, c=0.0)
    hurried.setattr(reach, "connect", net.connect)
    assert await net.race() == "b"
    assert net.tried == ["a", "b"]


async def test_a_slow_first_still_wins_when_it_is_first(hurried: pytest.MonkeyPatch) -> None:
    net = Net(a=0.05, b=30.0)
    hurried.setattr(reach, "connect", net.connect)
    assert await net.race() == "a"


async def test_the_next_is_tried_at_once_when_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "NEXT_AFTER", 60)
    net = Net(a=None, b=None, c=0.0)
    monkeypatch.setattr(reach, "connect", net.connect)
    async with asyncio.timeout(60):
        assert await net.race() == "c"


async def test_all_failing_says_the_last_reason(hurried: pytest.MonkeyPatch) -> None:
    hurried.setattr(reach, "connect", Net(a=None, b=None).connect)
    with pytest.raises(BackendUnreachable, match="b refuses"):
        await first_to_answer([(FOUR, "a"), (FOUR, "b")], "vm:1")
    with pytest.raises(BackendUnreachable, match="no address"):
        await first_to_answer([], "vm:1")


async def test_giving_up_leaves_no_socket_behind(hurried: pytest.MonkeyPatch) -> None:
    net = Net(a=30.0, b=30.0)
    hurried.setattr(reach, "connect", net.connect)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await net.race()
    assert net.made == {}


# --- CONNECT --------------------------------------------------------------------------------------


async def test_a_console_behind_an_http_proxy_is_reached() -> None:
    async with connect_proxy() as proxy:
        with listening() as server:
            server.setblocking(False)
            port = server.getsockname()[1]
            dialed = await TargetDialer().dial(TcpTarget("127.0.0.1", port, proxy=proxy.url))
            assert proxy.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"]
            loop = asyncio.get_running_loop()
            with dialed.sock:
                accepted, _ = await loop.sock_accept(server)
                with accepted:
                    await loop.sock_sendall(dialed.sock, b"REDQ")
                    assert await loop.sock_recv(accepted, 10) == b"REDQ"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"does not connect to vm.lab:5900 \(403 Forbidden\)"),
        (b"HTTP/1.1 407 Who\x1b[31m are you\r\n\r\n", r"407 Who\?\[31m are you"),
        (b"REDQ\2\0\0\0\2\0\0\0", "is no HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nREDQ", "is no HTTP proxy"),
        (b"HTTP/1.1\r\n\r\n", "is no HTTP proxy"),
        (b"x" * 20_000, "is no HTTP proxy"),
    ],
    ids=["403", "407", "spice", "too early", "no status", "endless"],
)
async def test_a_proxy_that_does_not_connect_is_said(answer: bytes, words: str) -> None:
    async with connect_proxy(answer) as proxy:
        with pytest.raises(BackendUnreachable, match=words):
            await TargetDialer().dial(TcpTarget("vm.lab", 5900, proxy=proxy.url))


async def test_a_proxy_that_is_not_there_is_said() -> None:
    with listening() as gone:
        port = gone.getsockname()[1]
    target = TcpTarget("vm.lab", 5900, proxy=f"http://127.0.0.1:{port}")
    with pytest.raises(BackendUnreachable, match=r"vm\.lab:5900 behind 127\.0\.0\.1"):
        await TargetDialer().dial(target)


def test_what_names_a_proxy() -> None:
    assert split_proxy("http://gw.lab:3128/") == ("gw.lab", 3128)
    assert split_proxy("[2001:db8::1]:80") == ("2001:db8::1", 80)


@pytest.mark.parametrize("text", ["", "gw", "http://gw", "http://a:b@gw:1", "gw:0", "gw:70000"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not http"):
        split_proxy(text)


# --- one session, one host ------------------------------------------------------------------------


async def test_a_session_stays_with_the_address_it_began_at() -> None:
    with listening() as server:
        target = TcpTarget("localhost", server.getsockname()[1])
        first = await TargetDialer().dial(target)
        with first.sock:
            stays = pinned(target, first.sock)
        assert stays == TcpTarget("localhost", target.port, address="127.0.0.1")
        (await TargetDialer().dial(stays)).sock.close()


async def test_a_name_is_not_asked_for_again() -> None:
    with listening() as server:
        target = TcpTarget("no-such-host.invalid", server.getsockname()[1], address="127.0.0.1")
        (await TargetDialer().dial(target)).sock.close()


def test_there_is_nothing_to_pin_where_there_is_one_way() -> None:
    with socket.socket() as sock:
        for target in (HandOverTarget("/c"), TcpTarget("vm", 1, proxy="http://p:1")):
            assert pinned(target, sock) == target
