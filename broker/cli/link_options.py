"""The options that take something away from whoever opens a link, alike in every command."""

from __future__ import annotations

import argparse
from argparse import Namespace

from broker.cli.args import Parser, seconds
from broker.errors import UsageError
from broker.model import LinkPolicy, WhenOccupied
from broker.service.consoles import check_network


def add_label(parser: Parser, *, default: str = "") -> None:
    """Whom a link is for; `--label` is its older name."""
    parser.add_argument(
        "--to", "--label", dest="label", default=default, metavar="NAME", help="whom it is for"
    )


def add_policy(parser: Parser) -> None:
    """What a link leaves out."""
    group = parser.add_argument_group("what it allows")
    group.add_argument(
        "--view-only", action="store_true", help="look on; nothing that is done gets there"
    )
    group.add_argument("--no-usb", action="store_true", help="no USB devices of the viewer's host")
    group.add_argument("--no-clipboard", action="store_true", help="no copy and paste, either way")
    group.add_argument(
        "--no-file-transfer", action="store_true", help="no dropped files, no shared folder"
    )
    group.add_argument("--no-audio-in", action="store_true", help="no microphone")


def add_turn(parser: Parser) -> None:
    """How long a session lasts, and whose turn it is."""
    parser.add_argument(
        "--session-ttl",
        type=seconds,
        metavar="TIME",
        help="how long its session lasts at most: 15m, 8h",
    )
    turn = parser.add_mutually_exclusive_group()
    turn.add_argument(
        "--take-over", action="store_true", help="end the session of whoever is there already"
    )
    turn.add_argument(
        "--wait-turn", action="store_true", help="wait until whoever is there has left"
    )


def add_networks(parser: Parser) -> None:
    """Where a link may be used from."""
    parser.add_argument(
        "--from",
        dest="sources_from",
        type=network,
        action="append",
        default=[],
        metavar="CIDR",
        help="only from this network or address; may be repeated",
    )


def network(text: str) -> str:
    """A network or an address, in its usual form."""
    try:
        return check_network(text)
    except UsageError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def policy_of(args: Namespace) -> LinkPolicy:
    """The policy that these options ask for."""
    return LinkPolicy(
        view_only=args.view_only,
        usb=not args.no_usb,
        clipboard=not args.no_clipboard,
        file_transfer=not args.no_file_transfer,
        audio_in=not args.no_audio_in,
        sources_from=tuple(dict.fromkeys(getattr(args, "sources_from", ()))),
        session_ttl=args.session_ttl,
        occupied=_occupied(args),
    )


def _occupied(args: Namespace) -> WhenOccupied:
    if args.take_over:
        return WhenOccupied.TAKE_OVER
    return WhenOccupied.WAIT if args.wait_turn else WhenOccupied.REFUSE
