"""The part of the port that is about what local VMs are: defined, changed, cloned, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.model import Machine, MachineKey, MachineSpec
    from broker.provisioning import VmDraft, VmFacts


class Definitions(Protocol):
    """What a person can ask for of definitions of VMs. See `broker.service.port`."""

    async def define(self, spec: MachineSpec) -> Machine:
        """Store a new local VM."""
        ...

    async def spec(self, key: MachineKey) -> MachineSpec:
        """What a local VM was defined as."""
        ...

    async def local_vms(self) -> Sequence[VmFacts]:
        """What is known of the VMs of this host besides how they run; none of them is asked."""
        ...

    async def draft(self, text: str, *, known: MachineKey | None = None) -> VmDraft:
        """What a YAML text makes of a local VM, and what is wrong with it; nothing is stored.

        Args:
            text: Paths in it start where this process is. Empty with `known`: as that VM is.
            known: The VM that is to be changed; its name and uuid stay.
        """
        ...

    async def command(self, spec: MachineSpec) -> Sequence[str]:
        """QEMU's command line for a local VM, defined or not, as a start would run it first.

        Raises:
            VmStartFailed: QEMU or a firmware that it needs is not installed.
        """
        ...

    async def redefine(self, key: MachineKey, spec: MachineSpec) -> Machine:
        """Say anew what a local VM is, from its next start on; name and uuid stay what they are."""
        ...

    async def rename(self, key: MachineKey, name: str) -> Machine:
        """Call a local VM that is off something else; its uuid, disks and files stay its own."""
        ...

    async def delete(self, key: MachineKey, *, keep_disks: bool = True) -> None:
        """Forget a local VM that is off."""
        ...

    async def clone(
        self,
        key: MachineKey,
        name: str,
        *,
        linked: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> Machine:
        """Define a local VM like one that is off, with a uuid, a MAC and disks of its own.

        Args:
            linked: Its disks hold only what differs from those of the first, which is not started
                as long as they are there.
            tell: Told each step, and the percents of one that takes long.

        Raises:
            UsageError: It is not off, the name is taken, or an image cannot be copied.
            StoreError: There is no room; nothing is left behind.
        """
        ...
