"""Consoles of a real libvirt with real QEMU domains, reached through our proxy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker import demo, pki
from broker.config.locations import Locations
from broker.driver import DriverContext
from broker.errors import NoConsole, SourceDenied, Unreachable
from broker.findings import Mark
from broker.model import Ability, GivenTarget, MachineId, SourceName, State, TcpTarget
from broker.png import SIGNATURE
from broker.runtime import open_service
from broker.service.port import ExportRequest, Service
from broker.spice.client import ChannelClient, ChannelsListed, Linked, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from broker.view import Way
from sources.libvirt.driver import LibvirtDriver
from tests.broker.proxy.rig import SECONDS, Connection
from tests.integration.test_serving import hosted
from tests.sources.conformance import DriverConformance
from tests.sshd import SSHD, Sshd, running_sshd
from tests.virtd import DAEMON, PLAIN, TLS_ONLY, Virtd, running_virtd

pytest.importorskip("libvirt", reason="make venv-dev installs libvirt's binding where libvirt is")
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(DAEMON is None, reason="make system-test brings libvirtd"),
]

KVM = SourceName("kvm")


@pytest.fixture(scope="module")
def virtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Virtd]:
    """A daemon with two domains, both off: `desk` (the demo guest), and `safe` (TLS only)."""
    disk = demo.write_image(tmp_path_factory.mktemp("demo") / "demo.img")
    with running_virtd() as daemon:
        daemon.define("desk", 1, PLAIN, disk)
        daemon.define("safe", 2, TLS_ONLY)
        yield daemon


@pytest.fixture
def on(virtd: Virtd) -> Virtd:
    """The same with both running."""
    with virtd.asked() as connection:
        for each in connection.listAllDomains(0):
            if not each.isActive():
                each.create()
    return virtd


@contextlib.asynccontextmanager
async def a_driver(tmp_path: Path, **options: object) -> AsyncIterator[LibvirtDriver]:
    context = DriverContext(tmp_path, tmp_path, tmp_path)
    driver = LibvirtDriver.from_options(KVM, options, context)
    try:
        yield driver
    finally:
        await driver.aclose()


class TestConformance(DriverConformance):
    """The driver held to the contract on a running domain with a password of its own."""

    driver_class = LibvirtDriver

    @pytest.fixture
    def options(self, on: Virtd) -> dict[str, object]:
        return {"uri": on.uri, "ca_cert": on.ca_pem}

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> dict[str, object]:
        return {"uri": "qemu+tcp://127.0.0.1:1/session"}


# -- through the proxy


@dataclass
class Desk:
    """A house that serves, with the domains as its consoles."""

    service: Service
    port: int
    tls: ssl.SSLContext
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def viewer(self, name: str) -> tuple[Connection, Connection]:
        """MAIN and a display with a picture."""
        info = await self.service.find(name)
        exported = await self.service.export_vv(info.machine.key, ExportRequest())
        (line,) = (x for x in exported.text.splitlines() if x.startswith("password="))
        token = line.removeprefix("password=")
        main = await self.open(ChannelType.MAIN, token)
        session = (await main.until(MainReady)).init.session_id
        await main.until(ChannelsListed)
        display = await self.open(ChannelType.DISPLAY, token, session)
        await display.until(SurfaceCreated)
        inputs = await self.open(ChannelType.INPUTS, token, session)
        await inputs.until(Linked)
        return main, display

    async def open(self, kind: ChannelType, token: str, session: int = 0) -> Connection:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.tls, server_hostname="localhost"
        )
        self.writers.append(writer)
        client = ChannelClient(kind, token.encode(), connection_id=session, channel_id=0)
        connection = Connection(client, reader, writer)
        await connection.flush()
        return connection

    async def ended(self) -> None:
        async with asyncio.timeout(SECONDS):
            while await self.service.sessions():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)

    async def leave(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        for writer in self.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def a_desk(locations: Locations, **options: str) -> AsyncIterator[Desk]:
    lines = [f"- source: {KVM}", "  type: libvirt"]
    for key, value in options.items():
        lines += [f"  {key}: |-", *(f"    {line}" for line in value.splitlines())]
    locations.sources_yaml.write_text("\n".join(lines) + "\n")
    locations.sources_yaml.chmod(0o600)
    settings = "proxy:\n  workers: 1\n"
    (locations.config_dir / "broker.yaml").write_text(settings)
    async with open_service() as service, hosted(locations) as (_, status):
        assert status.tls_port is not None
        ca = (locations.pki_dir / "ca.pem").read_text()
        desk = Desk(service, status.tls_port, pki.backend_context(ca))
        try:
            yield desk
        finally:
            await desk.leave()


async def test_a_domain_is_started_and_opened_without_port_or_ticket(
    virtd: Virtd, locations: Locations
) -> None:
    await asyncio.to_thread(virtd.end_domains)
    async with a_desk(locations, uri=virtd.uri) as desk:
        info = await desk.service.find("kvm/desk")
        assert info.machine.state is State.STOPPED
        assert info.abilities[Ability.START] == ""
        machine = await desk.service.start(info.machine.key)
        assert machine.state is State.RUNNING
        assert isinstance(machine.target, GivenTarget)
        main, _ = await desk.viewer("kvm/desk")
        guest = await desk.service.guest(machine.key)
        assert (await guest.screenshot()).png.startswith(SIGNATURE)
        async with desk.service.view(machine.key, Way.WATCH) as look:  # beside the viewer
            frame = await look.frame()
            assert (look.via, frame.width, frame.height) == ("screenshots", 720, 400)
        # destroyed in the middle of the session
        assert (await desk.service.kill(machine.key)).state is State.STOPPED
        await main.closed()
        await desk.ended()


async def test_a_domain_that_insists_on_tls_is_given_a_password_and_checked(
    on: Virtd, locations: Locations
) -> None:
    async with a_desk(locations, uri=on.uri, ca_cert=on.ca_pem) as desk:
        for _ in range(2):  # the second ticket replaces the first
            main, _ = await desk.viewer("kvm/safe")
            await main.close()
            await desk.ended()


async def test_a_domain_elsewhere_is_dialled_where_it_may_be(
    on: Virtd, locations: Locations
) -> None:
    uri = f"{on.tls_uri}?pkipath={on.pki}"
    options = {"uri": uri, "ca_cert": on.ca_pem}
    async with a_desk(locations, **options, dial_networks="127.0.0.0/8") as desk:
        for name in ("kvm/desk", "kvm/safe"):  # the one asks for no password, the other gets one
            main, _ = await desk.viewer(name)
            await main.close()
            await desk.ended()


async def test_an_address_that_the_policy_does_not_allow_is_not_dialled(
    on: Virtd, locations: Locations
) -> None:
    async with a_desk(locations, uri=on.tcp_uri, ca_cert=on.ca_pem) as desk:
        with pytest.raises((AssertionError, ConnectionError, EOFError, TimeoutError)):
            await desk.viewer("kvm/desk")
        async with asyncio.timeout(SECONDS):
            while "dial-policy" not in {each.reason for each in await desk.service.events()}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


# -- by ssh


@pytest.fixture
def by_ssh(on: Virtd) -> Iterator[Sshd]:
    """The way to that daemon by a real sshd and libvirt's own helper."""
    if SSHD is None:
        pytest.skip("sshd is not installed; make test brings it in CI only, for it would start one")
    with running_sshd({"HOME": f"{on.root}/home", "XDG_RUNTIME_DIR": f"{on.root}/run"}) as server:
        yield server


def ssh_uri(server: Sshd) -> str:
    return f"qemu+ssh://{server.where}/session?keyfile={server.key}&command={server.command}"


async def test_a_daemon_behind_ssh_is_listed_and_its_domains_opened(
    on: Virtd, by_ssh: Sshd, locations: Locations
) -> None:
    options = {"uri": ssh_uri(by_ssh), "ca_cert": on.ca_pem, "dial_networks": "127.0.0.0/8"}
    async with a_desk(locations, **options) as desk:
        main, _ = await desk.viewer("kvm/safe")
        await main.close()
        await desk.ended()


async def test_ssh_that_lets_nobody_in_says_why(on: Virtd, by_ssh: Sshd, tmp_path: Path) -> None:
    async def refused() -> SourceDenied:
        async with a_driver(tmp_path, uri=ssh_uri(by_ssh)) as driver:
            with pytest.raises(SourceDenied) as caught:
                await driver.machines()
        return caught.value

    (by_ssh.root / "authorized").write_text("")
    problem = await refused()
    assert "Permission denied (publickey)" in problem.what
    assert problem.fix.endswith(f"ssh -p {by_ssh.port} {by_ssh.where.rpartition(':')[0]}")
    by_ssh.forget_host()
    problem = await refused()
    assert "not known here" in problem.what
    assert "keyfile" not in problem.what


async def test_two_connections_know_nothing_of_each_other(
    on: Virtd, by_ssh: Sshd, tmp_path: Path
) -> None:
    near, far = asyncio.Queue[MachineId | None](), asyncio.Queue[MachineId | None]()
    async with (
        a_driver(tmp_path, uri=on.uri) as here,
        a_driver(tmp_path, uri=ssh_uri(by_ssh)) as there,
        asyncio.timeout(SECONDS),
    ):
        listening = asyncio.ensure_future(here.changes(near.put_nowait))
        hearing = asyncio.ensure_future(there.changes(far.put_nowait))
        assert (await near.get(), await far.get()) == (None, None)
        desk = next(m for m in await there.machines() if m.name == "desk").key.uuid
        by_ssh.cut()
        with pytest.raises(Unreachable):
            await hearing
        await here.switch(desk, Ability.PAUSE)  # the other one is as it was, and hears as before
        assert await near.get() == desk
        assert not listening.done()
        assert (await there.machine(desk)).state is State.PAUSED  # connected to anew
        await there.switch(desk, Ability.RESUME)
        assert await near.get() == desk
        listening.cancel()
        await asyncio.wait([listening])


# -- the driver alone


async def test_the_daemon_is_restarted_and_its_events_are_heard_again(
    on: Virtd, tmp_path: Path
) -> None:
    async with a_driver(tmp_path, uri=on.uri) as driver:
        before = {machine.name: machine.state for machine in await driver.machines()}
        told: asyncio.Queue[MachineId | None] = asyncio.Queue()
        hearing = asyncio.ensure_future(driver.changes(told.put_nowait))
        async with asyncio.timeout(SECONDS):
            assert await told.get() is None
            await asyncio.to_thread(on.restart)
            with pytest.raises(Unreachable):
                await hearing
            hearing = asyncio.ensure_future(driver.changes(told.put_nowait))
            assert await told.get() is None
            after = {machine.name: machine.state for machine in await driver.machines()}
            assert after == before
            desk = next(m for m in await driver.machines() if m.name == "desk")
            await driver.switch(desk.key.uuid, Ability.PAUSE)
            assert await told.get() == desk.key.uuid
        hearing.cancel()
        await asyncio.wait([hearing])
        assert (await driver.machine(desk.key.uuid)).state is State.PAUSED


async def test_a_password_is_good_for_its_time_and_follows_the_one_before(
    on: Virtd, tmp_path: Path
) -> None:
    options = {"uri": on.tcp_uri, "ca_cert": on.ca_pem, "ticket_seconds": "30"}
    async with a_driver(tmp_path, **options) as driver:
        safe = next(m for m in await driver.machines() if m.name == "safe")
        first = await driver.console(safe.key.uuid)
        second = await driver.console(safe.key.uuid)
        assert isinstance(first.target, TcpTarget)
        assert first.target.tls_port
        assert first.target.port is None
        assert first.ticket != second.ticket
        assert second.superseding
        assert second.expires_at is not None
        with on.asked() as connection:
            xml = connection.lookupByName("safe").XMLDesc(1)
        assert f"passwd='{second.ticket}'" in xml
        assert f"passwdValidTo='{second.expires_at:%Y-%m-%dT%H:%M:%S}'" in xml
        steps = await driver.check()
        assert [step.finding.mark for step in steps] == [Mark.OK] * 3


async def test_the_serial_console_is_read_and_written(on: Virtd, tmp_path: Path) -> None:
    async with a_driver(tmp_path, uri=on.uri) as driver:
        desk = next(m for m in await driver.machines() if m.name == "desk")
        await driver.switch(desk.key.uuid, Ability.RESUME)
        line = (await driver.guest(desk.key.uuid)).serial()
        heard = b""
        async with asyncio.timeout(SECONDS):
            following = line.follow(line.end())
            listening = asyncio.ensure_future(anext(following))
            async with line.writing() as writer:
                await writer.send(b"x")
                await driver.switch(desk.key.uuid, Ability.RESET)  # it greets when it boots
                while demo.BANNER not in heard:
                    heard += await listening
                    listening = asyncio.ensure_future(anext(following))
            await driver.switch(desk.key.uuid, Ability.STOP)
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    await listening
                    listening = asyncio.ensure_future(anext(following))
        assert not line.alive()
        with pytest.raises(NoConsole):
            await driver.console(desk.key.uuid)
