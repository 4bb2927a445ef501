"""`broker sessions` and `broker disconnect`: who is on which screen."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.clock import SystemClock
from broker.human import age, size
from broker.model import Session, SessionId


def _no_arguments(parser: Parser) -> None:
    del parser


def _list(call: Call, args: Namespace) -> Exit:
    del args
    live = call.ask(lambda service: service.sessions())
    if call.out.json:
        call.out.document([jsonable.session(session) for session in live])
    elif live:
        now = SystemClock().now()
        call.out.table(
            ("ID", "CONSOLE", "SOURCE", "CLIENT", "FOR", "CHANNELS", "TO CLIENT", "TO SERVER"),
            [_row(session, now) for session in live],
        )
    else:
        call.talk.note("no live sessions")
    return Exit.DONE


def _row(session: Session, now: datetime) -> tuple[str, ...]:
    return (
        session.id,
        session.console,
        session.key.source,
        session.client,
        age((now - session.started_at).total_seconds()),
        str(len(session.channels)),
        size(session.bytes_to_client),
        size(session.bytes_to_server),
    )


def _session(parser: Parser) -> None:
    parser.add_argument(
        "session", metavar="SESSION", help="its id, or enough of it to be the only one"
    )


def _disconnect(call: Call, args: Namespace) -> Exit:
    call.ask(lambda service: service.disconnect(SessionId(args.session)))
    if call.out.json:
        call.out.document({"session": args.session, "ended": True})
    else:
        call.talk.note(f"session {args.session} is being ended")
    return Exit.DONE


SESSIONS = Verb(_no_arguments, _list)
DISCONNECT = Verb(_session, _disconnect)
