"""`broker revoke NAME`: files that are under way open nothing any more."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.errors import UsageError

if TYPE_CHECKING:
    from broker.service.port import Service


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "console", nargs="?", metavar="NAME", help="name, source/name or uuid of a console"
    )
    parser.add_argument("--all", action="store_true", help="the files of all consoles")


def _run(call: Call, args: Namespace) -> Exit:
    if args.all == bool(args.console):
        raise UsageError(
            "Which files are meant is not clear", fix="Name a console, or say --all; not both"
        )

    async def ask(service: Service) -> int:
        key = (await service.find(args.console)).machine.key if args.console else None
        return await service.revoke(key)

    revoked = call.ask(ask)
    if call.out.json:
        call.out.document({"revoked": revoked})
    else:
        files = "1 file opens" if revoked == 1 else f"{revoked} files open"
        call.talk.note(f"{files} nothing any more")
    return Exit.DONE


REVOKE = Verb(
    _arguments,
    _run,
    "Sessions that were opened already go on; to end one: broker disconnect SESSION",
)
