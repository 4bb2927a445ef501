"""`broker vm edit NAME`: a VM's definition changed by options, by a file, or in an editor."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit, is_terminal
from broker.cli.machine_options import add_machine, disk, machine_fields
from broker.cli.vm import find_vm, say_machine, vm_argument
from broker.editor import editor
from broker.errors import BrokerError, ConfigError, UsageError

if TYPE_CHECKING:
    from broker.model import Machine, MachineKey, MachineSpec
    from broker.service.port import Service


def _arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument("-f", "--file", metavar="YAML", help="take this definition; - for stdin")
    add_machine(parser)


def _run(call: Call, args: Namespace) -> Exit:
    async def present(service: Service) -> tuple[MachineKey, MachineSpec]:
        key = (await find_vm(service, args.vm)).machine.key
        return key, await service.spec(key)

    given = machine_fields(args)  # what is wrong with these is said before anything is asked
    if args.disk:
        given["disks"] = tuple(disk(text) for text in args.disk)
    if args.rest:
        given["extra_args"] = args.rest
    key, spec = call.ask(present)
    wanted = _wanted(call, spec, args.file, given)
    if wanted.uuid != spec.uuid:
        raise UsageError(
            f"{spec.name} has the uuid {spec.uuid}, and keeps it", fix="Leave the uuid out"
        )

    async def change(service: Service) -> Machine:
        if wanted == spec:
            return (await find_vm(service, args.vm)).machine
        return await service.redefine(key, wanted)

    machine = call.ask(change)
    if wanted == spec:
        call.talk.note(f"{spec.name} is defined so already")
    elif machine.pid is not None:
        call.talk.note(f"{spec.name} runs on as it was started; this holds from its next start")
    say_machine(call, machine)
    return Exit.DONE


def _wanted(
    call: Call, spec: MachineSpec, file: str | None, given: Mapping[str, Any]
) -> MachineSpec:
    if file is not None:
        from broker.cli.vm_file import read_spec

        return replace(read_spec(file, known=spec), **given)
    if given:
        return replace(spec, **given)
    if not (is_terminal(sys.stdin) and call.talk.is_terminal):
        raise UsageError(
            f"Nothing is said to be changed of {spec.name}",
            fix=f"Say what: broker vm edit {spec.name} --memory 2G, or name a file with -f",
        )
    return _edited(call, spec)


def _edited(call: Call, spec: MachineSpec) -> MachineSpec:
    """What a person makes of it in an editor; asked again for as long as something is wrong.

    Raises:
        UsageError: There is no editor, or it failed.
        ConfigError: What was written is wrong, and is left at that.
    """
    from broker.vm import schema
    from broker.vm.written import mapping, spec_of

    words = editor()
    with tempfile.TemporaryDirectory(prefix="broker-edit-") as place:
        path = Path(place) / f"{spec.name}.yaml"
        path.touch(mode=0o600)
        path.write_text(schema.render(spec), encoding="utf-8")
        while True:
            if code := subprocess.run([*words, str(path)], check=False).returncode:  # noqa: S603 - the person's own editor
                raise UsageError(
                    f"{words[0]} ended with code {code}, so {spec.name} stays as it was",
                    fix="Set EDITOR to another, or change it with options or -f FILE",
                )
            try:
                written = mapping(path.read_text(encoding="utf-8"), where=spec.name)
                return spec_of(written, where=spec.name, start=Path.cwd(), known=spec)
            except (BrokerError, UnicodeDecodeError) as problem:
                call.talk.note(str(problem))
                if call.talk.ask("Edit it again? [Y/n] ").lower() in ("n", "no"):
                    raise ConfigError(f"{spec.name} stays as it was") from problem


EDIT = Verb(
    _arguments,
    _run,
    "With options, those are changed and all else stays; with --file, that is its definition\n"
    "from now on; with neither, it is opened in your editor (VISUAL, EDITOR). A VM that runs\n"
    "goes on as it was started. --disk names all its disks anew.",
    takes_rest=True,
)
