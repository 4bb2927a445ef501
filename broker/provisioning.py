"""What drivers whose machines are defined here may offer besides `broker.driver.Provisioner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from broker.model import MachineId


@runtime_checkable
class Cloning(Protocol):
    """A driver that can make a machine of another one."""

    async def clone(
        self,
        machine_id: MachineId,
        name: str,
        *,
        linked: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> MachineId:
        """Define a machine like one that is off, with a uuid, a MAC and disks of its own.

        Args:
            linked: Disks hold only what differs from those of the first, which is not to run as
                long as they are there.
            tell: Told each step, and the percents of one that takes long.

        Raises:
            UsageError: It is not off, the name is taken, or an image cannot be copied.
            ConfigError: That is no name.
            StoreError: There is no room; nothing is left behind.
            NotFound: No such machine.
        """
        ...
