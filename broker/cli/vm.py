"""`broker vm list`, `vm log`, `vm rename`, and how every command finds and names a local VM."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
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


def vm_argument(parser: Parser) -> None:
    """The positional that names a VM."""
    parser.add_argument("vm", metavar="NAME", help="name, source/name or uuid")


def is_here(machine: Machine) -> bool:
    """Whether it is a VM of this host: defined here, or adopted."""
    return machine.defined or machine.adopted


async def find_vm(service: Service, reference: str) -> ConsoleInfo:
    """The local VM of that name, also when another source has a machine called so.

    Raises:
        NotFound: Nothing is called so.
        UsageError: It is another source's machine.
    """
    own = [
        info
        for info in await service.consoles()
        if is_here(info.machine) and info.machine.name == reference
    ]
    if len(own) == 1:
        return own[0]
    info = await service.find(reference)
    if not is_here(info.machine) and not info.abilities:
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
    machines = [info.machine for info in known if is_here(info.machine)]
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
    state = f"{machine.state.value} (seen)" if machine.adopted else machine.state.value
    if machine.reason:
        state = f"{state}: {machine.reason}"
    return (machine.name, state, str(machine.pid or ""), up, machine.key.uuid)


def say_machine(call: Call, machine: Machine) -> None:
    """Print a VM's state."""
    if call.out.json:
        call.out.document(jsonable.vm(machine))
    else:
        process = f" (process {machine.pid})" if machine.pid else ""
        call.out.text(f"{machine.name} is {machine.state.value}{process}")


# --- vm log ------------------------------------------------------------------------------------


def _log_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("--serial", action="store_true", help="the guest's serial port")
    parser.add_argument("--previous", action="store_true", help="of the run before")


def _log(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> str:
        info = await find_vm(service, args.vm)
        return await service.machine_log(
            info.machine.key, serial=args.serial, previous=args.previous
        )

    text = call.ask(ask)
    if not text:
        call.talk.note("nothing was written in a run before" if args.previous else "it is empty")
    if call.out.json:
        call.out.document({"log": text})
    elif call.out.is_terminal:
        call.out.exactly("".join(f"{one_line(line)}\n" for line in text.splitlines()))
    else:
        call.out.exactly(text)
    return Exit.DONE


# --- vm rename ---------------------------------------------------------------------------------


def _rename_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("name", metavar="NEW-NAME", help="what to call it from now on")


def _rename(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Machine:
        info = await find_vm(service, args.vm)
        return await service.rename(info.machine.key, args.name)

    say_machine(call, call.ask(ask))
    return Exit.DONE


LIST = Verb(no_arguments, _list)
LOG = Verb(_log_arguments, _log)
RENAME = Verb(_rename_arguments, _rename)
