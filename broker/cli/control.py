"""`broker control`: a console without a window, driven over a unix socket by another program."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli import headless
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.errors import Unreachable
from broker.headless import control, typist
from broker.headless.control_socket import see_that_it_can_be
from broker.headless.session import Session

if TYPE_CHECKING:
    from broker.service.port import Service

LABEL = "control"


def _arguments(parser: Parser) -> None:
    headless.add_console_or_file(parser)
    parser.add_argument("--socket", required=True, metavar="PATH", help="where to listen")


def _run(call: Call, args: Namespace) -> Exit:
    headless.check_which(args)
    path = Path(args.socket)
    see_that_it_can_be(path)  # before a token is spent on it
    if args.file:
        file = headless.read_file(args.file)

        async def by_file() -> Exit:
            async with headless.by_file(file) as session:
                await _serve(call, session, path)
            return Exit.DONE

        return call.alone(by_file)

    async def ask(service: Service) -> Exit:
        machine = (await service.find(args.console)).machine
        await headless.see_that_it_runs(service, machine, take_over=args.take_over)
        async with headless.proxy_served(service):
            viewing = headless.proxied(service, machine, LABEL, take_over=args.take_over)
            async with viewing as session:
                await _serve(call, session, path)
        return Exit.DONE

    return call.ask(ask)


async def _serve(call: Call, session: Session, path: Path) -> None:
    """Serve until the session ends, which is no fault of ours.

    Raises:
        Unreachable: It ended.
    """
    async with control.serving(session, path, typist.keys_for):
        if call.out.json:
            call.out.line({"socket": str(path), "channels": len(session.offered)})
        else:
            call.talk.note(f"listening on {path}")
        try:
            why = await asyncio.shield(session.ended)
        finally:
            headless.tell_of_undrawn(call, session)
    raise Unreachable(f"The session has ended ({why})")


CONTROL = Verb(
    _arguments,
    _run,
    "It opens the console as a viewer would and shows nothing. Another program connects to the\n"
    "socket, one at a time, and speaks ryll's control protocol 1.2: one JSON object a line, for\n"
    "keys, text, pictures, and events when something is drawn. It ends with the session.",
)
