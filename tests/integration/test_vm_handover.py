"""A SPICE channel handed over to a real QEMU; links are left before the ticket: no harm in that."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from broker.errors import NoConsole, VmUnresponsive
from broker.vm import handover
from broker.vm.monitor import MonitorGone
from tests.guests import Guest, Home, needs_qemu, qmp
from tests.hand import BARE, by_hand
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]

MAIN = struct.pack("<4sIII", b"REDQ", 2, 2, 18 + 4) + struct.pack(
    "<IBBIIII", 0, 1, 0, 1, 0, 18, 0b1011
)
"""Link header and message for the main channel: one word of common capabilities."""


async def link(end: socket.socket) -> bytes:
    """Ask for a link; the server's answer: header, result, key, capabilities."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        await loop.sock_sendall(end, MAIN)
        answer = b""
        while len(answer) < 16 + 178:
            answer += await loop.sock_recv(end, 4096)
    return answer


async def test_the_handed_over_end_speaks_spice(demo_guest: Guest) -> None:
    with await handover.hand_over(str(demo_guest.paths.ctl)) as end:
        magic, major, _, _, error = struct.unpack_from("<4sIIII", await link(end))
    assert (magic, major, error) == (b"REDQ", 2, 0)


async def test_the_end_is_what_a_relay_needs(demo_guest: Guest) -> None:
    with await handover.hand_over(str(demo_guest.paths.ctl)) as end:
        assert end.gettimeout() == 0
        assert end.family is socket.AF_INET
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert end.getpeername()[0] == "127.0.0.1"


def descriptors(pid: int | None) -> int:
    """How many files that process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def test_one_that_is_broken_off_leaves_nothing_in_the_machine(demo_guest: Guest) -> None:
    """QEMU has 1024 descriptors, and a viewer may leave at any moment."""
    control = str(demo_guest.paths.ctl)
    pid = (await demo_guest.instance.look()).pid
    before, draw = descriptors(pid), Random("broken off")
    for _ in range(80):
        asking = asyncio.ensure_future(handover.hand_over(control))
        await asyncio.sleep(draw.uniform(0, 0.004))  # the moment is what is drawn
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await asking).close()
    async with asyncio.timeout(60):
        while descriptors(pid) > before:  # noqa: ASYNC110 - QEMU tells nobody
            await asyncio.sleep(0.01)


async def test_twenty_at_once_queue_and_all_get_their_own(demo_guest: Guest) -> None:
    control = str(demo_guest.paths.ctl)
    ends = await asyncio.gather(*(handover.hand_over(control, timeout=60) for _ in range(20)))
    answers = await asyncio.gather(*(link(end) for end in ends))
    for end in ends:
        end.close()
    assert [answer[:4] for answer in answers] == [b"REDQ"] * 20
    assert (await demo_guest.instance.look()).state.value == "running"


async def test_nothing_listens_afterwards(demo_guest: Guest) -> None:
    with await handover.hand_over(str(demo_guest.paths.ctl)) as end:
        port = end.getpeername()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


async def test_a_vm_that_is_off_says_so(home: Home) -> None:
    instance = home.instance()
    with pytest.raises(MonitorGone, match="web-01: its monitor is gone"):
        await handover.hand_over(str(instance.paths.ctl), name="web-01")
    await instance.start()
    await instance.kill()
    with pytest.raises(MonitorGone):
        await handover.hand_over(str(instance.paths.ctl))


async def test_a_held_vm_is_unresponsive_and_goes_on_afterwards(demo_guest: Guest) -> None:
    pid = (await demo_guest.instance.look()).pid
    assert pid is not None
    control = str(demo_guest.paths.ctl)
    hold(pid)
    with pytest.raises(VmUnresponsive):
        await handover.hand_over(control, timeout=0.3)
    os.kill(pid, signal.SIGCONT)
    with await handover.hand_over(control) as end:
        assert (await link(end))[:4] == b"REDQ"


@pytest.fixture
async def plain_qemu(home: Home) -> AsyncIterator[Path]:
    """The control monitor of a QEMU that somebody started by hand, without SPICE."""
    monitor = home.root / "hand.sock"
    async with by_hand(
        home.root, *BARE, "-qmp", f"unix:{monitor},server=on,wait=off", ready=monitor
    ):
        yield monitor


async def test_a_qemu_without_spice_has_no_console(plain_qemu: Path) -> None:
    with pytest.raises(NoConsole, match="will not serve SPICE") as caught:
        await handover.hand_over(str(plain_qemu))
    assert "-spice agent-mouse=on" in caught.value.fix
    assert isinstance(await qmp(plain_qemu, "query-status"), dict)


async def test_a_stranger_who_connects_meanwhile_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    strangers: list[socket.socket] = []
    connect = loop.sock_connect

    async def after_a_stranger(end: socket.socket, address: tuple[str, int]) -> None:
        strangers.append(socket.create_connection(address))
        await connect(end, address)

    monkeypatch.setattr(loop, "sock_connect", after_a_stranger)
    ours, theirs = await handover.tcp_pair()
    with ours, theirs, strangers[0] as stranger:
        assert (ours.getpeername(), theirs.getpeername()) == (
            theirs.getsockname(),
            ours.getsockname(),
        )
        stranger.settimeout(30)
        assert stranger.recv(1) == b""
