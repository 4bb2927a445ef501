"""`broker run IMAGE`: from a file to its screen with one line."""

from __future__ import annotations

import asyncio
import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from broker.cli import commands, jsonable
from broker.cli.args import Parser, Verb, one_of
from broker.cli.call import Call
from broker.cli.demo_guest import demo_spec
from broker.cli.diagnostics import Exit
from broker.cli.export_vv import NOT_OWN, is_own_vv, path_for
from broker.cli.machine_options import add_machine, disk, machine_fields
from broker.cli.open import open_console
from broker.cli.output import write_private
from broker.cli.vm_serial import talk
from broker.cli.vm_show import print_command
from broker.errors import UsageError, ViewerMissing
from broker.model import Disk, DiskBus, MachineId, MachineSpec, State
from broker.owned import owned
from broker.service.port import ExportRequest
from broker.service.viewer import ended
from broker.vm.image_kinds import existing, look_at

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import Service

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
NAME_MAX = 63


def _arguments(parser: Parser) -> None:
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="a disk image or an ISO")
    parser.add_argument("--demo", action="store_true", help="the demo guest that comes with broker")
    parser.add_argument("--name", help="what the VM is called (the file's name)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--export", metavar="FILE", help="write a .vv file instead of opening")
    where.add_argument("--headless", action="store_true", help="open nothing")
    where.add_argument("--open", action="store_true", help="fail when no viewer can be opened")
    where.add_argument(
        "--print-command", action="store_true", help="start nothing; print what would be run"
    )
    parser.add_argument(
        "--serial",
        action="store_true",
        dest="talk",
        help="lead to its serial console in this terminal, instead of opening a viewer",
    )
    parser.add_argument(
        "--rm",
        action="store_true",
        help="stay until the VM ends, then forget it and what it kept; Ctrl+C stops it",
    )
    group = parser.add_argument_group("the disk")
    group.add_argument("--format", metavar="FORMAT", help="its format (asked of qemu-img)")
    group.add_argument(
        "--bus", type=one_of(commands.CHOICES["--bus"]), metavar="WORD", help="its bus (virtio)"
    )
    group.add_argument("--snapshot", action="store_true", help="forget what the guest writes")
    group.add_argument("--read-only", action="store_true", help="do not let the guest write")
    add_machine(parser)


def _run(call: Call, args: Namespace) -> Exit:
    if bool(args.image) == bool(args.demo):
        raise UsageError("Name an image, or --demo", fix="Say: broker run disk.qcow2")

    async def ask(service: Service) -> Exit:
        spec = demo_spec(args.name) if args.demo else image_spec(args)
        if args.talk and not spec.serial:
            raise UsageError("--serial needs the serial port that --no-serial leaves out")
        if args.print_command:
            spec = await _as_defined(service, spec) or spec
            print_command(call, spec, await service.command(spec))
            return Exit.DONE
        if args.rm:
            return await _until_it_ends(call, service, spec, args)
        machine = await started(call, service, spec, keeps=not machine_fields(args))
        await _show(call, service, machine, args)
        if args.talk:
            await talk(call, service, machine)
        return Exit.DONE

    return call.ask(ask)


def image_spec(args: Namespace) -> MachineSpec:
    """The VM that an image and the options ask for.

    Raises:
        UsageError: The image is missing or no image, or the name cannot be one.
    """
    import uuid

    path = existing(args.image)
    image = look_at(path, named=args.format)
    disks = [disk(text) for text in args.disk]
    fields = machine_fields(args) | {"extra_args": args.rest}
    if image.is_iso and not args.format:
        if "cdrom" in fields:
            raise UsageError(
                f"{args.image} is an ISO, and --cdrom names another", fix="Leave one of them out"
            )
        fields["cdrom"] = str(path)
    else:
        boots = Disk(
            path=str(path),
            format=args.format or image.format,
            bus=DiskBus(args.bus or "virtio"),
            readonly=args.read_only,
        )
        disks = [boots, *disks]
    fields["disks"] = tuple(
        replace(each, snapshot=each.snapshot or args.snapshot) for each in disks
    )
    name = args.name or name_for(path)
    return MachineSpec(name=name, uuid=MachineId(str(uuid.uuid4())), **fields)


def name_for(path: Path) -> str:
    """A VM's name from a file's."""
    return _UNFIT.sub("-", path.stem).lstrip("._-")[:NAME_MAX].rstrip("._-") or "vm"


async def started(
    call: Call, service: Service, spec: MachineSpec, *, keeps: bool = True
) -> Machine:
    """The VM, defined when it is not yet, and running.

    Args:
        keeps: No option was given that a VM defined earlier would not have.

    Raises:
        UsageError: A VM of that name has other disks.
        VmStartFailed: QEMU's own words.
    """
    machine = await _defined(service, spec.name)
    if machine is not None:
        before = await service.spec(machine.key)
        if not _same_drives(before, spec):
            raise UsageError(
                f"There is a VM called {spec.name} already, with other disks",
                fix=f"Give another name with --name, or start it: broker vm start {spec.name}",
            )
        if not keeps or before.extra_args != spec.extra_args:
            call.talk.note(
                f"{spec.name} is defined already and stays as it is;"
                f" to change it: broker vm edit {spec.name}"
            )
    else:
        machine = await service.define(spec)
    if machine.state is State.RUNNING:
        return machine
    return await service.start(machine.key)


async def _defined(service: Service, name: str) -> Machine | None:
    for info in await service.consoles():
        if info.machine.defined and info.machine.name == name:
            return info.machine
    return None


async def _as_defined(service: Service, spec: MachineSpec) -> MachineSpec | None:
    """The VM of that name as it was defined earlier; with its drives it is the same VM."""
    machine = await _defined(service, spec.name)
    before = None if machine is None else await service.spec(machine.key)
    return before if before is not None and _same_drives(before, spec) else None


def _same_drives(before: MachineSpec, now: MachineSpec) -> bool:
    """Whether both name the same images; a disk that was made had no path at first."""
    if before.cdrom != now.cdrom or len(before.disks) != len(now.disks):
        return False
    pairs = zip(before.disks, now.disks, strict=True)
    return all(ours == (its if its.path else replace(its, path=ours.path)) for ours, its in pairs)


async def _until_it_ends(call: Call, service: Service, spec: MachineSpec, args: Namespace) -> Exit:
    """Run a VM of the moment: it is forgotten when it has ended, with what it kept.

    Raises:
        UsageError: A VM of that name is there; it is not ours to forget.
    """
    if await _defined(service, spec.name) is not None:
        raise UsageError(
            f"There is a VM called {spec.name} already, and --rm would forget it",
            fix="Give another name with --name",
        )
    machine = await service.define(spec)
    try:
        machine = await service.start(machine.key)
        await _show(call, service, machine, args)
        if args.talk:
            await talk(call, service, machine)
        elif machine.pid is not None:
            call.talk.note(f"{machine.name} is forgotten when it ends; Ctrl+C stops it")
            await ended(machine.pid)
        return Exit.DONE
    finally:
        # In a task of its own: what was interrupted is still to be put away.
        await asyncio.shield(owned(_forget(service, machine), name="forget"))


async def _forget(service: Service, machine: Machine) -> None:
    await service.stop(machine.key)
    await service.delete(machine.key, keep_disks=False)


async def _show(call: Call, service: Service, machine: Machine, args: Namespace) -> None:
    if args.export:
        made = await service.export_vv(machine.key, ExportRequest())
        for note in made.notes:
            call.talk.note(note)
        if args.export == "-":
            call.out.exactly(made.text)
            return
        path = path_for(args.export, made.name)
        write_private(path, made.text, may_replace=is_own_vv, refusal=NOT_OWN)
        if not call.out.json:
            call.talk.note(f"{machine.name} is running; its console: {path}")
    if call.out.json and not args.talk:  # which has a document of its own
        call.out.document(jsonable.vm(machine))
    elif not args.export:
        call.talk.note(f"{machine.name} is running (process {machine.pid})")
    if args.headless or args.export or (args.talk and not args.open):
        return
    try:
        await open_console(call, service, machine)
    except ViewerMissing as exc:
        if args.open:
            raise
        call.talk.note(f"{exc}")


RUN = Verb(
    _arguments,
    _run,
    "What follows -- goes to QEMU as it is: broker run disk.qcow2 -m 2G -- -device virtio-rng-pci\n"
    "The VM stays defined: broker vm list. To try an image without changing it: --snapshot.\n"
    "To forget the VM when it ends: --rm; with --serial, when its console is left.",
    takes_rest=True,
)
