"""Putting the rooms together: the house that `serve` lives in, and the service that faces ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker import logs, pki
from broker.clock import Clock, SystemClock
from broker.config.load import Loaded, load_settings
from broker.config.locations import Locations
from broker.config.preferences import PersonsFiles
from broker.config.settings import Settings
from broker.config.sources_file import SourceEntry, fingerprint, read_sources
from broker.driver import Driver, DriverContext
from broker.errors import BrokerError
from broker.findings import Step
from broker.model import LOCAL_TYPE, Console, Health, MachineKey, Protocol, ProxyStatus
from broker.owned import owned
from broker.pki import Identity
from broker.plugins import driver_class
from broker.reconcile.inventory import Inventory
from broker.reconcile.keeper import Keeper
from broker.reconcile.machines import MachineReconciler
from broker.runtime.certificate import certificate_for, current_identity
from broker.runtime.hosting import LeasedProxy
from broker.runtime.keeping import keep
from broker.runtime.proxy_file import read_status
from broker.runtime.worker_life import worker_alive
from broker.service.consoles import Certificate, Consoles
from broker.service.doctor import PathProbes
from broker.service.embedded import EmbeddedService
from broker.service.port import Service
from broker.service.viewer import Viewers
from broker.store.patience import AT_ONCE_SECONDS, within
from broker.store.store import Store
from broker.view import View

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """What every long-lived process needs, wired once."""

    locations: Locations
    loaded: Loaded
    clock: Clock
    store: Store
    inventory: Inventory

    @property
    def settings(self) -> Settings:
        """What holds."""
        return self.loaded.settings

    @property
    def port_was_set(self) -> bool:
        """Whether somebody chose `proxy.tls_port`; if so, a busy port is an error."""
        return self.loaded.provenance.get("proxy.tls_port", "default") != "default"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should hear of the database and the settings, one sentence each."""
        return (*self.store.notes, *self.loaded.warnings)

    async def keep(self) -> None:
        """Look after this host's machines whenever no other broker does, until cancelled."""
        reconciler = MachineReconciler(self.store, self.inventory, self.clock)
        grace = self.settings.vm.stop_timeout
        keeper = Keeper(self.store, self.inventory, reconciler, self.clock, grace=grace)
        await keep(keeper, self.locations.runtime_dir)

    def certificate(self) -> Certificate:
        """Our proxy's certificate, made on first use; blocks."""
        return certificate_for(self.locations, self.settings.proxy)

    def identity(self) -> Identity:
        """The same with its files, renewed where needed; blocks."""
        return current_identity(self.locations, self.settings.proxy)


def driver_context(locations: Locations, settings: Settings, clock: Clock) -> DriverContext:
    """What drivers may use of the house."""
    return DriverContext(
        config_dir=locations.config_dir,
        data_dir=locations.data_dir,
        runtime_dir=locations.runtime_dir,
        qemu=settings.vm.qemu,
        clock=clock,
    )


def make_driver(entry: SourceEntry, context: DriverContext) -> Driver:
    """The driver of one entry of sources.yaml.

    Raises:
        ConfigError: Its type is unknown, or its options are wrong.
    """
    return driver_class(entry.type).from_options(entry.name, entry.options, context)


@contextlib.asynccontextmanager
async def open_house(clock: Clock | None = None) -> AsyncIterator[House]:
    """Locations prepared, settings loaded, store open, drivers ready to be asked.

    Raises:
        ConfigError: broker.yaml is wrong, or a directory is not ours.
        StoreError: The database or a directory cannot be used.
    """
    clock = clock or SystemClock()
    locations = Locations.from_env()
    await asyncio.to_thread(locations.prepare)
    loaded = await asyncio.to_thread(load_settings, locations)
    settings = loaded.settings
    logs.prefer(settings.log.format)
    store = await asyncio.to_thread(Store.open, locations, clock=clock, url=settings.store.url)
    context = driver_context(locations, settings, clock)
    inventory = Inventory(
        store,
        clock,
        read_file=lambda: read_sources(locations.sources_yaml),
        fingerprint=lambda: fingerprint(locations.sources_yaml),
        make_driver=lambda entry: make_driver(entry, context),
        time_out=settings.sources.timeout,
        every={"": settings.sources.refresh, LOCAL_TYPE: settings.sources.refresh_local},
    )
    try:
        yield House(locations, loaded, clock, store, inventory)
    finally:
        with contextlib.suppress(BrokerError):
            await inventory.aclose()
        await asyncio.to_thread(store.close)


@contextlib.asynccontextmanager
async def open_service(
    *, watch: bool = False, refresh: bool = True
) -> AsyncIterator[EmbeddedService]:
    """The whole port, served in this process.

    Args:
        watch: Keep looking at sources.yaml and the sources while it is open, and look after this
            host's machines; for faces that stay.
        refresh: Bring the list up to date first, where that is cheap: when sources.yaml has
            changed since it was last read, and the states of this host's VMs.

    Raises:
        ConfigError: broker.yaml is wrong, or a directory is not ours.
        StoreError: The database or a directory cannot be used.
    """
    async with open_house() as house:
        proxy = LeasedProxy(house.locations.proxy_json, house.locations.logs_dir / "proxy.log")
        service = EmbeddedService(
            house.store,
            house.clock,
            consoles_of(house),
            inventory=house.inventory,
            reconciler=MachineReconciler(house.store, house.inventory, house.clock),
            proxy=proxy,
            viewers=Viewers(house.settings.viewer.command, house.locations.runtime_dir),
            stop_timeout=house.settings.vm.stop_timeout,
            worker_alive=worker_alive,
            probes=lambda service, key: _probes(house, service, key),
            open_view=partial(_view, house.locations.proxy_sock),
            files=PersonsFiles(house.locations),
            make_driver=lambda entry: make_driver(
                entry, driver_context(house.locations, house.settings, house.clock)
            ),
            look_at=_look_at,
            notes=lambda: house.notes,
            certificate=lambda: pki.server_facts(house.locations.pki_dir),
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(service.aclose)
            if refresh:
                await _bring_up_to_date(house)
            parts = {"inventory": house.inventory.run, "keep": house.keep} if watch else {}
            for name, part in parts.items():
                watcher = owned(part(), name=name)
                watcher.add_done_callback(_say_why_it_ended)
                stack.push_async_callback(_end, watcher)
            yield service


def _view(door: Path, file: str) -> AbstractAsyncContextManager[View]:
    """The screen that a .vv file leads to; the client is imported when one is opened."""
    from broker.headless.view import viewed

    return viewed(file, door)


async def _look_at(console: Console, clock: Clock) -> Sequence[Step]:
    """What answers where a console is said to be; what is needed for it is imported then."""
    from broker.runtime.knocking import look_at

    return await look_at(console, clock)


async def _probes(house: House, service: Service, key: MachineKey) -> PathProbes:
    """Looks along the path to one console."""
    from broker.runtime.console_path import ConsolePath
    from broker.runtime.vnc_path import VncPath

    info = await service.find(f"{key.source}/{key.uuid}")
    viewer = house.settings.viewer.command
    driver = await house.inventory.driver(key.source)
    path = VncPath if info.machine.protocol is Protocol.VNC else ConsolePath
    return path(service, info, driver, viewer=viewer, certificate=house.certificate)


def consoles_of(house: House) -> Consoles:
    """The use cases of consoles over the full store."""
    return Consoles(
        house.store,
        house.settings.proxy,
        house.clock,
        certificate=house.certificate,
        proxy_status=lambda: proxy_status(house.locations),
        kept_console=house.store.kept_console,
        abilities=lambda: {each.name: each.abilities for each in house.store.sources()},
    )


def proxy_status(locations: Locations) -> ProxyStatus:
    """Whether a proxy serves on this host."""
    return read_status(locations.proxy_json)


async def _bring_up_to_date(house: House) -> None:
    """All sources when sources.yaml changed or was never read, else the local and the new ones.

    A new one is being listed by another process, or by one that was killed before it had.
    """
    stored = await asyncio.to_thread(house.store.file_fingerprint)
    now = await asyncio.to_thread(fingerprint, house.locations.sources_yaml)
    if stored != now:
        await house.inventory.refresh()
        return
    for status in await asyncio.to_thread(house.store.sources):
        if status.type == LOCAL_TYPE or status.health is Health.NEW:
            with contextlib.suppress(BrokerError), within(AT_ONCE_SECONDS):
                await house.inventory.refresh_source(status.name)


def _say_why_it_ended(watcher: asyncio.Future[None]) -> None:
    if not watcher.cancelled() and (problem := watcher.exception()) is not None:
        log.error("watching the sources and machines ended", exc_info=problem)


async def _end(watcher: asyncio.Future[None]) -> None:
    watcher.cancel()
    await asyncio.wait([watcher])
