"""`broker vm …`: the local VMs and their power."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, seconds_or_zero
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, is_terminal
from broker.cli.list import COLOURS
from broker.clock import SystemClock
from broker.errors import UsageError
from broker.human import age, one_line
from broker.model import State

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import ConsoleInfo, Service

OFF = (State.STOPPED, State.UNKNOWN, State.CRASHED, State.ERROR)
"""States in which a VM can be forgotten."""


def no_arguments(parser: Parser) -> None:
    """For commands that take none."""
    del parser


def _vm(parser: Parser) -> None:
    parser.add_argument("vm", metavar="NAME", help="name, source/name or uuid")


async def find_vm(service: Service, reference: str) -> ConsoleInfo:
    """The local VM of that name, also when another source has a machine called so.

    Raises:
        NotFound: Nothing is called so.
        UsageError: It is another source's machine.
    """
    own = [
        info
        for info in await service.consoles()
        if info.machine.defined and info.machine.name == reference
    ]
    if len(own) == 1:
        return own[0]
    info = await service.find(reference)
    if not info.machine.defined:
        raise UsageError(
            f"{info.machine.full_name} is not a VM of this host and is not switched from here",
            fix="See those that can: broker vm list",
        )
    return info


# --- vm list -----------------------------------------------------------------------------------


def _list(call: Call, args: Namespace) -> Exit:
    del args

    async def ask(service: Service) -> Sequence[ConsoleInfo]:
        return await service.consoles()

    known = call.quickly(lambda quick: quick.consoles(), ask)
    machines = [info.machine for info in known if info.machine.defined]
    if call.out.json:
        call.out.document([jsonable.vm(machine) for machine in machines])
    elif machines:
        rows = [_row(vm) for vm in machines]
        call.out.table(("NAME", "STATE", "PID", "UP", "UUID"), rows, colours=(1, COLOURS))
    else:
        call.talk.note("no local VMs. Make one: broker run IMAGE, or: broker vm define")
    return Exit.DONE


def _row(machine: Machine) -> tuple[str, ...]:
    since = machine.started_at
    up = age((SystemClock().now() - since).total_seconds()) if since and machine.pid else ""
    state = f"{machine.state.value}: {machine.reason}" if machine.reason else machine.state.value
    return (machine.name, state, str(machine.pid or ""), up, machine.key.uuid)


# --- vm start, stop, kill ----------------------------------------------------------------------


def _switching(
    switch: Callable[[Service, Machine, Namespace], Awaitable[Machine]],
) -> Callable[[Call, Namespace], Exit]:
    """A command that switches one VM and says what became of it."""

    def run(call: Call, args: Namespace) -> Exit:
        async def ask(service: Service) -> Machine:
            info = await find_vm(service, args.vm)
            return await switch(service, info.machine, args)

        machine = call.ask(ask)
        say_machine(call, machine)
        return Exit.DONE

    return run


def say_machine(call: Call, machine: Machine) -> None:
    """Print a VM's state."""
    if call.out.json:
        call.out.document(jsonable.vm(machine))
    else:
        process = f" (process {machine.pid})" if machine.pid else ""
        call.out.text(f"{machine.name} is {machine.state.value}{process}")


def _stop_arguments(parser: Parser) -> None:
    _vm(parser)
    parser.add_argument(
        "--timeout",
        type=seconds_or_zero,
        metavar="TIME",
        help="end it when it has not powered off after this time (vm.stop_timeout)",
    )


# --- vm delete ---------------------------------------------------------------------------------


def _delete_arguments(parser: Parser) -> None:
    _vm(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--delete-disks",
        action="store_true",
        help="also the disks in broker's own directory; others are never touched",
    )


def _delete(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Machine | None:
        machine = (await find_vm(service, args.vm)).machine
        if machine.state not in OFF:
            raise UsageError(
                f"{machine.name} is {machine.state.value}, so it is not deleted",
                fix=f"Stop it first: broker vm stop {machine.name}",
            )
        if not _is_sure(call, machine, args):
            return None
        await service.delete(machine.key, keep_disks=not args.delete_disks)
        return machine

    machine = call.ask(ask)
    if machine is None:
        call.talk.note("nothing was deleted")
        return Exit.FAILED
    if call.out.json:
        call.out.document({"name": machine.name, "uuid": machine.key.uuid, "deleted": True})
    else:
        call.talk.note(f"{machine.name} is deleted")
    return Exit.DONE


def _is_sure(call: Call, machine: Machine, args: Namespace) -> bool:
    if args.yes:
        return True
    if not (is_terminal(sys.stdin) and call.talk.is_terminal):
        raise UsageError(
            f"Nobody can be asked whether to delete {machine.name}", fix="Say so with --yes"
        )
    disks = " and its disks" if args.delete_disks else ""
    answer = call.talk.ask(f"Delete {one_line(machine.name)}{disks}? [y/N] ")
    return answer.lower() in ("y", "yes")


# --- vm log ------------------------------------------------------------------------------------


def _log_arguments(parser: Parser) -> None:
    _vm(parser)
    parser.add_argument("--serial", action="store_true", help="the guest's serial port")


def _log(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> str:
        info = await find_vm(service, args.vm)
        return await service.machine_log(info.machine.key, serial=args.serial)

    text = call.ask(ask)
    if call.out.json:
        call.out.document({"log": text})
    elif call.out.is_terminal:
        call.out.exactly("".join(f"{one_line(line)}\n" for line in text.splitlines()))
    else:
        call.out.exactly(text)
    return Exit.DONE


LIST = Verb(no_arguments, _list)
START = Verb(_vm, _switching(lambda service, vm, _: service.start(vm.key)))
STOP = Verb(
    _stop_arguments,
    _switching(lambda service, vm, args: service.stop(vm.key, timeout=args.timeout)),
)
KILL = Verb(_vm, _switching(lambda service, vm, _: service.kill(vm.key)))
DELETE = Verb(_delete_arguments, _delete)
LOG = Verb(_log_arguments, _log)
