"""`broker events`: what happened, and with `--follow` what happens."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, count, count_or_zero
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.human import one_line, utc
from broker.logs import beside

if TYPE_CHECKING:
    from broker.events import Event
    from broker.service.port import Service

_ALL = 2**63 - 1
"""Of what came since the last look none is left out, however much it was."""


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "-n", "--limit", type=count, default=200, metavar="N", help="the newest N (200)"
    )
    parser.add_argument(
        "--after", type=count_or_zero, default=0, metavar="ID", help="only events with a higher id"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as things happen")


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Exit:
        events = await service.events(limit=args.limit, after=args.after)
        if call.out.json and not args.follow:
            call.out.document([jsonable.event(event) for event in events])
            return Exit.DONE
        last = _print(call, events, args.after)
        if args.follow:
            async for _ in service.changes():
                last = _print(call, await service.events(limit=_ALL, after=last), last)
        return Exit.DONE

    return call.ask(ask)


def _print(call: Call, events: Iterable[Event], last: int) -> int:
    """Print events one a line; the id of the newest."""
    for event in events:
        if call.out.json:
            call.out.line(jsonable.event(event))
        else:
            call.out.text(_line(event))
        last = max(last, event.id)
    return last


def _line(event: Event) -> str:
    """Its text, and behind it what else is known: a refusal's text seldom says whose it was."""
    known = {
        "session": event.session or "",
        "client": event.client,
        "console": event.console,
        "label": event.label,
        "reason": event.reason,
    }
    told = beside(event.text, known)
    line = f"{utc(event.at)}  {event.kind.value:<16}  {event.text}"
    return one_line(f"{line} {told}" if told else line)


EVENTS = Verb(
    _arguments,
    _run,
    "With --json an array, and with --follow --json one object a line, until it is interrupted.",
)
