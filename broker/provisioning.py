"""What is known of VMs of this host besides how they run, and what their driver may offer.

Nouns for drivers and faces alike, and contracts beside `broker.driver.Provisioner`. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from broker.model import MachineId, MachineKey, MachineSpec, Power


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk of a VM, as a look at its file shows it.

    Attributes:
        path: Of the image.
        size: Bytes that the guest sees; None when the file does not say.
        used: Bytes of this host that it takes; None when there is no file yet.
        snapshots: States that are kept in it.
    """

    path: str
    size: int | None = None
    used: int | None = None
    snapshots: int = 0


@dataclass(frozen=True, slots=True)
class VmFacts:
    """A VM of this host, apart from how it runs.

    Attributes:
        spec: What it is; of an adopted one, what its command line says. None when that is unknown.
        disks: In the order of the definition.
        engine: How its CPU is run at present, such as `kvm`; empty when it is off or unknown.
        built_on: Names of VMs that are linked clones of it.
        wanted: What was asked of it last; None when nobody asked.
    """

    key: MachineKey
    spec: MachineSpec | None = None
    disks: tuple[DiskFacts, ...] = ()
    engine: str = ""
    built_on: tuple[str, ...] = ()
    wanted: Power | None = None

    @property
    def size(self) -> int | None:
        """Bytes of all disks together, as the guest sees them; None when one is unknown."""
        sizes = [disk.size for disk in self.disks]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    @property
    def used(self) -> int:
        """Bytes of this host that all disks take."""
        return sum(disk.used or 0 for disk in self.disks)

    @property
    def snapshots(self) -> int:
        """States that can be gone back to: each is in every disk that can keep one."""
        return max((disk.snapshots for disk in self.disks), default=0)


@dataclass(frozen=True, slots=True)
class VmDraft:
    """A VM's definition while somebody writes it.

    Attributes:
        values: What was written, by key; empty where that is no YAML.
        wrong: Where something is wrong, such as `memory` or `disks.0.size` (empty: the whole), and
            what, in a sentence that does not name the place.
        spec: The VM it makes; None while something is wrong.
        text: The YAML of what was written, without its uuid.
        command: QEMU's command line; empty while something is wrong, or when it cannot be said.
        hindrance: Why such a VM would not start on this host as it is; else empty.
    """

    values: Mapping[str, object]
    wrong: tuple[tuple[str, str], ...]
    spec: MachineSpec | None
    text: str
    command: tuple[str, ...] = ()
    hindrance: str = ""


@runtime_checkable
class Drafting(Protocol):
    """A driver that judges definitions while they are written."""

    async def draft(self, text: str, *, known: MachineId | None = None) -> VmDraft:
        """What a YAML text makes, and what is wrong with it; nothing is stored.

        Args:
            text: Paths in it start where this process is. Empty with `known`: as that VM is.
            known: The VM that is to be changed; its name and uuid stay.

        Raises:
            NotFound: No such machine.
        """
        ...


@runtime_checkable
class FactTeller(Protocol):
    """A driver that knows its machines well."""

    async def facts(self) -> Sequence[VmFacts]:
        """Every machine of it; nothing is asked of those that run."""
        ...


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
