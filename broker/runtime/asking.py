"""Asking a machine's source where its screen is, at the moment that somebody wants it.

A new ticket makes the one before useless for new channels, so sources are asked about one console
by one at a time, in whatever relay worker.
"""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from broker.dialing import DialPolicy
from broker.driver import Driver
from broker.errors import NoConsole, SourceUnreachable
from broker.hypervisor import ChannelGiver, Dialing
from broker.model import Console, GivenTarget, MachineKey, SourceName, TcpTarget
from broker.vm import lock
from broker.vm.handover import tcp_pair
from broker.within import within

ASK_SECONDS: Final = 15.0
"""The longest that a viewer waits for a source to say where its screen is."""
TURN_SECONDS: Final = 20.0
"""The longest that it waits for others who ask about the same console."""


class Drivers(Protocol):
    """Where drivers come from."""

    async def driver(self, name: SourceName) -> Driver:
        """That of a source."""
        ...


class Asking:
    """What relay workers ask of drivers.

    Args:
        directory: Where the locks are, shared by all workers of this user; made when missing.
    """

    def __init__(self, drivers: Drivers, directory: Path) -> None:
        self._drivers = drivers
        self._directory = directory

    async def console(self, key: MachineKey) -> Console:
        """Where that machine's screen is now, held to what its source may send us to.

        Raises:
            NotFound: There is no such machine, or no such source.
            NoConsole: It is off, or has no SPICE.
            SourceUnreachable: Its source does not answer in time.
            BrokerError: What else the driver says.
        """
        driver = await self._drivers.driver(key.source)
        async with lock.action(self._lock(key), key.uuid, timeout=TURN_SECONDS):
            try:
                async with within(ASK_SECONDS):
                    found = await driver.console(key.uuid)
            except TimeoutError as exc:
                raise SourceUnreachable(
                    f"{key.source} did not say within {ASK_SECONDS:g} seconds where the screen is",
                    fix=f"Look at it: broker sources check {key.source}",
                ) from exc
        if not isinstance(found.target, TcpTarget):
            return found
        policy = driver.dial_policy() if isinstance(driver, Dialing) else DialPolicy()
        return replace(found, target=replace(found.target, policy=policy))

    async def give(self, target: GivenTarget) -> socket.socket:
        """One end of a connection whose other end the machine's SPICE server has.

        It is TCP on the loopback: over a unix pair spice-server neither compresses nor pings.

        Raises:
            Unreachable: The hypervisor does not answer.
            NoConsole: The machine is off, or its source cannot do that.
        """
        driver = await self._drivers.driver(target.source)
        if not isinstance(driver, ChannelGiver):
            raise NoConsole(f"{target.source} hands no consoles over")
        ours, theirs = await tcp_pair()
        try:
            with theirs:
                await driver.give_channel(target.machine, theirs)
        except BaseException:
            ours.close()
            raise
        return ours

    def _lock(self, key: MachineKey) -> Path:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(f"{key.source}/{key.uuid}".encode()).hexdigest()[:24]
        return self._directory / name
