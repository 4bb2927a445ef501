"""`broker sessions` and `broker disconnect`: who is on which screen, and how it does."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli import jsonable, session_view
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.clock import SystemClock
from broker.errors import Ambiguous, NotFound
from broker.human import one_line
from broker.model import Session, SessionId

if TYPE_CHECKING:
    from collections.abc import Sequence


def _which(parser: Parser) -> None:
    parser.add_argument(
        "session",
        nargs="?",
        metavar="SESSION",
        help="tell all of one: its id, or enough of it to be the only one",
    )


def _list(call: Call, args: Namespace) -> Exit:
    live = call.ask(lambda service: service.sessions())
    now = SystemClock().now()
    if args.session is not None:
        live = [_named(live, args.session)]
    if call.out.json:
        call.out.document([jsonable.session(session, now) for session in live])
    elif args.session is not None:
        call.out.facts(session_view.facts(live[0], now))
        call.out.text("")
        call.out.table(
            session_view.CHANNEL_HEADINGS,
            [session_view.channel_row(channel, now) for channel in live[0].channels],
        )
    elif live:
        call.out.table(*session_view.table(live, now, call.out.width))
    else:
        call.talk.note("no live sessions")
    return Exit.DONE


def _named(live: Sequence[Session], prefix: str) -> Session:
    """The one whose id begins so.

    Raises:
        NotFound: None does.
        Ambiguous: Several do.
    """
    found = [one for one in live if prefix and one.id.startswith(prefix.lower())]
    if len(found) > 1:
        raise Ambiguous(
            f"{len(found)} live sessions begin with {one_line(prefix)}",
            candidates=tuple(str(one.id) for one in found),
        )
    if not found:
        raise NotFound(
            f"There is no live session called {one_line(prefix) or 'nothing'}",
            fix="See what there is: broker sessions",
        )
    return found[0]


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


def _said(parser: Parser) -> None:
    _session(parser)
    parser.add_argument("text", metavar="TEXT", nargs="+", help="what to say, in one line")


def _message(call: Call, args: Namespace) -> Exit:
    call.ask(lambda service: service.message(SessionId(args.session), " ".join(args.text)))
    if call.out.json:
        call.out.document({"session": args.session, "sent": True})
    else:
        call.talk.note(f"session {args.session} is being told; most viewers only log it")
    return Exit.DONE


SESSIONS = Verb(
    _which,
    _list,
    "PING is the time from the machine's ping to the viewer's answer, DRAW that from a key to the\n"
    "next drawing; both as median/95th percentile. With --json, an array in either case.",
)
DISCONNECT = Verb(_session, _disconnect)
MESSAGE = Verb(
    _said,
    _message,
    "The proxy sends it as SPICE's NOTIFY. What becomes of it is the viewer's: remote-viewer and\n"
    "virt-viewer write it to their debug log and show nothing; the live view of broker shows\n"
    "it. It is in the audit log once sent.",
)
