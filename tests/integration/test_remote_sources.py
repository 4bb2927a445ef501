"""Four hypervisors in one house that serves: a file is exported, a viewer comes, and sees."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest
import yaml

from broker import pki
from broker.config.locations import Locations
from broker.driver import DriverContext
from broker.errors import NotFound, UsageError
from broker.model import Health, MachineId, SourceName
from broker.runtime import open_service
from broker.service.port import ExportRequest, Service
from broker.spice.client import MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from tests.broker.proxy.rig import Connection
from tests.fakes.lab import Lab, running_lab
from tests.fakes.source import FakeSource
from tests.integration.house import House
from tests.integration.test_serving import hosted, until
from tests.sources.remote import KINDS, TICKETED
from tests.streams import cut

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[bool, Lab]]:
    """By whether they want a password."""
    with running_lab() as closed, running_lab(open_to_all=True) as free:
        yield {True: closed, False: free}


@contextlib.asynccontextmanager
async def everywhere(
    labs: dict[bool, Lab], locations: Locations, *, allowed: bool = True
) -> AsyncIterator[dict[str, FakeSource]]:
    """A fake of each product, and a sources.yaml that names them all."""
    fakes: dict[str, FakeSource] = {}
    async with contextlib.AsyncExitStack() as stack:
        for kind, (fake_class, _) in KINDS.items():
            fakes[kind] = fake_class(labs[kind in TICKETED])
            await stack.enter_async_context(fakes[kind].running())
        entries = [{"source": kind, "type": kind, **fake.options()} for kind, fake in fakes.items()]
        for entry in entries:
            entry["dial_networks"] = "127.0.0.0/8" if allowed else "10.0.0.0/8"
        locations.sources_yaml.touch(mode=0o600)
        locations.sources_yaml.write_text(yaml.safe_dump(entries))
        yield fakes


@contextlib.asynccontextmanager
async def serving(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Service, House]]:
    """A proxy with one worker, which asks the sources itself."""
    monkeypatch.setenv("BROKER_PROXY_WORKERS", "1")
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")
    async with hosted(locations) as (proxy, _), open_service() as service:
        await until(lambda: proxy.status().workers)
        identity = pki.read_identity(locations.pki_dir)
        assert identity is not None
        tls = ssl.create_default_context(cadata=identity.ca_pem)
        house = House(service, proxy, None, tls)  # type: ignore[arg-type]  # nobody asks its QEMU
        try:
            yield service, house
        finally:
            for writer in house.writers:
                cut(writer)
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()


async def opened(service: Service, house: House, reference: str) -> Connection:
    """MAIN of a console, as whoever was sent its file opens it."""
    console = await service.find(reference)
    exported = await service.export_vv(console.machine.key, ExportRequest())
    (line,) = (x for x in exported.text.splitlines() if x.startswith("password="))
    return await house.open(ChannelType.MAIN, line.removeprefix("password="))


async def test_every_hypervisor_is_one_list_and_one_way_to_a_picture(
    labs: dict[bool, Lab], locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        everywhere(labs, locations) as fakes,
        serving(locations, monkeypatch) as (service, house),
    ):
        statuses = {status.name: status for status in await service.refresh()}
        assert {str(name) for name in statuses} >= set(fakes)
        assert all(statuses[name].health is Health.OK for name in statuses), statuses
        for kind in fakes:
            console = await service.find(f"{kind}/desk1")
            exported = await service.export_vv(console.machine.key, ExportRequest())
            (line,) = (x for x in exported.text.splitlines() if x.startswith("password="))
            token = line.removeprefix("password=")
            main = await house.open(ChannelType.MAIN, token)
            session = (await main.until(MainReady)).init.session_id
            display = await house.open(ChannelType.DISPLAY, token, session=session)
            await display.until(SurfaceCreated)
            await main.close()
            assert await fakes[kind].lab.is_alive()
            for secret in fakes[kind].given:
                assert secret not in exported.text


async def test_a_token_of_novas_leads_to_the_console_that_it_stands_for(
    labs: dict[bool, Lab], locations: Locations
) -> None:
    async with everywhere(labs, locations) as fakes, open_service() as service:
        await service.refresh()
        cloud = fakes["openstack"]
        uuid = next(iter(cloud.guests))
        driver_class = KINDS["openstack"][1]
        context = DriverContext(locations.config_dir, locations.data_dir, locations.runtime_dir)
        maker = driver_class.from_options(SourceName("maker"), cloud.options(), context)
        await maker.console(MachineId(uuid))  # as Nova does for whoever asks it for a console
        await maker.aclose()
        token = cloud.given[-1]
        for text in (token, f"https://kerbside.example/nova?token={token}\n"):
            found = await service.find_by_token(text)
            assert found.machine.full_name == "openstack/desk1"
        with pytest.raises(NotFound, match="No source knows") as unknown:
            await service.find_by_token("another")
        with pytest.raises(UsageError):
            await service.find_by_token("https://kerbside.example/nova?other=1")
        assert token not in str(unknown.value)


async def test_no_source_may_send_the_proxy_where_its_policy_forbids(
    labs: dict[bool, Lab], locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        everywhere(labs, locations, allowed=False) as fakes,
        serving(locations, monkeypatch) as (service, house),
    ):
        await service.refresh()
        for kind in fakes:
            main = await opened(service, house, f"{kind}/desk1")
            await main.closed()
        async with asyncio.timeout(60):
            while len(await refusals(service)) < len(fakes):  # noqa: ASYNC110 - written by a worker
                await asyncio.sleep(0.05)


async def refusals(service: Service) -> list[str]:
    """What was said of places that a source may not send the proxy to."""
    told = [event.text for event in await service.events()]
    return [text for text in told if "is not in 10.0.0.0/8" in text]
