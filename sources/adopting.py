"""The adopted VMs of a local source: those that somebody else started, in the contract's words."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from broker.errors import NoConsole, NotFound, Refused, Unreachable, UsageError
from broker.model import (
    CarriedOver,
    Console,
    FoundQemu,
    HandOverTarget,
    Machine,
    MachineId,
    MachineKey,
    Protocol,
    SourceName,
    State,
)
from sources.scanning import describe, the_one

if TYPE_CHECKING:  # what these import is only needed where something was adopted
    from broker.driver import DriverContext
    from broker.guest import Guest
    from broker.vm.adopted import Look
    from broker.vm.adoptions import Adoption, Adoptions
    from broker.vm.definitions import Definition
    from broker.vm.examine import Patient

TICKET_SECONDS: Final = 5.0
"""For setting a new ticket by the monitor."""
TICKET_BYTES: Final = 24
"""Random ones; as hexadecimal digits, for HMP takes a leading dash for an option."""


class AdoptedVms:
    """What of a local source was adopted.

    Args:
        name: The source's.
    """

    def __init__(self, name: SourceName, context: DriverContext) -> None:
        self._name = name
        self._context = context
        self._opened: Adoptions | None = None
        self._secrets: dict[MachineId, str] = {}
        self._asked: frozenset[MachineId] = frozenset()

    def has(self, machine_id: MachineId) -> bool:
        """Whether it is one of them; quick where nothing was ever adopted."""
        return self._any and self._adoptions.find(machine_id) is not None

    # -- seen

    async def machines(self, defined: Collection[Definition]) -> list[Machine]:
        """All of them, by name; a definition of ours goes before an adoption with its uuid."""
        if not self._any:
            self._secrets, self._asked = {}, frozenset()
            return []
        ours = {definition.uuid for definition in defined}
        adoptions = [each for each in self._adoptions.all() if each.uuid not in ours]
        looks = await asyncio.gather(*(self._look(adoption) for adoption in adoptions))
        self._remember_tickets(adoptions, looks)
        return [
            self._machine(adoption, look) for adoption, look in zip(adoptions, looks, strict=True)
        ]

    def names(self, defined: Collection[Definition]) -> dict[MachineId, str]:
        """What they are called, in the order of `machines`; none is looked at."""
        if not self._any:
            return {}
        ours = {definition.uuid for definition in defined}
        return {each.uuid: each.name for each in self._adoptions.all() if each.uuid not in ours}

    async def machine(self, machine_id: MachineId) -> Machine:
        """One of them, as it is now."""
        adoption = self._find(machine_id)
        return self._machine(adoption, await self._look(adoption))

    def kept_tickets(self) -> Mapping[MachineId, str]:
        """Tickets that were read from where QEMU read them, of those last listed."""
        return self._secrets

    def asked_each_time(self) -> Collection[MachineId]:
        """Those last listed whose ticket is set anew for each session."""
        return self._asked

    async def console(self, machine_id: MachineId) -> Console:
        """Where its screen is; a ticket that nobody can read is set anew first.

        Raises:
            NotFound: No such VM.
            NoConsole: It has ended, or has no screen that can be reached.
            VmUnresponsive: The monitor that would set the ticket does not answer.
        """
        from broker.vm import talk
        from broker.vm.ways import Ticket

        adoption = self._find(machine_id)
        look = await self._look(adoption)
        screen = look.screen
        if screen.target is None or look.ways is None:
            raise NoConsole(
                f"{adoption.name} has no screen to reach: {screen.words}",
                fix=f"See what there is: broker doctor {quote(adoption.name)}",
            )
        if screen.ticket is not Ticket.FRESH:
            return Console(screen.target, ticket=screen.secret)
        assert look.ways.monitor is not None
        ticket = secrets.token_hex(TICKET_BYTES)
        await talk.set_ticket(look.ways.monitor, ticket, name=adoption.name, timeout=TICKET_SECONDS)
        return Console(screen.target, ticket=ticket)

    async def direct(self, machine_id: MachineId) -> Console:
        """The same for a viewer without the proxy, which needs a place to connect to.

        Raises:
            NoConsole: It listens nowhere; else as `console`.
        """
        console = await self.console(machine_id)
        if isinstance(console.target, HandOverTarget):
            raise NoConsole(
                f"{self._find(machine_id).name} listens on no port: its console is handed over by"
                " the proxy",
                fix="Leave out --direct",
            )
        return console

    # -- switched, when somebody asks for it

    def refuse_to_start(self, machine_id: MachineId) -> None:
        """Always.

        Raises:
            UsageError: It was adopted.
        """
        name = self._find(machine_id).name
        raise UsageError(
            f"{name} was adopted: somebody else started it, and it is not started from here",
            fix=f"Have it defined while it runs: broker vm adopt {quote(name)} --write vm.yaml",
        )

    async def stop(self, machine_id: MachineId, *, timeout: float) -> None:
        """Press its power button; see `broker.vm.adopted.stop`."""
        from broker.vm import adopted

        adoption = self._find(machine_id)
        await adopted.stop(adoption, self._adoptions.qemu(adoption), timeout=timeout)

    async def press_power_button(self, machine_id: MachineId) -> bool:
        """Press it, and do not wait; whether it is on.

        Raises:
            UsageError: It has no monitor.
        """
        from broker.vm import adopted

        adoption = self._find(machine_id)
        return await adopted.press_power_button(adoption, self._adoptions.qemu(adoption))

    async def tell(self, machine_id: MachineId, order: str) -> None:
        """Have its monitor carry out one order.

        Args:
            order: `stop`, `cont` or `system_reset`, which are the same in QMP and HMP.

        Raises:
            UsageError: It has ended, or has no monitor.
            VmUnresponsive: The monitor does not answer.
        """
        from broker.vm import adopted

        adoption = self._find(machine_id)
        await adopted.tell(adoption, self._adoptions.qemu(adoption), order)

    async def kill(self, machine_id: MachineId) -> None:
        """End it; see `broker.vm.adopted.kill`."""
        from broker.vm import adopted

        await adopted.kill(self._find(machine_id))

    # -- looked into, and used

    def patient(self, machine_id: MachineId) -> Patient:
        """One of them as `broker.vm.examine` has it."""
        from broker.vm.examine import Patient
        from broker.vm.ways import Ticket, ways_of

        adoption = self._find(machine_id)
        qemu = self._adoptions.qemu(adoption)
        ways = ways_of(qemu) if qemu is not None else None
        monitor = ways.monitor if ways is not None else None
        screen = ways.screen if ways is not None else None
        return Patient(
            adoption.name,
            qemu.process if qemu is not None else None,
            monitor,
            needs_monitor=screen is not None
            and (isinstance(screen.target, HandOverTarget) or screen.ticket is Ticket.FRESH),
            off=f"It was adopted and is not started again: broker vm forget {quote(adoption.name)}",
            is_held=lambda: bool(qemu and monitor and qemu.is_held(monitor)),
        )

    def guest(self, machine_id: MachineId) -> Guest:
        """One of them to be used; only QMP on a unix socket will do.

        Raises:
            UsageError: It has none.
            Unreachable: It has ended.
        """
        from broker.vm.asking import Asker
        from broker.vm.cmdline import Speaks
        from broker.vm.guest import RunningVm
        from broker.vm.paths import make_private

        adoption = self._find(machine_id)
        qemu = self._adoptions.qemu(adoption)
        if qemu is None:
            raise Unreachable(
                f"{adoption.name} has ended",
                fix=f"Let it go: broker vm forget {quote(adoption.name)}",
            )
        for monitor in qemu.monitors():
            if monitor.speaks is Speaks.QMP and monitor.path is not None:
                scratch = self._context.runtime_dir / "adopted"
                make_private(scratch)
                asker = Asker(adoption.name, Path(monitor.path))
                return RunningVm(asker, scratch, alive=lambda: adoption.lives)
        raise UsageError(
            f"{adoption.name} has no QMP on a unix socket, by which it could be used from here",
            fix="It would have to be started with: -qmp unix:PATH,server=on,wait=off",
        )

    def refuse_a_definition(self, machine_id: MachineId) -> None:
        """Always.

        Raises:
            UsageError: It was adopted.
        """
        name = self._find(machine_id).name
        raise UsageError(
            f"{name} was adopted, so it has no definition here",
            fix=f"Have one made of its command line: broker vm adopt {quote(name)} --write vm.yaml",
        )

    def refuse_a_log(self, machine_id: MachineId) -> None:
        """Always.

        Raises:
            UsageError: It was adopted.
        """
        raise UsageError(
            f"{self._find(machine_id).name} was adopted: its output went where whoever started it"
            " wanted",
            fix="Look there",
        )

    # -- taken in and let go

    async def scan(self, defined: Collection[Definition]) -> list[FoundQemu]:
        """Every QEMU of this user; see `broker.driver.Adopter`."""
        return await asyncio.to_thread(self._scan, {each.uuid: each.name for each in defined})

    async def adopt(
        self, reference: str, name: str | None, defined: Collection[Definition]
    ) -> MachineId:
        """Take one in; see `broker.driver.Adopter`."""
        return await asyncio.to_thread(self._adopt, reference, name, defined)

    async def forget(self, machine_id: MachineId) -> None:
        """Let it go; see `broker.driver.Adopter`."""
        adoption = self._find(machine_id)
        await asyncio.to_thread(self._adoptions.remove, adoption)

    def see_that_it_is_free(self, name: str, uuid: MachineId | None = None) -> None:
        """Whether a definition may have that name and uuid.

        Raises:
            UsageError: An adopted VM has it.
        """
        for adoption in self._adoptions.all() if self._any else ():
            if adoption.name == name or adoption.uuid == uuid:
                raise UsageError(
                    f"{adoption.name} is a VM that was adopted, with the uuid {adoption.uuid}",
                    fix=f"Forget that first: broker vm forget {quote(adoption.name)}",
                )

    async def as_definition(self, machine_id: MachineId) -> CarriedOver:
        """See `broker.driver.Adopter`."""
        from broker.vm.carry_over import carry_over

        adoption = self._find(machine_id)
        qemu = self._adoptions.qemu(adoption)
        if qemu is None:
            raise NotFound(
                f"{adoption.name} has ended, and its command line with it",
                fix="Start it again by hand and adopt it anew",
            )
        return await asyncio.to_thread(carry_over, qemu, adoption.name)

    # -- inside

    @property
    def _any(self) -> bool:
        return (self._context.data_dir / "adopted").is_dir()

    @property
    def _adoptions(self) -> Adoptions:
        if self._opened is None:
            from broker.vm.adoptions import Adoptions

            self._opened = Adoptions(self._context.data_dir, self._context.runtime_dir)
        return self._opened

    def _find(self, machine_id: MachineId) -> Adoption:
        found = self._adoptions.find(machine_id)
        if found is None:
            raise NotFound(
                f"No VM here has the uuid {machine_id}", fix="See which there are: broker vm list"
            )
        return found

    async def _look(self, adoption: Adoption) -> Look:
        from broker.vm import adopted

        return await adopted.look(adoption, await asyncio.to_thread(self._adoptions.qemu, adoption))

    def _remember_tickets(self, adoptions: Sequence[Adoption], looks: Sequence[Look]) -> None:
        from broker.vm.ways import Ticket

        both = list(zip(adoptions, (look.screen for look in looks), strict=True))
        self._secrets = {
            each.uuid: screen.secret for each, screen in both if screen.secret is not None
        }
        self._asked = frozenset(each.uuid for each, screen in both if screen.ticket is Ticket.FRESH)

    def _machine(self, adoption: Adoption, look: Look) -> Machine:
        seen, screen = look.seen, look.screen
        has_screen = adoption.screen if look.ways is None else screen.target is not None
        return Machine(
            MachineKey(self._name, adoption.uuid),
            adoption.name,
            seen.state,
            hypervisor="localhost",
            hypervisor_ip="127.0.0.1",
            protocol=Protocol.SPICE if has_screen else Protocol.NONE,
            reason=seen.reason
            or ("" if has_screen or seen.state is State.STOPPED else screen.words),
            pid=seen.pid,
            started_at=seen.started_at,
            target=screen.target,
            adopted=True,
        )

    def _scan(self, defined: Mapping[MachineId, str]) -> list[FoundQemu]:
        from broker.vm import scan

        known = self._adoptions if self._any else None
        return [describe(qemu, known, defined) for qemu in scan.qemus(self._context.runtime_dir)]

    def _adopt(
        self, reference: str, name: str | None, defined: Collection[Definition]
    ) -> MachineId:
        from broker.vm import scan

        qemu = the_one(reference, scan.qemus(self._context.runtime_dir))
        known = self._adoptions if self._any else None
        found = describe(qemu, known, {each.uuid: each.name for each in defined})
        if found.why_not:
            raise Refused(
                f"{reference} is not adopted: {found.why_not}",
                reason="not-ours",
                fix="See what is whose: broker vm scan",
            )
        adoption = self._adoptions.add(
            qemu,
            name=name,
            names={each.name for each in defined},
            taken={each.uuid for each in defined},
        )
        return adoption.uuid
