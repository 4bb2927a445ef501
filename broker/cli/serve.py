"""`broker serve`: the proxy, in the foreground."""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import TYPE_CHECKING

from broker import logs
from broker.cli import jsonable
from broker.cli.args import Parser, Verb, port_or_any
from broker.cli.call import Call
from broker.cli.diagnostics import Exit

if TYPE_CHECKING:
    from broker.model import ProxyStatus


def _arguments(parser: Parser) -> None:
    parser.add_argument("--listen", metavar="ADDRESS", help="address to listen on (proxy.listen)")
    parser.add_argument(
        "--tls-port",
        type=port_or_any,
        metavar="PORT",
        help="port viewers come in on (proxy.tls_port); 0 takes a free one",
    )


def _run(call: Call, args: Namespace) -> Exit:
    import asyncio

    from broker import runtime

    def ready(status: ProxyStatus) -> None:
        if call.out.json:
            call.out.document(jsonable.proxy(status))
        else:
            call.talk.note(f"serving on {status.host}:{status.tls_port}")

    logs.configure(
        call.verbose,
        form=call.log_format,
        minimum=logging.WARNING if call.talk.quiet else logging.INFO,
        dated=True,  # as the workers' lines are, among which these stand
    )
    asyncio.run(
        runtime.serve(
            listen=args.listen,
            tls_port=args.tls_port,
            log_format=call.log_format,
            ready=ready,
        )
    )
    return Exit.DONE


SERVE = Verb(
    _arguments,
    _run,
    "SIGTERM or Ctrl+C: nobody new is let in, and sessions go on for proxy.drain_grace; a second\n"
    "one ends them at once, in the order that is safe for their VMs. SIGHUP: the certificate is\n"
    "made anew where that is due, and nobody is dropped. With --json, one document says where it\n"
    "serves once it does.",
)
