"""`broker list`: every console of every source, from what is stored."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, one_of
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.errors import NotFound
from broker.human import one_line
from broker.model import State

if TYPE_CHECKING:
    from broker.service.port import ConsoleInfo, Service

COLOURS = {
    State.RUNNING.value: "green",
    State.PAUSED.value: "yellow",
    State.CRASHED.value: "red",
    State.ERROR.value: "red",
    State.UNRESPONSIVE.value: "red",
    State.STOPPED.value: "dim",
}
"""How a state looks on a terminal; its word is there in any case."""


def _arguments(parser: Parser) -> None:
    parser.add_argument("--source", metavar="NAME", help="only consoles of this source")
    parser.add_argument(
        "--state", type=one_of(State), metavar="STATE", help="only consoles in this state"
    )
    parser.add_argument("--refresh", action="store_true", help="ask every source first")


def _run(call: Call, args: Namespace) -> Exit:
    found = _consoles(call, refresh=args.refresh)
    if args.source is not None:
        found = [info for info in found if info.machine.key.source == args.source]
        if not found:
            _check_there_is(call, args.source)
    found = [info for info in found if args.state in (None, info.machine.state)]
    if call.out.json:
        call.out.document([jsonable.console(info) for info in found])
    elif found:
        call.out.table(
            ("NAME", "SOURCE", "STATE", "PROTOCOL", "HYPERVISOR", "SESSIONS", "UUID"),
            [_row(info) for info in found],
            colours=(2, COLOURS),
        )
        if any(info.stale for info in found):
            call.talk.note("what is stale was not seen at the last look; why: broker sources")
    else:
        call.talk.note(_nothing(args))
    return Exit.DONE


def _check_there_is(call: Call, source: str) -> None:
    """Tell a source without consoles from a name that is mistyped.

    Raises:
        NotFound: There is no such source.
    """

    async def ask(service: Service) -> Sequence[str]:
        return [status.name for status in await service.sources()]

    if source not in (known := call.ask(ask)):
        names = ", ".join(one_line(name) for name in known)
        raise NotFound(
            f"There is no source called {one_line(source)}",
            fix=f"There are: {names}" if names else "See: broker sources",
        )


def _consoles(call: Call, *, refresh: bool) -> Sequence[ConsoleInfo]:
    async def ask(service: Service) -> Sequence[ConsoleInfo]:
        if refresh:
            for status in await service.refresh():
                if status.problem:
                    call.talk.note(f"{status.name}: {status.problem}")
        return await service.consoles()

    return call.ask(ask) if refresh else call.quickly(lambda quick: quick.consoles(), ask)


def _row(info: ConsoleInfo) -> tuple[str, ...]:
    machine = info.machine
    seen = f"{machine.state.value} (seen)" if machine.adopted else machine.state.value
    state = f"{machine.state.value} (stale)" if info.stale else seen
    return (
        machine.name,
        machine.key.source,
        state,
        machine.protocol.value,
        machine.hypervisor,
        str(info.sessions or ""),
        machine.key.uuid,
    )


def _nothing(args: Namespace) -> str:
    if args.source or args.state:
        return "no console matches"
    return "no consoles yet. Boot one: broker run IMAGE, or: broker run --demo"


LIST = Verb(
    _arguments,
    _run,
    "The list comes from what is stored and answers at once; --refresh asks the sources first.",
)
