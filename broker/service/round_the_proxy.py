"""Consoles opened for one viewer without the proxy: a new ticket for a port, a door to VNC."""

from __future__ import annotations

import asyncio
from typing import Protocol

from broker.driver import Driver, ForOneViewer
from broker.errors import BrokerError, NoConsole
from broker.model import Machine, MachineKey, SourceName
from broker.model import Protocol as Spoken
from broker.service.consoles import Consoles
from broker.service.direct import of_issued, see_that_all_is_allowed
from broker.service.port import Exported, ExportRequest


class Drivers(Protocol):
    """Where drivers come from."""

    async def driver(self, name: SourceName) -> Driver:
        """The driver of that source."""
        ...


class RoundTheProxy:
    """What only a machine's driver can open."""

    def __init__(self, drivers: Drivers, consoles: Consoles) -> None:
        self._drivers = drivers
        self._consoles = consoles

    async def ticket(self, key: MachineKey, request: ExportRequest) -> Exported | None:
        """A file with a new ticket for the machine's own port; None where its source makes none.

        Raises:
            UsageError: The file cannot be made so.
            NoConsole: The machine is off, or listens on no port.
        """
        try:
            driver = await self._drivers.driver(key.source)
        except BrokerError:  # what is stored may do
            return None
        machine = await asyncio.to_thread(self._machine, key)
        if not isinstance(driver, ForOneViewer) or machine.protocol is not Spoken.SPICE:
            return None
        see_that_all_is_allowed(request)  # before an earlier ticket is made void
        console = await driver.direct(key.uuid, seconds=self._consoles.life_of(request))
        return of_issued(machine, request, console)

    async def door(self, machine: Machine, request: ExportRequest) -> Exported | None:
        """A file for one viewer of a machine on this host that speaks VNC; None for any other.

        Raises:
            UsageError: It should allow less than all.
            NoConsole: The machine is off.
            Unreachable: No port can be opened.
        """
        if machine.protocol is not Spoken.VNC:
            return None
        see_that_all_is_allowed(request)
        driver = await self._drivers.driver(machine.key.source)
        if not isinstance(driver, ForOneViewer):
            raise NoConsole(f"{machine.key.source} opens no VNC consoles")
        return of_issued(machine, request, await driver.door(machine.key.uuid))

    def _machine(self, key: MachineKey) -> Machine:
        return self._consoles.by_key(key).machine
