"""`broker export-vv NAME`: a .vv file that opens a console in a viewer.

The file holds a secret: it is written 0600, or to stdout on request.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli import commands, jsonable
from broker.cli.args import Parser, Verb, host, one_of, seconds
from broker.cli.call import Call, Quick
from broker.cli.diagnostics import Exit
from broker.cli.link_options import add_label, add_networks, add_policy, add_turn, policy_of
from broker.cli.output import may_write, write_private
from broker.cli.show import add_console
from broker.errors import UsageError
from broker.service.port import Exported, ExportRequest
from broker.typed_path import is_directory

if TYPE_CHECKING:
    from broker.service.port import Service

_MAGIC = b"[virt-viewer]"
NOT_OWN = "exists and is not a .vv file of yours"
_REFUSAL = f"{NOT_OWN}; --force replaces it"
_UNFIT = re.compile(r"[^\w.+@=-]+")


def _arguments(parser: Parser) -> None:
    add_console(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file to write, - for stdout (NAME.vv)"
    )
    parser.add_argument(
        "--profile",
        type=one_of(commands.CHOICES["--profile"]),
        default="remote-viewer",
        metavar="PROFILE",
        help="the viewer it is for: remote-viewer, ryll or minimal",
    )
    parser.add_argument(
        "--ttl", type=seconds, metavar="TIME", help="how long the file opens a session: 15m, 8h"
    )
    parser.add_argument(
        "--host", type=host, help="the host that the file names, instead of public_host"
    )
    add_label(parser)
    add_networks(parser)
    parser.add_argument(
        "--once", action="store_true", help="good for one session, as every file is"
    )
    add_policy(parser)
    add_turn(parser)
    parser.add_argument(
        "--direct",
        action="store_true",
        help="point at the hypervisor with its real ticket, not at the proxy",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a file that is not a .vv file of yours"
    )


def _run(call: Call, args: Namespace) -> Exit:
    to_stdout = args.output == "-"
    if to_stdout and call.out.json:
        raise UsageError(
            "--json and -o - both want stdout", fix="Name a file with -o FILE, or leave out --json"
        )
    request = ExportRequest(
        profile=args.profile,
        ttl=args.ttl,
        host=args.host,
        label=args.label,
        direct=args.direct,
        elsewhere=to_stdout and args.host is None and is_remote_shell(),
        policy=policy_of(args),
    )
    may_replace = (lambda _: True) if args.force else is_own_vv

    def check(name: str) -> None:
        """Look whether the file can be written, before a token is spent on it."""
        if not to_stdout:
            may_write(path_for(args.output, name), may_replace, _REFUSAL)

    made = export(call, args.console, request, check)
    for note in made.notes:
        call.talk.note(note)
    if to_stdout:
        call.out.exactly(made.text)
        return Exit.DONE
    path = path_for(args.output, made.name)
    write_private(path, made.text, may_replace=may_replace, refusal=_REFUSAL)
    if call.out.json:
        call.out.document(jsonable.exported(made, str(path)))
    else:
        call.out.text(str(path))
    return Exit.DONE


def export(
    call: Call, reference: str, request: ExportRequest, check: Callable[[str], None]
) -> Exported:
    """A .vv file for the console of that name; a direct one needs the full service.

    Args:
        check: Called with the console's name before the token is made; it may raise.

    Raises:
        NotFound: Nothing is called so, or (Ambiguous) several things are.
        UsageError: The file cannot be made so.
        NoConsole: There is nothing that a file could point at.
    """

    async def ask(service: Service) -> Exported:
        machine = (await service.find(reference)).machine
        check(machine.name)
        return await service.export_vv(machine.key, request)

    def ask_quickly(quick: Quick) -> Exported:
        machine = quick.find(reference).machine
        check(machine.name)
        return quick.export_vv(machine.key, request)

    return call.ask(ask) if request.direct else call.quickly(ask_quickly, ask)


def is_remote_shell(environ: Callable[[str], str | None] = os.environ.get) -> bool:
    """Whether somebody is logged in from elsewhere: what goes to stdout is meant for there."""
    return bool(environ("SSH_CONNECTION"))


def path_for(output: str | None, name: str) -> Path:
    """The file to write: what was named, or NAME.vv in a named or the current directory.

    A machine's name comes from elsewhere, so only harmless characters of it are kept.
    """
    if output and not output.endswith("/") and not is_directory(Path(output)):
        return Path(output)  # what ends in a slash was meant as a directory, though none is there
    stem = _UNFIT.sub("_", name).lstrip(".-_")[:100] or "console"
    return Path(output or "") / f"{stem}.vv"


def is_own_vv(path: Path) -> bool:
    """Whether a file is a .vv file of ours, so that writing a fresh one loses nothing."""
    try:
        with path.open("rb") as file:
            return path.stat().st_uid == os.geteuid() and file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


EXPORT = Verb(
    _arguments,
    _run,
    "A file opens one session, within its time to live.\n"
    "To open a console of this host from another machine:\n"
    "  ssh HOST broker export-vv NAME -o - | remote-viewer -",
)
