"""Two relay workers as processes on one port, before a real QEMU: who holds what, and who dies."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from broker.errors import NotFound, UsageError
from broker.model import LinkPolicy, SessionId, WhenOccupied
from broker.runtime.worker_life import life_of
from broker.spice.client import MainReady, Notified
from broker.spice.constants import ChannelType
from broker.spice.notify import Severity
from tests.adversary.link import Link
from tests.adversary.plays import BEGIN
from tests.broker.proxy.rig import SECONDS
from tests.integration.house import House, house, inodes, reasons, stopped
from tests.integration.test_serving import until

__all__ = ["house"]
pytestmark = pytest.mark.qemu


async def test_channels_land_in_both_workers_and_are_one_session(house: House) -> None:
    one, two = house.status.workers
    viewer = await house.viewer_across(one, two)
    assert [house.holder(each) for each in viewer.all] == [one, two, two]
    await viewer.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")
    session = await house.counted(3)
    assert (session.worker, session.worker_life) == (one, life_of(one))
    assert {each.name for each in session.channels} == {"main", "display.0", "inputs.0"}
    await house.service.disconnect(session.id)
    await viewer.closed()
    await house.ended()
    await house.fresh_viewer()


async def test_many_viewers_spread_over_both_workers(house: House) -> None:
    held: set[int] = set()
    async with asyncio.timeout(2 * SECONDS):
        while held != set(house.status.workers):  # who accepts is up to the kernel
            viewer = await house.viewer()
            held |= {house.holder(each) for each in viewer.all}
            await viewer.main.close()
            await house.ended()


@pytest.mark.parametrize("victim", ["owner", "other"])
async def test_a_worker_is_killed_and_the_machine_lives(house: House, victim: str) -> None:
    one, two = house.status.workers
    viewer = await house.viewer_across(one, two)
    os.kill(one if victim == "owner" else two, signal.SIGKILL)
    await viewer.closed()
    await house.ended()
    assert reasons() == ["worker-died"]
    await until(lambda: len(house.status.workers) == 2)
    await house.fresh_viewer()


@pytest.mark.parametrize("which", [0, 1])
async def test_a_worker_that_is_told_to_stop_ends_its_sessions_in_the_safe_order(
    house: House, which: int
) -> None:
    one, two = house.status.workers
    viewer = await house.viewer_across(one, two)
    os.kill((one, two)[which], signal.SIGINT)  # SIGTERM gives sessions their grace
    await viewer.closed()
    await house.ended()
    await until(lambda: len(house.status.workers) == 2)
    await house.fresh_viewer()


# --- somebody is there already --------------------------------------------------------------------


def of_ours(said: Notified) -> bool:
    """QEMU has something to say too: that keys go over plain TCP."""
    return said.notify.severity == Severity.INFO


async def test_what_is_said_reaches_the_viewer_and_its_session_goes_on(house: House) -> None:
    viewer = await house.viewer()
    (session,) = await house.live()
    await house.service.message(session.id, "Back at five\n\x1b[31m")
    said = (await viewer.main.until(Notified, of_ours)).notify
    assert said.text.startswith("Back at five")
    assert said.text.isprintable()
    await viewer.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")
    await house.service.message(session.id, "and ünder")
    assert (await viewer.main.until(Notified, of_ours)).notify.text == "and ünder"
    async with asyncio.timeout(SECONDS):
        while len(told := await house.said()) < 2:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    assert [event.key for event in told] == [session.key] * 2
    assert told[1].text.endswith("lab/vm was sent: and ünder")
    with pytest.raises(NotFound):
        await house.service.message(SessionId("f" * 12), "anybody?")
    with pytest.raises(UsageError):
        await house.service.message(session.id, "x" * 401)
    await viewer.main.close()
    await house.ended()
    await house.fresh_viewer()


async def test_a_second_viewer_is_refused_before_the_machine_hears_of_it(house: House) -> None:
    first = await house.viewer()
    second = await house.open(ChannelType.MAIN, await house.token())
    with pytest.raises(ConnectionError):
        await second.until(MainReady)
    assert second.client.refusal is None  # closed without a word: no password would help
    assert len(await house.live()) == 1
    await first.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")
    await house.told("occupied")


async def test_taking_over_ends_the_other_session_cleanly_in_whatever_worker(house: House) -> None:
    one, two = house.status.workers
    first = await house.viewer_across(one, two)
    with stopped(one):
        there = len(house.writers)
        opening = asyncio.ensure_future(house.viewer(LinkPolicy(occupied=WhenOccupied.TAKE_OVER)))
        await until(lambda: len(house.writers) > there)  # its MAIN is with the other worker
    second = await opening
    for each in first.all:
        await each.reader.read()  # to a proper end: neither reset nor cut off
    (session,) = await house.live()
    assert session.worker == two
    await second.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")
    await second.main.close()
    await house.ended()
    assert reasons() == ["taken-over", "client-closed"]


async def test_who_waits_comes_in_when_the_other_has_left(house: House) -> None:
    first = await house.viewer()
    waiting = asyncio.ensure_future(house.viewer(LinkPolicy(occupied=WhenOccupied.WAIT)))
    await asyncio.sleep(2.0)  # longer than anybody waits who was not told to
    assert not waiting.done()
    assert len(await house.live()) == 1
    await first.main.close()
    second = await waiting
    await second.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")


async def test_who_leaves_while_waiting_never_reaches_the_machine(house: House) -> None:
    first = await house.viewer()
    token = await house.token(LinkPolicy(occupied=WhenOccupied.WAIT))
    waiting = await house.open(ChannelType.MAIN, token)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):  # it shows its token, and waits for its turn
            await waiting.until(MainReady)
    waiting.reset()
    await house.told("client-closed")
    await first.main.close()
    await house.ended()
    assert reasons() == ["client-closed"]


async def test_a_session_lasts_as_long_as_its_file_said(house: House) -> None:
    viewer = await house.viewer(LinkPolicy(session_ttl=1.0))
    await viewer.closed()
    await house.ended()
    assert reasons() == ["session-ttl"]
    await house.fresh_viewer()


@pytest.mark.parametrize("victim", ["owner", "other"])
async def test_a_worker_is_killed_while_a_display_opens_and_the_machine_lives(
    house: House, victim: str
) -> None:
    """The supervisor has a copy of MAIN and of the display, whichever worker holds them."""
    one, two = house.status.workers
    token = await house.token()
    with stopped(two):
        main = await house.open(ChannelType.MAIN, token)
        session = (await main.until(MainReady)).init.session_id
    with stopped(one):
        link = Link(*await house.connect())
    await link.request(ChannelType.DISPLAY, session)
    await link.say(await link.sealed(token))
    assert not await link.result()
    supervisor = house.status.pid or 0
    before = inodes(supervisor)

    def copies() -> set[str]:
        """Connections of the workers that the supervisor has, too."""
        return (inodes(supervisor) - before) & (inodes(one) | inodes(two))

    with stopped(house.qemu.process.pid):
        await link.say(BEGIN)
        await until(lambda: len(copies()) == 2)
        os.kill(one if victim == "owner" else two, signal.SIGKILL)
        await until(lambda: set(house.status.workers) != {one, two})
    assert await house.qemu.is_alive()
    await house.ended()
    await until(lambda: len(house.status.workers) == 2)
    await house.fresh_viewer()
