"""`broker status`: whether a proxy is serving on this host."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, seconds_or_zero
from broker.cli.call import Call
from broker.cli.diagnostics import Exit

if TYPE_CHECKING:
    from broker.model import ProxyStatus

_PAUSE_SECONDS = 0.1


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--wait",
        type=seconds_or_zero,
        default=0.0,
        metavar="TIME",
        help="wait this long for a proxy to serve",
    )


def _run(call: Call, args: Namespace) -> Exit:
    until = time.monotonic() + args.wait
    status = call.proxy_status()
    while not _lets_in(status) and time.monotonic() < until:
        time.sleep(_PAUSE_SECONDS)
        status = call.proxy_status()
    if call.out.json:
        call.out.document(jsonable.proxy(status))
    elif status.serving:
        call.out.text(f"serving on {status.host}:{status.tls_port} (process {status.pid})")
        if status.draining:
            call.talk.note("it is being stopped: sessions go on for a while, nobody new is let in")
    else:
        call.out.text("not serving")
        call.talk.note("no proxy is serving here. Start one: broker serve")
    return Exit.DONE if _lets_in(status) else Exit.UNREACHABLE


def _lets_in(status: ProxyStatus) -> bool:
    return status.serving and not status.draining


STATUS = Verb(
    _arguments,
    _run,
    "Exits 0 when a proxy lets viewers in and 4 when none does, so that a script can say:\n"
    "  broker serve & broker status --wait 10",
)
