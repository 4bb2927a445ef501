"""`broker vm monitor`: QEMU's own monitor, shared with every other broker.

Each line is a conversation of its own, so nobody else's question waits while a person thinks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from broker.cli.args import Parser, Verb, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, is_terminal
from broker.cli.monitor_line import Asked, parse
from broker.cli.vm_use import of_guest, vm_argument
from broker.errors import BrokerError, UsageError
from broker.human import one_line

if TYPE_CHECKING:
    from broker.guest import Guest

ANSWER_SECONDS: Final = 30.0
_ENDS_THE_VM: Final = frozenset({"q", "quit", "exit"})
"""What people type to leave a prompt; to QEMU the first two mean: end."""
_NO_SUCH: Final = ("unknown command:", "Error:")
"""How the monitor for people begins to say that something failed; there is no other sign."""


def _arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND", help="one command; without it, a prompt or stdin"
    )
    parser.add_argument(
        "--qmp", action="store_true", help="speak QMP: COMMAND KEY=VALUE …, or a JSON object"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=ANSWER_SECONDS,
        metavar="TIME",
        help=f"how long QEMU has for an answer ({ANSWER_SECONDS:g}s)",
    )


def _run(call: Call, args: Namespace) -> Exit:
    name, guest = of_guest(call, args.vm, _itself)
    asking = Asking(call, name, guest, qmp=args.qmp, timeout=args.timeout)
    if args.command:
        asking.put(" ".join(args.command))
    elif is_terminal(sys.stdin) and is_terminal(sys.stdout) and not call.out.json:
        _prompt(call, asking)
    else:
        for line in _lines():
            asking.put(line)
    return Exit.DONE


async def _itself(guest: Guest) -> Guest:
    """The guest, to be asked later: it holds nothing open."""
    return guest


def _lines() -> Iterable[str]:
    """The lines of stdin that say something; `#` begins a comment."""
    if sys.stdin is None:
        raise UsageError(
            "stdin is closed", fix="Give a command: broker vm monitor NAME info status"
        )
    return (line for line in sys.stdin if line.strip() and not line.lstrip().startswith("#"))


class Asking:
    """One line after the other put to one VM's monitor."""

    def __init__(self, call: Call, name: str, guest: Guest, *, qmp: bool, timeout: float) -> None:
        self._call = call
        self.name = name
        self._guest = guest
        self.qmp = qmp
        self._timeout = timeout

    def put(self, line: str) -> None:
        """Ask, and print the answer.

        Raises:
            UsageError: The line is not a command.
            BrokerError: QEMU's answer was an error, or none came.
        """
        asked = parse(line, qmp=self.qmp)
        answer = self._answer(asked)
        out = self._call.out
        if isinstance(asked, str):
            text = str(answer)
            if text.startswith(_NO_SUCH):
                raise BrokerError(f"{self.name}: QEMU says: {text.strip()}")
            if out.json:
                out.line({"command": asked, "output": text})
            elif text:
                out.exactly(_readable(text) if out.is_terminal else text)
        elif out.json:
            out.line({"command": asked[0], "return": answer})
        else:
            out.text(json.dumps(answer, indent=2, ensure_ascii=False))

    def words(self) -> list[str]:
        """The commands there are, for completion; none when QEMU will not say."""
        try:
            if not self.qmp:
                text = str(self._answer("help"))
                heads = (line.split(" -- ")[0].split("[")[0].split() for line in text.splitlines())
                return sorted({head[0].split("|")[0] for head in heads if head})
            answer = self._answer(("query-commands", {}))
        except BrokerError:
            return []
        rows = answer if isinstance(answer, list) else []
        return sorted(str(row.get("name")) for row in rows if isinstance(row, dict))

    def _answer(self, asked: Asked) -> object:
        if isinstance(asked, str):
            return asyncio.run(_awaited(self._guest.hmp(asked, timeout=self._timeout)))
        command, arguments = asked
        return asyncio.run(_awaited(self._guest.qmp(command, arguments, timeout=self._timeout)))


async def _awaited(answer: object) -> object:
    return await answer  # type: ignore[misc]  # a coroutine; `run` wants one of ours


def _readable(text: str) -> str:
    return "".join(f"{one_line(line)}\n" for line in text.splitlines())


def _prompt(call: Call, asking: Asking) -> None:
    """Ask a person for lines until Ctrl-D."""
    from broker.cli.prompt import Prompt

    tongue = "qmp" if asking.qmp else "hmp"
    call.talk.note(f"QEMU's monitor of {asking.name}; Ctrl-D leaves, Tab completes")
    with Prompt(f"{asking.name} ({tongue})> ", asking.words) as prompt:
        while (line := prompt.line()) is not None:
            if line.strip() in _ENDS_THE_VM:
                end = f"to end the VM: broker vm kill {asking.name}"
                call.talk.note(f"that would end the VM and was not sent. Ctrl-D leaves; {end}")
            elif line.strip():
                _told(call, asking.put, line)


def _told(call: Call, put: Callable[[str], None], line: str) -> None:
    """A line of a person's: what goes wrong with it is said, and the prompt comes again."""
    try:
        put(line)
    except BrokerError as problem:
        call.talk.problem(problem)
    except KeyboardInterrupt:
        call.talk.note("not waited for; QEMU may still do it")


MONITOR = Verb(
    _arguments,
    _run,
    "The monitor for people (HMP), or with --qmp the one for programs; a line that begins with {\n"
    "is QMP in both. Others may ask at the same time.\n"
    "  broker vm monitor web-01\n"
    "  broker vm monitor web-01 info block\n"
    "  broker vm monitor web-01 --qmp query-block --json\n"
    "  broker vm monitor web-01 --qmp balloon value=268435456",
)
