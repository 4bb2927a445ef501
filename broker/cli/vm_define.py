"""`broker vm define NAME`: a local VM from options, or from a file with `-f`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.machine_options import add_machine, disk, machine_fields
from broker.cli.vm import say_machine
from broker.errors import UsageError
from broker.model import MachineId, MachineSpec


def _arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="what it is called")
    parser.add_argument("-f", "--file", metavar="YAML", help="read the definition; - for stdin")
    add_machine(parser)


def _run(call: Call, args: Namespace) -> Exit:
    spec = _spec(args)
    say_machine(call, call.ask(lambda service: service.define(spec)))
    return Exit.DONE


def _spec(args: Namespace) -> MachineSpec:
    import uuid

    if args.file is None and args.name is None:
        raise UsageError("A VM needs a name", fix="Say: broker vm define NAME --disk IMAGE")
    fields = machine_fields(args) | {"extra_args": args.rest}
    if args.disk:
        fields["disks"] = tuple(disk(text) for text in args.disk)
    if args.file is None:
        return MachineSpec(name=args.name, uuid=MachineId(str(uuid.uuid4())), **fields)
    from broker.cli.vm_file import read_spec

    given = {key: value for key, value in fields.items() if value != ()}
    if args.name:
        given["name"] = args.name
    return replace(read_spec(args.file, name=args.name), **given)


DEFINE = Verb(
    _arguments,
    _run,
    "What follows -- goes to QEMU as it is. In a file stand the same words: name, memory, cpus,\n"
    "disks (a list of paths, or of path, format, bus, size, backing, …), cdrom, …\n"
    "All of them, for your editor: broker vm schema > vm.schema.json",
    takes_rest=True,
)
