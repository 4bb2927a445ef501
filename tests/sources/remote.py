"""One bench for all drivers of HTTP APIs: a lab, a fake in front of it, and a driver on that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.driver import DriverContext
from broker.model import Console, MachineId, SourceName
from broker.proxy.gate import ConnectionRefused, SessionClosed
from broker.spice.client import MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from sources._remote import RemoteDriver
from sources.openstack import OpenstackDriver
from sources.ovirt import OvirtDriver
from sources.proxmox import ProxmoxDriver
from sources.shakenfist import ShakenfistDriver
from tests.broker.proxy.rig import proxying
from tests.fakes.lab import Lab
from tests.fakes.openstack import FakeOpenstack
from tests.fakes.ovirt import FakeOvirt
from tests.fakes.proxmox import FakeProxmox
from tests.fakes.shakenfist import FakeShakenfist
from tests.fakes.source import FakeSource

NAME = SourceName("lab")
KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "proxmox": (FakeProxmox, ProxmoxDriver),
    "ovirt": (FakeOvirt, OvirtDriver),
    "openstack": (FakeOpenstack, OpenstackDriver),
    "shakenfist": (FakeShakenfist, ShakenfistDriver),
}
TICKETED = ("proxmox", "ovirt")
"""Those whose SPICE servers ask for a password."""
PINNED = ("proxmox",)
"""Those that tell the certificate of each SPICE server themselves."""


@dataclass
class Bench:
    """A fake that runs, and drivers on it."""

    fake: FakeSource
    driver_class: type[Any]
    context: DriverContext
    directory: Path
    made: list[Any] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def driver(self, **changes: object) -> Any:
        """A driver that waits for nothing; `...` takes an option out."""
        options = {**self.fake.options(), **changes}
        known = {key: value for key, value in options.items() if value is not ...}
        driver: RemoteDriver[Any] = self.driver_class.from_options(NAME, known, self.context)
        driver.http.pause = self._pause
        self.made.append(driver)
        return driver

    async def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def running(self) -> MachineId:
        """A machine with a screen."""
        return MachineId(next(iter(self.fake.guests)))

    @property
    def stopped(self) -> MachineId:
        """One that is off."""
        return MachineId(next(g.id for g in self.fake.guests.values() if g.state == "stopped"))

    async def picture(self, console: Console) -> str:
        """Open that console through our proxy; `picture`, or the reason why there is none."""
        async with proxying(self.directory) as rig:
            rig.gate.allow(console.target, console.ticket or "")
            main = await rig.open(ChannelType.MAIN)
            with contextlib.suppress(Exception):
                session = (await main.until(MainReady)).init.session_id
                display = await rig.open(ChannelType.DISPLAY, connection_id=session)
                await display.until(SurfaceCreated)
                await main.close()
                await rig.gate.heard(SessionClosed)
                return "picture"
            return (await rig.gate.heard(ConnectionRefused)).reason


@contextlib.asynccontextmanager
async def benched(
    kind: str, lab: Lab, directory: Path, context: DriverContext
) -> AsyncIterator[Bench]:
    """A bench until the body ends."""
    fake_class, driver_class = KINDS[kind]
    fake = fake_class(lab)
    async with fake.running():
        bench = Bench(fake, driver_class, context, directory)
        try:
            yield bench
        finally:
            for driver in bench.made:
                await driver.aclose()
