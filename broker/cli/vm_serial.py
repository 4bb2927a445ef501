"""`broker vm serial`: the guest's serial console, for people and for scripts."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb, count_or_zero, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, is_terminal
from broker.cli.vm_use import vm_argument
from broker.errors import Unreachable

if TYPE_CHECKING:
    from broker.guest import SerialLine
    from broker.model import Machine
    from broker.service.port import Service

HISTORY_LINES = 500
PLAIN = Namespace(no_input=False, until=None, timeout=None, history=None, after=None)
"""No option given."""


def _pattern(text: str) -> re.Pattern[bytes]:
    """A regular expression over the bytes of the line; `^` and `$` are those of lines."""
    try:
        return re.compile(os.fsencode(text), re.MULTILINE)
    except re.error as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {exc}") from exc


def _arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("--no-input", action="store_true", help="look on, type nothing")
    parser.add_argument(
        "--until", type=_pattern, metavar="REGEX", help="end when the guest has said this"
    )
    parser.add_argument("--timeout", type=seconds, metavar="TIME", help="end after this time")
    parser.add_argument(
        "--history",
        type=count_or_zero,
        metavar="LINES",
        help=f"begin that many lines back ({HISTORY_LINES} on a terminal)",
    )
    parser.add_argument(
        "--after", type=count_or_zero, metavar="POSITION", help="begin where another call ended"
    )


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> None:
        from broker.cli.vm import find_vm

        await talk(call, service, (await find_vm(service, args.vm)).machine, args)

    call.ask(ask)
    return Exit.DONE


async def talk(call: Call, service: Service, machine: Machine, args: Namespace = PLAIN) -> None:
    """Lead to a VM's serial console, until one side leaves.

    Raises:
        Unreachable: The VM is off, or did not say in time what was awaited.
        BrokerError: Whatever else the line has to say.
    """
    line = (await service.guest(machine.key)).serial()
    if not line.alive():
        name = machine.name
        fix = f"Start it: broker vm start {name}; what it said: broker vm log {name} --serial"
        raise Unreachable(f"{name} is off", fix=fix)
    at_terminal = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    if at_terminal and not (args.until or args.timeout or call.out.json):
        await _for_person(call, args, line, machine.name)
    else:
        await _for_script(call, args, line, machine.name)


async def _for_person(call: Call, args: Namespace, line: SerialLine, name: str) -> None:
    from broker.cli.serial_bridge import bridge

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, task.cancel)
    history = HISTORY_LINES if args.history is None else args.history
    leave = "Ctrl-] leaves" if not args.no_input else "looking on; Ctrl-] or q leaves"
    call.talk.note(f"the serial console of {name}. {leave}")
    ended = await bridge(line, typing=not args.no_input, history=history)
    call.talk.note(f"{name} has ended" if ended else f"left the serial console of {name}")


async def _for_script(call: Call, args: Namespace, line: SerialLine, name: str) -> None:
    from broker.cli.serial_pipe import Wish, converse

    takes_input = not args.no_input and sys.stdin is not None and not is_terminal(sys.stdin)
    said: list[bytes] = []
    wish = Wish(_begin(args, line, takes_input), args.until, args.timeout, takes_input)
    heard = await converse(line, name, wish, said.append if call.out.json else call.out.raw)
    if call.out.json:
        match = heard.match
        call.out.document(
            {
                "name": name,
                "position": heard.position,
                "text": _text(b"".join(said)),
                "matched": None if match is None else _text(match[0]),
                "groups": [] if match is None else [_text(group) for group in match.groups(b"")],
            }
        )


def _begin(args: Namespace, line: SerialLine, takes_input: bool) -> int:
    """Where to begin: where it was said, else now for an answer to input, else at the beginning."""
    if args.after is not None:
        return int(args.after)
    if args.history is not None:
        return line.lines_back(args.history)
    return line.end() if takes_input else 0


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


SERIAL = Verb(
    _arguments,
    _run,
    "On a terminal: keys go to the guest, Ctrl-] leaves. One may type at a time, all may look on.\n"
    "In a pipe: stdin goes to the guest, what it says to stdout:\n"
    "  broker vm serial web-01 --no-input --until 'login: $' --timeout 2m\n"
    "  printf 'root\\n' | broker vm serial web-01 --until 'assword: $' --timeout 10s\n"
    "Exit code 0 when it was said, 4 when not in time, 1 when the VM ended first.",
)
