"""The contract of a driver: the code that talks to one type of source.

A driver is found through the `broker.sources` entry-point group and made by the loader with
`Driver.from_options(name, options, context)`. It raises only `broker.errors.BrokerError`; whatever
its library raises is translated at its border. "I did not see it" means "gone" only after a
complete enumeration: `machines()` is complete or an error, never a part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from broker.clock import Clock, SystemClock
from broker.findings import Finding
from broker.guest import Guest
from broker.model import (
    CarriedOver,
    Console,
    FoundQemu,
    Machine,
    MachineId,
    MachineSpec,
    SourceName,
)


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver may use of the house it lives in.

    Attributes:
        config_dir: Where relative paths in its options start.
        data_dir: Durable files of its own (local: `vms/NAME/`); exists, 0700.
        runtime_dir: Sockets and pidfiles (local: `vms/ID/`); exists, 0700, paths stay short.
        qemu: Name or path of the emulator for local VMs.
    """

    config_dir: Path
    data_dir: Path
    runtime_dir: Path
    qemu: str = "qemu-system-x86_64"
    clock: Clock = field(default_factory=SystemClock)


class Driver(Protocol):
    """One source of machines."""

    type: ClassVar[str]
    """The word after `type:` in sources.yaml."""

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """A driver for one entry of sources.yaml.

        Args:
            options: The entry without `source` and `type`, as YAML gave it.

        Raises:
            ConfigError: An option is unknown, missing or of the wrong type.
        """
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the source without stopping it; one sentence each."""
        ...

    async def machines(self) -> Sequence[Machine]:
        """All machines the source shows now; complete or an error.

        Raises:
            SourceUnreachable: It does not answer.
            SourceDenied: It refuses our credentials.
        """
        ...

    async def console(self, machine_id: MachineId) -> Console:
        """Where that machine's SPICE server is now, with a ticket good for one session.

        Raises:
            NotFound: No such machine.
            NoConsole: It is off, or has no SPICE display; `fix` says what to do.
        """
        ...

    async def aclose(self) -> None:
        """Give back connections; nothing is called afterwards."""
        ...


@runtime_checkable
class PowerControl(Protocol):
    """A driver that can switch machines. Asking for what already is, is not an error."""

    async def start(self, machine_id: MachineId) -> None:
        """Power on; returns when it runs.

        Raises:
            VmStartFailed: It did not start, with the hypervisor's own words.
        """
        ...

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None:
        """Ask the guest to power off, and end it when it has not after `timeout` seconds."""
        ...

    async def kill(self, machine_id: MachineId) -> None:
        """Power off at once."""
        ...


@runtime_checkable
class GradualStop(Protocol):
    """A driver that can say what it does while it switches a machine off, or only ask for it."""

    async def stop_visibly(
        self, machine_id: MachineId, *, timeout: float, tell: Callable[[str], None]
    ) -> None:
        """As `PowerControl.stop`.

        Args:
            tell: Told each step as it begins: a sentence without the machine's name.
        """
        ...

    async def ask_to_stop(self, machine_id: MachineId) -> bool:
        """Press its power button and wait for nothing; False when it cannot hear it now."""
        ...


@runtime_checkable
class RunControl(Protocol):
    """A driver that can hold a machine. Asking for what already is, is not an error."""

    async def pause(self, machine_id: MachineId) -> None:
        """Hold its CPUs.

        Raises:
            UsageError: It is off, or sleeps.
        """
        ...

    async def resume(self, machine_id: MachineId) -> None:
        """Let it go on, from a pause, an error of a disk, or its sleep.

        Raises:
            UsageError: It is off.
        """
        ...

    async def reset(self, machine_id: MachineId) -> None:
        """Press its reset button.

        Raises:
            UsageError: It is off.
        """
        ...


@runtime_checkable
class SingleLook(Protocol):
    """A driver that can look at one machine without asking all of them."""

    async def machine(self, machine_id: MachineId) -> Machine:
        """That machine as it is now.

        Raises:
            NotFound: No such machine.
        """
        ...


@runtime_checkable
class Keeping(Protocol):
    """A driver whose machines a broker that stays looks after."""

    async def watch(self, changed: Callable[[MachineId], None]) -> None:
        """Say at once which machine may look different now, until cancelled.

        One broker watches at a time; it holds a lock for that.
        """
        ...

    def is_being_switched(self, machine_id: MachineId) -> bool:
        """Whether some broker starts or stops it at this moment."""
        ...

    def begin_autostart(self, machine_id: MachineId) -> bool:
        """Whether it is to be started because this host was; true once after each boot."""
        ...


@runtime_checkable
class Provisioner(Protocol):
    """A driver that holds definitions of machines."""

    async def define(self, spec: MachineSpec) -> None:
        """Store a new machine.

        Raises:
            UsageError: The name is taken, or the spec cannot work (a missing image, say).
        """
        ...

    async def spec(self, machine_id: MachineId) -> MachineSpec:
        """What a machine was defined as.

        Raises:
            NotFound: No such machine.
        """
        ...

    async def delete(self, machine_id: MachineId, *, keep_disks: bool = True) -> None:
        """Forget a machine that is off; disks outside our own directory are never touched.

        Raises:
            UsageError: It is running.
        """
        ...


@runtime_checkable
class CommandTeller(Protocol):
    """A driver whose machines are programs of this host."""

    async def command(self, spec: MachineSpec) -> Sequence[str]:
        """The command line that a start of such a machine would run first; nothing is started.

        Raises:
            VmStartFailed: A program or a firmware that it needs is not installed.
        """
        ...


@runtime_checkable
class Redefining(Protocol):
    """A driver whose machines can be defined anew."""

    async def redefine(self, spec: MachineSpec) -> None:
        """Put a definition in the place of the one with its uuid, running or not.

        It holds from the machine's next start on.

        Raises:
            UsageError: Its name is another, or the spec cannot work.
            NotFound: No such machine.
            ConfigError: A value is out of range.
        """
        ...


@runtime_checkable
class Renaming(Protocol):
    """A driver whose machines can be called something else."""

    async def rename(self, machine_id: MachineId, name: str) -> None:
        """Call a machine that is off something else; it is so already when the name is its own.

        Raises:
            UsageError: It is not off, or the name is taken.
            ConfigError: That is no name.
        """
        ...


@runtime_checkable
class ForOneViewer(Protocol):
    """A driver that can open a console of this host to one viewer, round the proxy."""

    async def direct(self, machine_id: MachineId, *, seconds: float) -> Console:
        """A port of the machine's own, with a new ticket that is good for so many seconds.

        Raises:
            NotFound: No such machine.
            NoConsole: It is off, or listens on no port.
        """
        ...

    async def door(self, machine_id: MachineId) -> Console:
        """A port of 127.0.0.1 for one viewer of a machine that the proxy cannot serve (VNC).

        Raises:
            NotFound: No such machine.
            NoConsole: It is off, or has no such console.
        """
        ...


@runtime_checkable
class KeptConsoles(Protocol):
    """A driver whose consoles are told whole by `machines()` and these tickets.

    They are stored, the tickets sealed, so that no driver is asked when a viewer arrives.
    """

    def kept_tickets(self) -> Mapping[MachineId, str]:
        """Tickets of the machines last listed; a machine without one needs none."""
        ...


@runtime_checkable
class AskedEachTime(Protocol):
    """A driver that keeps its consoles, but for some whose ticket is made when a viewer arrives."""

    def asked_each_time(self) -> Collection[MachineId]:
        """Those of the machines last listed that `console` is to be asked for."""
        ...


@runtime_checkable
class Adopter(Protocol):
    """A driver that takes in machines which somebody else started."""

    async def scan(self) -> Sequence[FoundQemu]:
        """Every QEMU of this user on this host; of all users for root. Nothing is asked of them."""
        ...

    async def adopt(self, reference: str, *, name: str | None = None) -> MachineId:
        """Make one of them a machine of this source. One that is, is not an error.

        Args:
            reference: Its process id, name or uuid.
            name: What to call it; None takes its own name.

        Raises:
            NotFound: No QEMU is called so.
            Ambiguous: Several are.
            Refused: Something else looks after it.
            UsageError: That name is taken.
        """
        ...

    async def forget(self, machine_id: MachineId) -> None:
        """It is no machine of this source any more; its process is not touched.

        Raises:
            NotFound: No adopted machine has that id.
        """
        ...

    async def as_definition(self, machine_id: MachineId) -> CarriedOver:
        """The best definition that its command line makes.

        Raises:
            NotFound: No adopted machine has that id, or it has ended.
        """
        ...


@runtime_checkable
class SelfExamining(Protocol):
    """A driver that can look into its machines, step by step, for `broker doctor`."""

    async def examine_process(self, machine_id: MachineId) -> Finding:
        """Whether its process lives and may run."""
        ...

    async def examine_monitor(self, machine_id: MachineId) -> Finding:
        """Whether its monitor answers."""
        ...

    async def examine_server(self, machine_id: MachineId) -> Finding:
        """Whether its SPICE server is on."""
        ...


@runtime_checkable
class LogKeeper(Protocol):
    """A driver that keeps the logs of its machines."""

    async def log(
        self, machine_id: MachineId, *, serial: bool = False, previous: bool = False
    ) -> str:
        """QEMU's own output of the current or last run, or the guest's serial output.

        Args:
            previous: Of the run before that; empty when there was none.
        """
        ...


@runtime_checkable
class GuestControl(Protocol):
    """A driver whose running machines can be used: their screen, keys, media, snapshots, ports."""

    async def guest(self, machine_id: MachineId) -> Guest:
        """A machine to be used; it may be off, which each verb then says.

        Raises:
            NotFound: No such machine.
        """
        ...
