"""`broker vm screenshot`, `vm keys` and `vm type`: a VM's screen and keyboard, without a viewer."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from broker.cli.args import Parser, Verb, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, is_terminal
from broker.cli.output import may_write, write_new, write_private
from broker.cli.vm_use import of_guest, vm_argument
from broker.clock import SystemClock
from broker.errors import UsageError
from broker.guest import PACE_SECONDS
from broker.png import SIGNATURE

_UNFIT: Final = re.compile(r"[^\w.+-]+", re.ASCII)
_REFUSAL: Final = "exists and is not a PNG picture; --force replaces it"


# --- vm screenshot -----------------------------------------------------------------------------


def _screenshot_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the PNG file; `-` is stdout (NAME-DATE-TIME.png)"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a file that is not a PNG picture"
    )


def _screenshot(call: Call, args: Namespace) -> Exit:
    to_stdout = args.output == "-"
    if to_stdout and call.out.json:
        raise UsageError(
            "--json and -o - both want stdout", fix="Name a file with -o FILE, or leave out --json"
        )
    if to_stdout and call.out.is_terminal:
        raise UsageError("A picture is not for a terminal", fix="Send it on: … -o - > FILE.png")
    may_replace = (lambda _: True) if args.force else _is_picture
    if args.output and not to_stdout:
        may_write(Path(args.output), may_replace, _REFUSAL)  # before the guest is bothered
    name, shot = of_guest(call, args.vm, lambda guest: guest.screenshot())
    if to_stdout:
        call.out.raw(shot.png)
        return Exit.DONE
    if args.output:
        path = Path(args.output)
        write_private(path, shot.png, may_replace=may_replace, refusal=_REFUSAL)
    else:
        path = write_new(_path_for(name), shot.png)
    if call.out.json:
        size = {"width": shot.width, "height": shot.height}
        call.out.document({"name": name, "path": str(path), **size})
    else:
        call.out.text(str(path))
    return Exit.DONE


def _path_for(name: str) -> Path:
    """NAME-DATE-TIME.png in the current directory, in UTC; of a name only harmless characters."""
    stem = _UNFIT.sub("_", name).lstrip(".-_")[:100] or "screen"
    return Path(f"{stem}-{SystemClock().now():%Y%m%d-%H%M%S}.png")


def _is_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) in (SIGNATURE, b"")
    except OSError:
        return False


# --- vm keys -----------------------------------------------------------------------------------


def _pace_argument(parser: Parser) -> None:
    parser.add_argument(
        "--pace",
        type=seconds,
        default=PACE_SECONDS,
        metavar="TIME",
        help=f"between one key and the next; more for a slow guest ({PACE_SECONDS:g}s)",
    )


def _keys_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument(
        "keys", nargs="+", metavar="KEYS", help="keys pressed together: ctrl-alt-delete, f2, enter"
    )
    _pace_argument(parser)


def _keys(call: Call, args: Namespace) -> Exit:
    name, _ = of_guest(call, args.vm, lambda guest: guest.press(args.keys, pace=args.pace))
    if call.out.json:
        call.out.document({"name": name, "keys": args.keys})
    return Exit.DONE


# --- vm type -----------------------------------------------------------------------------------


def _type_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("text", metavar="TEXT", help="what to type; `-` reads it from stdin")
    parser.add_argument(
        "--layout",
        default="us",
        metavar="LAYOUT",
        help="of the guest's keyboard: us, uk, de, … (us)",
    )
    parser.add_argument("--enter", action="store_true", help="press Enter at the end")
    _pace_argument(parser)


def _type(call: Call, args: Namespace) -> Exit:
    secret = args.text == "-"
    text = (_from_stdin(call) if secret else args.text) + ("\n" if args.enter else "")
    name, _ = of_guest(
        call,
        args.vm,
        lambda guest: guest.type(text, layout=args.layout, pace=args.pace, secret=secret),
    )
    if call.out.json:
        call.out.document({"name": name, "characters": len(text), "layout": args.layout})
    return Exit.DONE


def _from_stdin(call: Call) -> str:
    """All of stdin; somebody at a terminal is asked for one line, which is not shown.

    Raises:
        UsageError: It is closed, or no text.
    """
    if sys.stdin is None:
        raise UsageError("stdin is closed", fix="Send the text into it, or give it as an argument")
    if is_terminal(sys.stdin) and call.talk.is_terminal:
        import getpass

        return getpass.getpass("Text (not shown): ")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as exc:
        raise UsageError("What comes from stdin is not UTF-8 text") from exc


SCREENSHOT = Verb(_screenshot_arguments, _screenshot)
KEYS = Verb(
    _keys_arguments,
    _keys,
    "Keys have the names of a US keyboard: ctrl, alt, shift, win, f1, enter, delete, a, minus.\n"
    "  broker vm keys web-01 ctrl-alt-delete\n"
    "  broker vm keys web-01 alt-f4 enter",
)
TYPE = Verb(
    _type_arguments,
    _type,
    "Keys are pressed, so the guest's keyboard layout must be known; a text with a character that\n"
    "is not on it is refused whole. A secret is better not given as an argument:\n"
    "  pass show vm | broker vm type web-01 - --layout de",
)
