"""The local source: VMs that this broker defines, starts and stops on this host.

Its only option is `qemu`, the emulator to use instead of the configured one. All work is done by
`broker.vm`; this module puts it into the words of the driver contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Self

from broker.driver import DriverContext
from broker.errors import BrokerError, ConfigError, NoConsole, speaks_vnc
from broker.human import did_you_mean
from broker.model import (
    Console,
    Display,
    HandOverTarget,
    Machine,
    MachineId,
    MachineKey,
    MachineSpec,
    Protocol,
    SourceName,
    State,
    Target,
    UnixTarget,
)

if TYPE_CHECKING:  # what these import is only needed once something is asked
    from broker.guest import Guest
    from broker.vm.definitions import Definition, Definitions
    from broker.vm.instance import Instance
    from broker.vm.look import Seen
    from broker.vm.paths import VmPaths
    from broker.vm.watch import Vm

HYPERVISOR: Final = "localhost"
OPTIONS: Final = ("qemu",)
_OFF: Final = frozenset({State.STOPPED, State.CRASHED})
_FRESH_SECONDS: Final = 0.1
"""For how long what a start saw need not be looked at anew, as long as that QEMU lives."""
_MAX_LOG_BYTES: Final = 4 * 1024 * 1024


class LocalDriver:
    """VMs of this host; a driver that also switches, defines and keeps logs."""

    type: ClassVar[str] = "local"

    def __init__(self, name: SourceName, context: DriverContext, *, qemu: str) -> None:
        self._name = name
        self._context = context
        self._qemu = qemu
        self._opened: Definitions | None = None
        self._started: dict[MachineId, tuple[float, Seen]] = {}

    @classmethod
    def from_options(
        cls, name: SourceName, options: Mapping[str, object], context: DriverContext
    ) -> Self:
        """The driver of one entry of sources.yaml; see `broker.driver.Driver`.

        Raises:
            ConfigError: An option is unknown, or `qemu` is not text.
        """
        for option in options:
            if option not in OPTIONS:
                raise ConfigError(
                    f"sources.yaml: {name}: {option} is not a setting of a local source",
                    fix=did_you_mean(option, OPTIONS) or f"Settings are: {', '.join(OPTIONS)}",
                )
        qemu = options.get("qemu", context.qemu)
        if not isinstance(qemu, str) or not qemu:
            raise ConfigError(
                f"sources.yaml: {name}: qemu is {qemu!r}, not the name or path of an emulator",
                fix="Write it as qemu: qemu-system-x86_64, or leave it out",
            )
        return cls(name, context, qemu=qemu)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each definition that cannot be read, as of now."""
        return tuple(
            definition.problem.what
            for definition in self._definitions.all()
            if definition.problem is not None
        )

    async def machines(self) -> Sequence[Machine]:
        """All VMs that are defined, by name; those that run are asked all at once.

        Raises:
            StoreError: The directory of definitions cannot be read.
        """
        definitions = self._definitions.all()
        return await asyncio.gather(*(self._look(definition) for definition in definitions))

    async def machine(self, machine_id: MachineId) -> Machine:
        """One VM as it is now, without a look at the others.

        Raises:
            NotFound: No such VM.
        """
        return await self._look(self._definitions.find(machine_id))

    async def console(self, machine_id: MachineId) -> Console:
        """A hand-over by the VM's control monitor; no ticket is needed.

        Raises:
            NotFound: No such VM.
            NoConsole: It is off, has no display, or speaks VNC.
        """
        definition = self._definitions.find(machine_id)
        machine = await self._look(definition)
        if machine.protocol is Protocol.NONE or machine.target is None:
            raise NoConsole(
                f"{machine.name} has no display",
                fix=f"Give it a display, or use its serial port: broker vm serial {machine.name}",
            )
        if machine.protocol is Protocol.VNC:
            raise speaks_vnc(machine.name)
        if machine.state in _OFF or machine.pid is None:
            raise NoConsole(
                f"{machine.name} is {machine.state}",
                fix=f"Start it: broker vm start {machine.name}",
            )
        return Console(machine.target)

    async def direct(self, machine_id: MachineId, *, seconds: float) -> Console:
        """The VM's own port for SPICE, with a new ticket; see `broker.vm.ticket.issue`."""
        from broker.vm.ticket import issue

        definition = self._definitions.find(machine_id)
        spec = definition.spec or self._definitions.spec(machine_id)
        return await issue(spec, self._paths(definition), seconds=seconds)

    async def door(self, machine_id: MachineId) -> Console:
        """A port for one viewer of the VM's VNC socket; see `broker.vm.vnc.open_door`."""
        from broker.vm.vnc import open_door

        definition = self._definitions.find(machine_id)
        return await open_door(definition.name, self._paths(definition))

    async def aclose(self) -> None:
        """Nothing is kept open."""

    # -- consoles are told whole by `machines`

    def kept_tickets(self) -> Mapping[MachineId, str]:
        """None of them needs a ticket."""
        return {}

    # -- power

    async def start(self, machine_id: MachineId) -> None:
        """Have it running; see `broker.vm.instance.Instance.start`."""
        definition = self._definitions.find(machine_id)
        spec = definition.spec or self._definitions.spec(machine_id)  # which says what is wrong
        seen = await self._instance(definition, spec).start()
        if seen is not None:
            self._started[machine_id] = self._context.clock.monotonic(), seen

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None:
        """Switch it off, gently first; see `broker.vm.instance.Instance.stop`."""
        await self._instance(self._definitions.find(machine_id)).stop(timeout=timeout)

    async def kill(self, machine_id: MachineId) -> None:
        """Switch it off at once; see `broker.vm.instance.Instance.kill`."""
        await self._instance(self._definitions.find(machine_id)).kill()

    async def stop_visibly(
        self, machine_id: MachineId, *, timeout: float, tell: Callable[[str], None]
    ) -> None:
        """Switch it off and say how; see `broker.vm.instance.Instance.stop`."""
        found = self._instance(self._definitions.find(machine_id))
        await found.stop(timeout=timeout, tell=tell)

    async def ask_to_stop(self, machine_id: MachineId) -> bool:
        """Press its power button; see `broker.vm.instance.Instance.ask_to_stop`."""
        return await self._instance(self._definitions.find(machine_id)).ask_to_stop()

    async def pause(self, machine_id: MachineId) -> None:
        """Hold its CPUs; see `broker.vm.orders.pause`."""
        await self._instance(self._definitions.find(machine_id)).pause()

    async def resume(self, machine_id: MachineId) -> None:
        """Let it go on; see `broker.vm.orders.resume`."""
        await self._instance(self._definitions.find(machine_id)).resume()

    async def reset(self, machine_id: MachineId) -> None:
        """Press its reset button; see `broker.vm.orders.reset`."""
        await self._instance(self._definitions.find(machine_id)).reset()

    # -- looked after by a broker that stays

    async def watch(self, changed: Callable[[MachineId], None]) -> None:
        """See `broker.vm.watch.watch`."""
        from broker.vm.watch import watch

        await watch(self._vms, changed)

    def _vms(self) -> Sequence[Vm]:
        from broker.vm.watch import Vm

        try:
            found = self._definitions.all()
        except BrokerError:  # its listing says so
            return ()
        return [Vm(each.uuid, each.name, self._paths(each)) for each in found]

    def is_being_switched(self, machine_id: MachineId) -> bool:
        """Whether some broker starts or stops it at this moment."""
        return self._instance(self._definitions.find(machine_id)).is_being_switched()

    def begin_autostart(self, machine_id: MachineId) -> bool:
        """Whether it is to be started because this host was; true once after each boot."""
        from broker.vm.autostart import begin

        return begin(self._paths(self._definitions.find(machine_id)))

    # -- definitions

    async def define(self, spec: MachineSpec) -> None:
        """Store a VM; it is not started.

        Raises:
            UsageError: Its name or uuid is taken, or an image of it does not exist.
            ConfigError: A value is out of range.
            StoreError: It cannot be written.
        """
        from broker.vm.disks import with_own_paths
        from broker.vm.images import check_images

        check_images(spec)
        self._definitions.add(with_own_paths(spec, self._context.data_dir / "vms" / spec.name))
        if spec.autostart:  # at the next boot of this host, not now
            self.begin_autostart(spec.uuid)

    async def rename(self, machine_id: MachineId, name: str) -> None:
        """Call a VM that is off something else; see `broker.vm.renaming.rename`."""
        from broker.vm.renaming import rename

        spec = self._definitions.spec(machine_id)
        paths = self._paths(self._definitions.find(machine_id))
        await rename(self._definitions, spec, name, paths)

    async def spec(self, machine_id: MachineId) -> MachineSpec:
        """What it was defined as.

        Raises:
            NotFound: No such VM.
            ConfigError: Its definition is broken.
        """
        return self._definitions.spec(machine_id)

    async def command(self, spec: MachineSpec) -> Sequence[str]:
        """The command line that a start would run first, for a VM that is defined or not yet.

        Raises:
            ConfigError: A value is out of range.
            VmStartFailed: QEMU or a firmware that it needs is not installed.
        """
        from broker.vm import schema
        from broker.vm.disks import with_own_paths
        from broker.vm.launch import command_line
        from broker.vm.paths import VmPaths

        context = self._context
        paths = VmPaths.of(context.runtime_dir, context.data_dir, spec.name, spec.uuid)
        return command_line(schema.check(with_own_paths(spec, paths.data)), paths, qemu=self._qemu)

    async def delete(self, machine_id: MachineId, *, keep_disks: bool = True) -> None:
        """Forget a VM that is off, and its logs.

        Args:
            keep_disks: Keep what else is in its own data directory. Nothing outside is touched.

        Raises:
            NotFound: No such VM.
            UsageError: It is not off.
        """
        from broker.vm.removal import remove

        definition = self._definitions.find(machine_id)
        await remove(self._definitions, definition, self._paths(definition), keep_disks=keep_disks)

    # -- logs

    async def log(
        self, machine_id: MachineId, *, serial: bool = False, previous: bool = False
    ) -> str:
        """QEMU's output, or the guest's serial output, of the current or last run; at most 4 MiB.

        Args:
            previous: Of the run before that.

        Raises:
            NotFound: No such VM.
        """
        from broker.vm.look import tail

        paths = self._paths(self._definitions.find(machine_id))
        path = paths.serial_log if serial else paths.qemu_log
        return tail(path.with_name(f"{path.name}.1") if previous else path, _MAX_LOG_BYTES)

    # -- use

    async def guest(self, machine_id: MachineId) -> Guest:
        """A VM to be used; see `broker.vm.guest`.

        Raises:
            NotFound: No such VM.
        """
        from broker.vm.guest import RunningVm

        definition = self._definitions.find(machine_id)
        serial = definition.spec is None or definition.spec.serial
        return RunningVm.of(definition.name, self._paths(definition), serial=serial)

    # -- inside

    @property
    def _definitions(self) -> Definitions:
        if self._opened is None:
            from broker.vm.definitions import Definitions

            self._opened = Definitions(self._context.data_dir)
        return self._opened

    def _paths(self, definition: Definition) -> VmPaths:
        from broker.vm.paths import VmPaths

        context = self._context
        return VmPaths.of(context.runtime_dir, context.data_dir, definition.name, definition.uuid)

    def _instance(self, definition: Definition, spec: MachineSpec | None = None) -> Instance:
        """The VM itself; to stop one takes no more than its name, so a broken file is no bar."""
        from broker.vm.instance import Instance

        wanted = spec or MachineSpec(definition.name, definition.uuid)
        return Instance(wanted, self._paths(definition), self._qemu, self._context.clock)

    async def _look(self, definition: Definition) -> Machine:
        from broker.vm.look import look

        paths = self._paths(definition)
        seen = self._just_seen(definition, paths) or await look(definition.name, paths)
        return self._machine(definition, paths, seen)

    def _just_seen(self, definition: Definition, paths: VmPaths) -> Seen | None:
        """What a start of ours saw a moment ago, once: a guest that boots is slow to be asked."""
        from broker.vm import process

        at, seen = self._started.pop(definition.uuid, (0.0, None))
        if seen is None:
            return None
        found = process.find(paths.pid)
        age = self._context.clock.monotonic() - at
        if age < _FRESH_SECONDS and found is not None and found.pid == seen.pid:
            return seen
        return None

    def _machine(self, definition: Definition, paths: VmPaths, seen: Seen) -> Machine:
        spec, problem = definition.spec, definition.problem
        broken = problem is not None and seen.state is State.STOPPED
        return Machine(
            MachineKey(self._name, definition.uuid),
            definition.name,
            State.ERROR if broken else seen.state,
            hypervisor=HYPERVISOR,
            hypervisor_ip="127.0.0.1",
            protocol=_protocol(spec),
            reason=str(problem) if problem is not None else seen.reason,
            pid=seen.pid,
            started_at=seen.started_at,
            target=_target(spec, paths),
            defined=True,
        )


def _protocol(spec: MachineSpec | None) -> Protocol:
    if spec is None:
        return Protocol.SPICE
    if spec.display is Display.NONE:
        return Protocol.NONE
    return Protocol.VNC if spec.vnc else Protocol.SPICE


def _target(spec: MachineSpec | None, paths: VmPaths) -> Target | None:
    match _protocol(spec):
        case Protocol.SPICE:
            return HandOverTarget(str(paths.ctl))
        case Protocol.VNC:
            return UnixTarget(str(paths.vnc))
        case Protocol.NONE:
            return None
