"""A house that serves, as processes of its own: two relay workers on one port, a real QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker import pki
from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.events import Event, Kind
from broker.model import LinkPolicy, ProxyStatus
from broker.model import Session as StoredSession
from broker.runtime import open_service
from broker.runtime.hosting import LeasedProxy
from broker.service.port import ExportRequest, Service
from broker.spice.client import ChannelClient, ChannelsListed, Linked, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from broker.store.store import Store
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import SECONDS, Connection
from tests.integration.test_serving import hosted, until
from tests.stopping import on_hold
from tests.streams import cut

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

    async def told(self, reason: str, *kinds: Kind) -> None:
        """Until an event with that reason is in the audit log, and of one of `kinds` if given."""
        async with asyncio.timeout(SECONDS):
            while True:
                for event in await self.service.events():
                    if event.reason == reason and (not kinds or event.kind in kinds):
                        return
                await asyncio.sleep(0.05)

    async def said(self) -> list[Event]:
        """What the audit log has of messages to people."""
        return [e for e in await self.service.events() if e.kind is Kind.SESSION_MESSAGE]

    async def ended(self) -> None:
        """Until no session is left."""
        async with asyncio.timeout(SECONDS):
            while await self.live():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)

    async def leave(self) -> None:
        """Drop every connection that was made here."""
        for writer in self.writers:
            cut(writer)
        for writer in self.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.writers.clear()

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
    with on_hold(pid):
        yield


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


@contextlib.asynccontextmanager
async def housed(
    locations: Locations, monkeypatch: pytest.MonkeyPatch, log_file: Path | None = None
) -> AsyncIterator[House]:
    """It serves until the body ends; what it says goes into that file."""
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
        hosted(locations, log_file) as (proxy, _),
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
            await house.leave()


@pytest.fixture
async def house(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async with housed(locations, monkeypatch) as house:
        yield house
