"""What the commands share that use a VM: finding it, and asking something of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from broker.cli.args import Parser
from broker.cli.call import Call
from broker.cli.vm import find_vm

if TYPE_CHECKING:
    from broker.guest import Guest
    from broker.service.port import Service

T = TypeVar("T")


def vm_argument(parser: Parser) -> None:
    """The VM's name, the positional that all of them take."""
    parser.add_argument("vm", metavar="NAME", help="name, source/name or uuid")


def of_guest(
    call: Call, reference: str, question: Callable[[Guest], Awaitable[T]]
) -> tuple[str, T]:
    """Put a question to the local VM of that name; what it is called, and the answer.

    Raises:
        NotFound: Nothing is called so.
        UsageError: It is another source's machine, or the question is wrong.
        Unreachable: It is off, or its QEMU does not answer.
        BrokerError: Whatever else came of the question.
    """

    async def ask(service: Service) -> tuple[str, T]:
        machine = (await find_vm(service, reference)).machine
        return machine.name, await question(await service.guest(machine.key))

    return call.ask(ask)
