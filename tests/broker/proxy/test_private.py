"""The private socket: only programs of the same user get so far as to show a token."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broker.errors import StoreError
from broker.proxy import private
from broker.proxy.gate import ChannelOpened, ConnectionRefused, Peer
from broker.proxy.limits import Limits
from broker.spice.client import Linked
from broker.spice.constants import ChannelType
from tests.broker.proxy.fake_server import FakeServer
from tests.broker.proxy.rig import SECONDS, Rig, proxying

AS_SOMEBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(chr(0) + sys.argv[1])
sock.recv(1)
"""


def test_only_we_can_connect_to_what_lies_there_and_what_was_left_over_is_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.sock"
    for _ in range(2):  # the second finds what the first left, as after a kill
        with private.bound(path) as sock:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert private.connected(path) is None  # nobody listens yet
            sock.listen()
            ours = private.connected(path)
            assert ours is not None
            with ours, sock.accept()[0] as theirs:
                assert private.is_ours(theirs)
    assert private.connected(path) is None


def test_what_cannot_be_replaced_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be made"):
        private.bound(path)


def test_with_room_more_than_the_usual_can_be_written_before_it_is_read() -> None:
    def written(sock: socket.socket) -> int:
        sock.setblocking(False)
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                taken += sock.send(bytes(4096))
        return taken

    ours, theirs = socket.socketpair()
    more, others = socket.socketpair()
    with ours, theirs, more, others:
        private.give_room(more)
        assert written(more) > written(ours)


def test_a_directory_that_cannot_be_written_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be made"):
        private.bound(tmp_path / "missing" / "own.sock")


def test_who_runs_as_another_user_is_not_one_of_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.sock"
    with private.bound(path) as sock:
        sock.listen()
        ours = private.connected(path)
        assert ours is not None
        own = os.geteuid()
        with ours, sock.accept()[0] as theirs:
            monkeypatch.setattr(os, "geteuid", lambda: own + 1)
            assert not private.is_ours(theirs)
            assert not private.is_ours(ours)
            assert private.connected(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_kernel_tells_somebody_else_s_process() -> None:
    name = f"console-broker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}")  # no directory keeps anybody away from it
        sock.listen()
        sock.settimeout(SECONDS)
        with subprocess.Popen([sys.executable, "-c", AS_SOMEBODY, name]) as child:
            with sock.accept()[0] as theirs:
                assert not private.is_ours(theirs)
            assert child.wait(SECONDS) == 0


async def test_who_is_not_our_user_is_closed_without_a_word(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.listener.is_ours", lambda _: False)
    rig.by_private = True
    reader, _ = await rig.raw()
    async with asyncio.timeout(SECONDS):
        assert await reader.read() == b""
    refused = await rig.gate.heard(ConnectionRefused)
    assert (refused.reason, refused.peer.host) == ("other-user", "127.0.0.1")


async def test_who_comes_so_is_written_down_as_of_this_host(rig: Rig, fake: FakeServer) -> None:
    rig.by_private = True
    main = await rig.open(ChannelType.MAIN)
    opening = asyncio.ensure_future(main.until(Linked))
    await fake.main()
    await opening
    assert (await rig.gate.heard(ChannelOpened)).peer == Peer("127.0.0.1", 0)


async def test_who_says_nothing_there_is_closed_too(tmp_path: Path) -> None:
    async with proxying(tmp_path, limits=Limits(link_seconds=0.05, close_seconds=0.05)) as rig:
        rig.by_private = True
        reader, _ = await rig.raw()
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
        assert (await rig.gate.heard(ConnectionRefused)).reason == "handshake-timeout"


async def test_who_shows_no_token_there_counts_as_half_open(tmp_path: Path) -> None:
    async with proxying(tmp_path, limits=Limits(half_open=1)) as rig:
        rig.by_private = True
        await rig.raw()
        reader, _ = await rig.raw()
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
        assert (await rig.gate.heard(ConnectionRefused)).reason == "limit"
