"""`broker vm clone NAME NEW`: a VM made of one that is off."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.vm import find_vm, say_machine, vm_argument

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import Service


def _arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("name", metavar="NEW-NAME", help="what the new one is called")
    parser.add_argument(
        "--linked", action="store_true", help="disks that hold only what differs from the first's"
    )


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Machine:
        key = (await find_vm(service, args.vm)).machine.key
        return await service.clone(key, args.name, linked=args.linked, tell=_telling(call))

    machine = call.ask(ask)
    if args.linked:
        call.talk.note(
            f"{args.vm} is not started as long as {machine.name} is there: its disks are the base"
        )
    say_machine(call, machine)
    return Exit.DONE


def _telling(call: Call) -> Callable[[str], None]:
    """Every tenth percent, for somebody who is there to wait."""

    def tell(text: str) -> None:
        _, _, percent = text.rpartition(": ")
        if call.talk.is_terminal and (not percent.endswith(" %") or percent[-3] == "0"):
            call.talk.note(text)

    return tell


CLONE = Verb(
    _arguments,
    _run,
    "The VM must be off. The new one has a uuid and a MAC address of its own, and its disks, UEFI\n"
    "variables and TPM in its own directory; disks that are never written to are shared.\n"
    "  broker vm clone web-01 web-02\n"
    "  broker vm clone template web-03 --linked",
)
