"""VMs in use, as the faces get them: what changes a VM for good is told in the audit log."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from broker.driver import Driver, GuestControl
from broker.errors import UsageError
from broker.events import Kind
from broker.guest import (
    PACE_SECONDS,
    SNAPSHOT_SECONDS,
    Drive,
    Guest,
    Screenshot,
    SerialLine,
    Snapshot,
)
from broker.model import Machine
from broker.view import CALM_SECONDS, View

Tell = Callable[[Kind, Machine, str], Awaitable[None]]
"""Writes an event about a machine."""


async def guest_of(driver: Driver, machine: Machine, tell: Tell) -> Guest:
    """That machine to be used, if its driver can.

    Raises:
        UsageError: It is no VM of this host.
    """
    if not isinstance(driver, GuestControl):
        raise UsageError(
            f"{machine.full_name} is not a VM of this host, so only its screen can be reached",
            fix=f"Open that: broker open {shlex.quote(machine.full_name)}",
        )
    return ToldGuest(await driver.guest(machine.key.uuid), machine, tell)


@dataclass(frozen=True, slots=True)
class ToldGuest:
    """A guest whose media and snapshots are told; see `broker.guest.Guest` for each verb."""

    inner: Guest
    machine: Machine
    tell: Tell

    async def screenshot(self) -> Screenshot:
        """What is on its screen."""
        return await self.inner.screenshot()

    def view(self, *, calm: float = CALM_SECONDS) -> View:
        """Its screen while it changes."""
        return self.inner.view(calm=calm)

    async def press(self, keys: Sequence[str], *, pace: float = PACE_SECONDS) -> None:
        """Press combinations of keys."""
        await self.inner.press(keys, pace=pace)

    async def type(
        self, text: str, *, layout: str = "us", pace: float = PACE_SECONDS, secret: bool = False
    ) -> int:
        """Type a text; it is in no event."""
        return await self.inner.type(text, layout=layout, pace=pace, secret=secret)

    async def drives(self) -> Sequence[Drive]:
        """The drives whose medium can be changed."""
        return await self.inner.drives()

    async def insert(self, image: str, *, drive: str = "", force: bool = False) -> Drive:
        """Put an image into a drive."""
        changed = await self.inner.insert(image, drive=drive, force=force)
        await self._told(Kind.MACHINE_MEDIUM, f"{changed.image} is in {changed.id}")
        return changed

    async def eject(self, *, drive: str = "", force: bool = False) -> Drive:
        """Take the medium out."""
        changed = await self.inner.eject(drive=drive, force=force)
        await self._told(Kind.MACHINE_MEDIUM, f"{changed.id} is empty")
        return changed

    async def snapshots(self) -> Sequence[Snapshot]:
        """The snapshots in its images."""
        return await self.inner.snapshots()

    async def save_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> Snapshot:
        """Keep its present state."""
        made = await self.inner.save_snapshot(tag, timeout=timeout)
        await self._told(Kind.MACHINE_SNAPSHOT, f"snapshot {tag} saved")
        return made

    async def load_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Go back to a state."""
        await self.inner.load_snapshot(tag, timeout=timeout)
        await self._told(Kind.MACHINE_SNAPSHOT, f"snapshot {tag} loaded")

    async def delete_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        """Forget a state."""
        await self.inner.delete_snapshot(tag, timeout=timeout)
        await self._told(Kind.MACHINE_SNAPSHOT, f"snapshot {tag} deleted")

    async def link(self, *, up: bool, card: str = "") -> Sequence[str]:
        """Plug the network cable in, or pull it out."""
        cards = await self.inner.link(up=up, card=card)
        await self._told(Kind.MACHINE_LINK, f"{', '.join(cards)} is {'up' if up else 'down'}")
        return cards

    async def hmp(self, line: str, *, timeout: float) -> str:
        """Say a line to the monitor for people."""
        return await self.inner.hmp(line, timeout=timeout)

    async def qmp(self, command: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        """Ask the monitor for programs."""
        return await self.inner.qmp(command, arguments, timeout=timeout)

    def serial(self) -> SerialLine:
        """Its serial console."""
        return self.inner.serial()

    async def _told(self, kind: Kind, what: str) -> None:
        await self.tell(kind, self.machine, f"{self.machine.full_name}: {what}")
