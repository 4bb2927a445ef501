"""`broker vm start`, `stop`, `kill`, `pause`, `resume`, `reset`, `delete`: several VMs at once.

Each name may be a pattern (`web-*`). Every VM has a result of its own, and one that fails holds up
no other. One plain name is answered by one object, or by its error alone; anything else by a list.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Final

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, seconds_or_zero
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, error_document, exit_for, is_terminal
from broker.cli.vm import OFF, find_vm, say_machine
from broker.errors import BrokerError, NotFound, StoreError, Unwritten, UsageError
from broker.human import one_line
from broker.model import State

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import Service

AT_ONCE: Final = 16
"""How many VMs one command starts at the same time; all can be stopped at once."""
_WILD: Final = frozenset("*?[")

Act = Callable[["Service", "Machine"], Awaitable["Machine"]]
Result = tuple[str, "Machine | BrokerError"]


def _vms(parser: Parser) -> None:
    parser.add_argument(
        "vms", nargs="+", metavar="NAME", help="name, source/name, uuid or pattern ('web-*')"
    )


def _machines(parser: Parser) -> None:
    parser.add_argument("vms", nargs="+", metavar="NAME", help="name, source/name or uuid")


def is_pattern(reference: str) -> bool:
    """Whether a name stands for several; names have none of these letters."""
    return not _WILD.isdisjoint(reference)


async def choose(service: Service, references: Sequence[str]) -> list[Result]:
    """The VMs of these names and patterns, each once, in their order; what is not found says so."""
    chosen: dict[str, Machine | BrokerError] = {}
    for reference in references:
        try:
            found = (
                await _matching(service, reference)
                if is_pattern(reference)
                else [(await find_vm(service, reference)).machine]
            )
        except BrokerError as problem:
            chosen.setdefault(reference, problem)
        else:
            for machine in found:
                chosen.setdefault(machine.key.uuid, machine)
    return [
        (what.name if not isinstance(what, BrokerError) else name, what)
        for name, what in chosen.items()
    ]


async def _matching(service: Service, pattern: str) -> list[Machine]:
    from fnmatch import fnmatchcase

    found = [
        info.machine
        for info in await service.consoles()
        if info.machine.defined
        and (
            fnmatchcase(info.machine.name, pattern) or fnmatchcase(info.machine.full_name, pattern)
        )
    ]
    if not found:
        raise NotFound(f"No VM is called {pattern}", fix="See which there are: broker vm list")
    return found


def _to_each(call: Call, args: Namespace, act: Callable[[Service], Act]) -> Exit:
    """Do something to every VM that is named, and say what came of each."""
    alone = len(args.vms) == 1 and not is_pattern(args.vms[0])

    async def ask(service: Service) -> list[Result]:
        todo, turns = act(service), asyncio.Semaphore(AT_ONCE)

        async def one(name: str, what: Machine | BrokerError) -> Result:
            if isinstance(what, BrokerError):
                return name, what
            try:
                async with turns:
                    done = await todo(service, what)
            except Unwritten as problem:
                call.talk.note(problem.what)
                done = replace(what, state=State.STOPPED, reason="", pid=None, started_at=None)
            except BrokerError as problem:
                return name, problem
            if not (call.out.json or alone):
                say_machine(call, done)
            return name, done

        return await asyncio.gather(
            *(one(name, what) for name, what in await choose(service, args.vms))
        )

    results = call.ask(ask)
    return _say_one(call, results) if alone else _say_all(call, results, jsonable.vm)


def _say_one(call: Call, results: Sequence[Result]) -> Exit:
    """What came of the only one.

    Raises:
        BrokerError: That did.
    """
    _, what = results[0]
    if isinstance(what, BrokerError):
        raise what
    say_machine(call, what)
    return Exit.DONE


def _say_all(
    call: Call, results: Sequence[Result], document: Callable[[Machine], jsonable.Document]
) -> Exit:
    """The list of results with `--json`, the errors, and the exit code that fits them all."""
    problems = [what for _, what in results if isinstance(what, BrokerError)]
    if call.out.json:
        call.out.document(
            [
                {"name": name, **error_document(what)}
                if isinstance(what, BrokerError)
                else document(what)
                for name, what in results
            ]
        )
    for problem in problems:
        call.talk.problem(problem)
    codes = {exit_for(problem) for problem in problems}
    return codes.pop() if len(codes) == 1 else Exit.FAILED if codes else Exit.DONE


def _switching(
    switch: Callable[[Service, Machine], Awaitable[Machine]],
) -> Callable[[Call, Namespace], Exit]:
    return lambda call, args: _to_each(call, args, lambda _: switch)


# --- vm stop -----------------------------------------------------------------------------------


def _stop_arguments(parser: Parser) -> None:
    _vms(parser)
    parser.add_argument(
        "--timeout",
        type=seconds_or_zero,
        metavar="TIME",
        help="end it when it has not powered off after this time (vm.stop_timeout)",
    )
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "--wait", dest="wait", action="store_true", default=True, help="until it is off (default)"
    )
    waiting.add_argument(
        "--no-wait", dest="wait", action="store_false", help="only press its power button"
    )


def _stop(call: Call, args: Namespace) -> Exit:
    if not args.wait and args.timeout is not None:
        raise UsageError("--timeout means nothing with --no-wait", fix="Leave out one of the two")

    async def stop(service: Service, machine: Machine) -> Machine:
        name = one_line(machine.name)
        return await service.stop(
            machine.key,
            timeout=args.timeout,
            wait=args.wait,
            tell=lambda text: call.talk.note(f"{name}: {text}"),
        )

    return _to_each(call, args, lambda _: stop)


# --- vm kill -----------------------------------------------------------------------------------


def _kill(call: Call, args: Namespace) -> Exit:
    """Kill them; a database that cannot be used is told of, and holds up nothing."""
    from broker.store.patience import AT_ONCE_SECONDS, within

    try:
        with within(AT_ONCE_SECONDS):
            return _to_each(call, args, lambda _: lambda service, vm: _killed(call, service, vm))
    except StoreError as problem:  # it cannot be opened at all
        _say_unwritten(call, problem)
    results = call.alone(lambda: _by_hand(args.vms))
    if len(results) == 1 and not is_pattern(args.vms[0]):
        return _say_one(call, results)
    if not call.out.json:
        for _, what in results:
            if not isinstance(what, BrokerError):
                say_machine(call, what)
    return _say_all(call, results, jsonable.vm)


async def _killed(call: Call, service: Service, machine: Machine) -> Machine:
    try:
        return await service.kill(machine.key)
    except Unwritten:  # it is off
        raise
    except StoreError as problem:
        ((_, what),) = await _by_hand([machine.key.uuid])
        if isinstance(what, NotFound):  # a hypervisor's
            raise
        if isinstance(what, BrokerError):
            raise what from problem
        _say_unwritten(call, problem)
        return what


async def _by_hand(references: Sequence[str]) -> list[Result]:
    from broker.runtime import emergency

    return await emergency.kill(references)


def _say_unwritten(call: Call, problem: StoreError) -> None:
    call.talk.note(f"killing without the database, which cannot be told of it: {problem.what}")


# --- vm delete ---------------------------------------------------------------------------------


def _delete_arguments(parser: Parser) -> None:
    _vms(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--delete-disks",
        action="store_true",
        help="also the disks in broker's own directory; others are never touched",
    )


def _delete(call: Call, args: Namespace) -> Exit:
    alone = len(args.vms) == 1 and not is_pattern(args.vms[0])

    async def ask(service: Service) -> list[Result]:
        results = [_deletable(*result) for result in await choose(service, args.vms)]
        sure = [what for _, what in results if not isinstance(what, BrokerError)]
        if not sure:
            return results
        if not await _is_sure(call, sure, args):
            return []
        return [await _deleted(service, *result, keep=not args.delete_disks) for result in results]

    results = call.ask(ask)
    if not results:
        call.talk.note("nothing was deleted")
        return Exit.FAILED
    for _, what in results:
        if isinstance(what, BrokerError):
            if alone:
                raise what
            continue
        call.talk.note(f"{what.name} is deleted")
        if alone:
            if call.out.json:
                call.out.document(_gone(what))
            return Exit.DONE
    return _say_all(call, results, _gone)


def _gone(machine: Machine) -> jsonable.Document:
    return {"name": machine.name, "uuid": machine.key.uuid, "deleted": True}


def _deletable(name: str, what: Machine | BrokerError) -> Result:
    if isinstance(what, BrokerError):
        return name, what
    if what.adopted:
        return name, UsageError(
            f"{what.name} was adopted, so there is no definition to delete",
            fix=f"Let it go, and its process be: broker vm forget {quote(what.name)}",
        )
    if what.state in OFF:
        return name, what
    return name, UsageError(
        f"{what.name} is {what.state.value}, so it is not deleted",
        fix=f"Stop it first: broker vm stop {what.name}",
    )


async def _deleted(
    service: Service, name: str, what: Machine | BrokerError, *, keep: bool
) -> Result:
    if isinstance(what, BrokerError):
        return name, what
    try:
        await service.delete(what.key, keep_disks=keep)
    except BrokerError as problem:
        return name, problem
    return name, what


async def _is_sure(call: Call, machines: Sequence[Machine], args: Namespace) -> bool:
    if args.yes:
        return True
    names = ", ".join(one_line(machine.name) for machine in machines)
    if not (is_terminal(sys.stdin) and call.talk.is_terminal):
        raise UsageError(f"Nobody can be asked whether to delete {names}", fix="Say so with --yes")
    disks = " with disks" if args.delete_disks else ""
    answer = await call.talk.asked(f"Delete {names}{disks}? [y/N] ")
    return answer.lower() in ("y", "yes")


START = Verb(_vms, _switching(lambda service, vm: service.start(vm.key)))
STOP = Verb(_stop_arguments, _stop)
KILL = Verb(_vms, _kill)
PAUSE = Verb(_vms, _switching(lambda service, vm: service.pause(vm.key)))
RESUME = Verb(_vms, _switching(lambda service, vm: service.resume(vm.key)))
RESET = Verb(_vms, _switching(lambda service, vm: service.reset(vm.key)))
REBOOT = Verb(
    _machines,
    _switching(lambda service, vm: service.reboot(vm.key)),
    "For machines of hypervisors; a VM of this host has reset, and stop and start.",
)
DELETE = Verb(_delete_arguments, _delete)
