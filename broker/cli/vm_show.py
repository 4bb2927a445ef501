"""`broker vm show NAME` and `broker vm schema`: how VMs are defined, for people and editors."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.vm import find_vm, no_arguments

if TYPE_CHECKING:
    from broker.model import MachineSpec
    from broker.service.port import Service


def _arguments(parser: Parser) -> None:
    parser.add_argument("vm", metavar="NAME", help="name, source/name or uuid")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--yaml", action="store_true", help="as vm define -f reads it (the default)")
    what.add_argument("--command", action="store_true", help="the command that would start it")


def _show(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> tuple[MachineSpec, Sequence[str]]:
        spec = await service.spec((await find_vm(service, args.vm)).machine.key)
        return spec, await service.command(spec) if args.command else ()

    spec, command = call.ask(ask)
    if args.command:
        print_command(call, spec, command)
        return Exit.DONE
    from broker.vm import schema

    if call.out.json:
        call.out.document(schema.plain(spec))
    else:
        call.out.exactly(schema.render(spec))
    return Exit.DONE


def print_command(call: Call, spec: MachineSpec, command: Sequence[str]) -> None:
    """Print QEMU's command line as a shell takes it, with the variables of its environment."""
    if call.out.json:
        call.out.document({"command": list(command), "env": dict(spec.env)})
        return
    variables = [f"{name}={shlex.quote(value)}" for name, value in spec.env]
    call.out.text(" ".join([*variables, shlex.join(command)]))


def _schema(call: Call, args: Namespace) -> Exit:
    del args
    import json

    from broker.vm import schema

    call.out.exactly(json.dumps(schema.json_schema(), indent=2, ensure_ascii=False) + "\n")
    return Exit.DONE


SHOW = Verb(_arguments, _show)
SCHEMA = Verb(no_arguments, _schema)
