"""Two relay workers as processes on one port, before a real QEMU: who holds what, and who dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.model import LinkPolicy, ProxyStatus, WhenOccupied
from broker.model import Session as StoredSession
from broker.runtime import open_service
from broker.runtime.hosting import LeasedProxy
from broker.service.port import ExportRequest, Service
from broker.spice.client import ChannelClient, ChannelsListed, Linked, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from broker.store.store import Store
from tests.adversary.link import Link
from tests.adversary.plays import BEGIN
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import SECONDS, Connection
from tests.integration.test_serving import hosted, until

pytestmark = pytest.mark.qemu

UUID = "6f4e2c1a-0000-0000-0000-000000000001"
SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")


@dataclass
class House:
    """A serving proxy with two workers, a service to ask, and a machine."""

    service: Service
    proxy: LeasedProxy
    qemu: Qemu
    tls: ssl.SSLContext
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def status(self) -> ProxyStatus:
        return self.proxy.status()

    async def token(self, policy: LinkPolicy | None = None) -> str:
        (console,) = await self.service.consoles()
        request = ExportRequest(policy=policy or LinkPolicy())
        exported = await self.service.export_vv(console.machine.key, request)
        (line,) = (x for x in exported.text.splitlines() if x.startswith("password="))
        return line.removeprefix("password=")

    async def open(
        self, kind: ChannelType, token: str, *, session: int = 0, channel: int = 0
    ) -> Connection:
        reader, writer = await self.connect()
        client = ChannelClient(kind, token.encode(), connection_id=session, channel_id=channel)
        connection = Connection(client, reader, writer)
        await connection.flush()
        return connection

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.status.tls_port, ssl=self.tls, server_hostname="localhost"
        )
        self.writers.append(writer)
        return reader, writer

    async def viewer(self, policy: LinkPolicy | None = None) -> Viewer:
        """MAIN, display and inputs, wherever they land."""
        token = await self.token(policy)
        main = await self.open(ChannelType.MAIN, token)
        session = (await main.until(MainReady)).init.session_id
        await main.until(ChannelsListed)
        display = await self.open(ChannelType.DISPLAY, token, session=session)
        await display.until(SurfaceCreated)
        inputs = await self.open(ChannelType.INPUTS, token, session=session)
        await inputs.until(Linked)
        return Viewer(main, display, inputs)

    async def viewer_across(self, main_at: int, rest_at: int) -> Viewer:
        """MAIN in one worker, display and inputs in the other: who is stopped accepts nobody."""
        token = await self.token()
        with stopped(rest_at):
            main = await self.open(ChannelType.MAIN, token)
            session = (await main.until(MainReady)).init.session_id
            await main.until(ChannelsListed)
        later = []
        for kind in (ChannelType.DISPLAY, ChannelType.INPUTS):
            with stopped(main_at):
                channel = await self.open(kind, token, session=session)
            later.append(channel)
            await channel.until(SurfaceCreated if kind is ChannelType.DISPLAY else Linked)
        return Viewer(main, *later)

    def holder(self, connection: Connection) -> int:
        """The worker process that has its socket."""
        port = connection.writer.get_extra_info("sockname")[1]
        inode = inode_of(self.status.tls_port or 0, port)
        (found,) = (pid for pid in self.status.workers if inode in inodes(pid))
        return found

    async def live(self) -> list[StoredSession]:
        return list(await self.service.sessions())

    async def counted(self, channels: int) -> StoredSession:
        """The one session, once the store has all its channels, and bytes of each but inputs."""
        async with asyncio.timeout(SECONDS):
            while True:
                (session,) = await self.live()
                busy = [each for each in session.channels if each.bytes_to_client]
                if len(session.channels) == channels and len(busy) >= channels - 1:
                    return session
                await asyncio.sleep(0.05)

    async def told(self, reason: str) -> None:
        """Until an event with that reason is in the audit log."""
        async with asyncio.timeout(SECONDS):
            while True:
                if any(event.reason == reason for event in await self.service.events()):
                    return
                await asyncio.sleep(0.05)

    async def ended(self) -> None:
        """Until no session is left."""
        async with asyncio.timeout(SECONDS):
            while await self.live():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)

    async def fresh_viewer(self) -> None:
        """The machine lives, and somebody new gets a picture and can type."""
        assert await self.qemu.is_alive()
        viewer = await self.viewer()
        await viewer.inputs.press(0x1E)
        await self.qemu.says(b"K")  # K1 or K0: the block is white or black again
        await viewer.main.close()
        await self.ended()
        assert await self.qemu.is_alive()


@dataclass
class Viewer:
    main: Connection
    display: Connection
    inputs: Connection

    @property
    def all(self) -> tuple[Connection, ...]:
        return (self.main, self.display, self.inputs)

    async def closed(self) -> None:
        for each in self.all:
            await each.closed()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def inode_of(local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{local:04X}") and words[2].endswith(f":{remote:04X}"):
            return words[9]
    raise LookupError(remote)


def inodes(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def reasons() -> list[str]:
    """What the sessions that were there ended with, oldest first."""
    store = Store.open(Locations.from_env(), clock=SystemClock())
    found = [each.end_reason for each in store.sessions(live=False)]
    store.close()
    return found


@pytest.fixture
async def house(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setenv("BROKER_PROXY_WORKERS", "2")
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")
    port = free_port()
    locations.sources_yaml.write_text(
        f"- source: lab\n  type: static\n  consoles:\n  - uuid: {UUID}\n    name: vm\n"
        f"    hypervisor: localhost\n    hypervisor_ip: 127.0.0.1\n"
        f"    insecure_port: {port}\n    ticket: {PASSWORD}\n"
    )
    locations.sources_yaml.chmod(0o600)
    spice = f"addr=127.0.0.1,port={port},password-secret=pw"
    async with (
        running_qemu(spice, *SECRET) as qemu,
        hosted(locations) as (proxy, _),
        open_service() as service,
    ):
        await until(lambda: len(proxy.status().workers) == 2)
        identity = pki.read_identity(locations.pki_dir)
        assert identity is not None
        tls = ssl.create_default_context(cadata=identity.ca_pem)
        house = House(service, proxy, qemu, tls)
        try:
            yield house
        finally:
            for writer in house.writers:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def test_channels_land_in_both_workers_and_are_one_session(house: House) -> None:
    one, two = house.status.workers
    viewer = await house.viewer_across(one, two)
    assert [house.holder(each) for each in viewer.all] == [one, two, two]
    await viewer.inputs.press(0x1E)
    await house.qemu.says(b"K1\n")
    session = await house.counted(3)
    assert session.worker == one
    assert {each.name for each in session.channels} == {"main", "display.0", "inputs.0"}
    await house.service.disconnect(session.id)
    await viewer.closed()
    await house.ended()
    await house.fresh_viewer()


async def test_many_viewers_spread_over_both_workers(house: House) -> None:
    held = set()
    for _ in range(6):
        viewer = await house.viewer()
        held |= {house.holder(each) for each in viewer.all}
        await viewer.main.close()
        await house.ended()
    assert held == set(house.status.workers)


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


async def test_a_second_viewer_is_refused_before_the_machine_hears_of_it(house: House) -> None:
    first = await house.viewer()
    second = await house.open(ChannelType.MAIN, await house.token())
    with pytest.raises(ConnectionError):
        await second.until(MainReady)
    assert second.client.refusal is None  # closed without a word: no password would help
    assert len(await house.live()) == 1
    await first.inputs.press(0x1E)
    await house.qemu.says(b"K1\n")
    await house.told("occupied")


async def test_taking_over_ends_the_other_session_cleanly_in_whatever_worker(house: House) -> None:
    one, two = house.status.workers
    first = await house.viewer_across(one, two)
    with stopped(one):
        opening = asyncio.ensure_future(house.viewer(LinkPolicy(occupied=WhenOccupied.TAKE_OVER)))
        await asyncio.sleep(0.5)  # its MAIN is with the other worker, and waits
    second = await opening
    for each in first.all:
        await each.reader.read()  # to a proper end: neither reset nor cut off
    (session,) = await house.live()
    assert session.worker == two
    await second.inputs.press(0x1E)
    await house.qemu.says(b"K1\n")
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
    await house.qemu.says(b"K1\n")


async def test_who_leaves_while_waiting_never_reaches_the_machine(house: House) -> None:
    first = await house.viewer()
    token = await house.token(LinkPolicy(occupied=WhenOccupied.WAIT))
    waiting = await house.open(ChannelType.MAIN, token)
    await asyncio.sleep(0.5)
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
    before = len(inodes(supervisor))
    with stopped(house.qemu.process.pid):
        await link.say(BEGIN)
        await until(lambda: len(inodes(supervisor)) == before + 2)
        os.kill(one if victim == "owner" else two, signal.SIGKILL)
        await until(lambda: set(house.status.workers) != {one, two})
    assert await house.qemu.is_alive()
    await house.ended()
    await until(lambda: len(house.status.workers) == 2)
    await house.fresh_viewer()
