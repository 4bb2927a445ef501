"""`broker vm scan`, `adopt` and `forget`: QEMUs that somebody else started."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from broker.cli import jsonable
from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.vm import find_vm, no_arguments, vm_argument
from broker.errors import UsageError
from broker.human import one_line

if TYPE_CHECKING:
    from broker.model import CarriedOver, FoundQemu, Machine
    from broker.service.port import Service

_WHOSE = {
    "hand": "nobody's: adopt it",
    "adopted": "adopted",
    "broker": "this broker's",
    "other-broker": "another broker's",
    "libvirt": "libvirt's",
    "proxmox": "Proxmox's",
}


def _scan(call: Call, args: Namespace) -> Exit:
    del args
    found = call.ask(lambda service: service.scan())
    if call.out.json:
        call.out.document([jsonable.found(qemu) for qemu in found])
    elif found:
        call.out.table(
            ("PID", "NAME", "USER", "WHOSE", "MONITOR", "SCREEN"), [_row(qemu) for qemu in found]
        )
    else:
        call.talk.note("no QEMU runs here that is yours")
    return Exit.DONE


def _row(qemu: FoundQemu) -> tuple[str, ...]:
    whose = _WHOSE[qemu.owner]
    if qemu.machine and qemu.machine != qemu.name:
        whose += f", as {qemu.machine}"
    monitor = f"{qemu.monitor} (held)" if qemu.held else qemu.monitor
    return (str(qemu.pid), one_line(qemu.name), qemu.user, whose, monitor, qemu.screen)


# --- vm adopt ----------------------------------------------------------------------------------


def _adopt_arguments(parser: Parser) -> None:
    parser.add_argument("qemu", metavar="PID|NAME", help="its process id, name or uuid")
    parser.add_argument("--name", metavar="NAME", help="what to call it; its own name if left out")
    parser.add_argument(
        "--write",
        metavar="YAML",
        help="also write the definition that its command line makes; - for stdout",
    )


def _adopt(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> tuple[Machine, CarriedOver | None]:
        machine = await service.adopt(args.qemu, name=args.name)
        made = await service.as_definition(machine.key) if args.write else None
        return machine, made

    if args.write == "-" and call.out.json:
        raise UsageError(
            "Both --json and --write - want stdout", fix="Write the definition to a file"
        )
    machine, made = call.ask(ask)
    if made is not None:
        _write(call, args.write, made)
    if call.out.json:
        lost = list(made.lost) if made is not None else []
        call.out.document({**jsonable.vm(machine), "written": args.write, "lost": lost})
        return Exit.DONE
    call.talk.note(f"{one_line(machine.name)} (process {machine.pid}) is adopted")
    if machine.reason:
        call.talk.note(one_line(machine.reason))
    if machine.target is not None:
        call.talk.note(f"its screen: broker open {quote(machine.name)}")
    return Exit.DONE


def _write(call: Call, where: str, made: CarriedOver) -> None:
    from broker.cli.output import write_private
    from broker.vm import schema

    head = "".join(f"# {one_line(line)}\n" for line in made.lost)
    head = f"# Made from a running QEMU. Not carried over:\n{head}" if head else ""
    text = head + schema.render(made.spec)
    if where == "-":
        call.out.exactly(text)
    else:
        write_private(Path(where), text, may_replace=lambda _: False)
        call.talk.note(
            f"{where} is written; once this QEMU has ended: broker vm define -f {quote(where)}"
        )
    for line in made.lost:
        call.talk.note(f"not carried over: {one_line(line)}")


# --- vm forget ---------------------------------------------------------------------------------


def _forget(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Machine:
        machine = (await find_vm(service, args.vm)).machine
        if not machine.adopted:
            raise UsageError(
                f"{machine.name} was not adopted: it is a VM of this broker",
                fix=f"Delete it, when it is off: broker vm delete {quote(machine.name)}",
            )
        await service.forget(machine.key)
        return machine

    machine = call.ask(ask)
    if call.out.json:
        call.out.document({"name": machine.name, "uuid": machine.key.uuid, "forgotten": True})
    else:
        goes_on = f"; process {machine.pid} goes on" if machine.pid else ""
        call.talk.note(f"{one_line(machine.name)} is forgotten{goes_on}")
    return Exit.DONE


def candidates() -> Sequence[tuple[str, str]]:
    """For completion: QEMUs that can be adopted, by name where they have one."""
    from broker.config.locations import Locations
    from broker.vm.scan import Owner, qemus

    return [
        (qemu.line.name or str(qemu.process.pid), f"process {qemu.process.pid}")
        for qemu in qemus(Locations.from_env().runtime_dir)
        if qemu.owner is Owner.HAND
    ]


SCAN = Verb(
    no_arguments,
    _scan,
    "Every QEMU of yours (as root: of everybody), whoever started it, from what the kernel knows:\n"
    "none of them is asked anything. What libvirt or Proxmox looks after is shown and left alone.",
)
ADOPT = Verb(
    _adopt_arguments,
    _adopt,
    "An adopted VM is listed, opened through the proxy, and stopped when you ask for it. It is\n"
    "never started, and never ended unasked: vm stop presses its power button and no more.",
)
FORGET = Verb(vm_argument, _forget, "The process goes on as it was.")
