"""`broker vm snapshot save|load|list|delete`: states of a VM that runs."""

from __future__ import annotations

from argparse import Namespace

from broker.cli import jsonable
from broker.cli.args import Parser, Verb, one_of, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.vm_use import of_guest, vm_argument
from broker.errors import UsageError
from broker.guest import SNAPSHOT_SECONDS, Snapshot
from broker.human import age, size, utc

ACTIONS = ("save", "load", "list", "delete")


def _arguments(parser: Parser) -> None:
    parser.add_argument("action", type=one_of(ACTIONS), metavar="|".join(ACTIONS))
    vm_argument(parser)
    parser.add_argument("tag", nargs="?", metavar="TAG", help="the snapshot's name")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=SNAPSHOT_SECONDS,
        metavar="TIME",
        help="how long QEMU may take (10m); it goes on after that",
    )


def _run(call: Call, args: Namespace) -> Exit:
    if (args.tag is None) != (args.action == "list"):
        needs = "takes no name" if args.action == "list" else "needs the snapshot's name"
        fix = f"Say: broker vm snapshot {args.action} NAME" + ("" if args.tag else " TAG")
        raise UsageError(f"vm snapshot {args.action} {needs}", fix=fix)
    if args.action == "list":
        return _list(call, args)
    if args.action == "save":
        name, made = of_guest(
            call, args.vm, lambda guest: guest.save_snapshot(args.tag, timeout=args.timeout)
        )
        if call.out.json:
            call.out.document(_document(made))
        else:
            call.out.text(f"{name}: {made.tag} is saved ({size(made.memory_bytes)} of memory)")
        return Exit.DONE
    if args.action == "load":
        name, _ = of_guest(
            call, args.vm, lambda guest: guest.load_snapshot(args.tag, timeout=args.timeout)
        )
        done = "loaded"
    else:
        name, _ = of_guest(
            call, args.vm, lambda guest: guest.delete_snapshot(args.tag, timeout=args.timeout)
        )
        done = "deleted"
    if call.out.json:
        call.out.document({"name": name, "tag": args.tag, done: True})
    else:
        call.out.text(f"{name}: {args.tag} is {done}")
    return Exit.DONE


def _list(call: Call, args: Namespace) -> Exit:
    _, found = of_guest(call, args.vm, lambda guest: guest.snapshots())
    if call.out.json:
        call.out.document([_document(one) for one in found])
    elif found:
        call.out.table(("TAG", "SAVED", "RUN", "MEMORY", "DISKS"), [_row(one) for one in found])
    else:
        call.talk.note(f"no snapshots. Make one: broker vm snapshot save {args.vm} TAG")
    return Exit.DONE


def _row(one: Snapshot) -> tuple[str, ...]:
    lack = "" if one.complete else " (cannot be loaded)"
    memory = size(one.memory_bytes) if one.memory_bytes else "none"
    return one.tag, utc(one.saved_at), age(one.run_seconds), memory, ", ".join(one.disks) + lack


def _document(one: Snapshot) -> dict[str, object]:
    return {
        "tag": one.tag,
        "saved_at": jsonable.moment(one.saved_at),
        "run_seconds": one.run_seconds,
        "memory_bytes": one.memory_bytes,
        "disks": list(one.disks),
        "complete": one.complete,
    }


SNAPSHOT = Verb(
    _arguments,
    _run,
    "A snapshot is the guest's memory and its disks, which must be qcow2; it is kept in them.\n"
    "  broker vm snapshot save web-01 before-update\n"
    "  broker vm snapshot load web-01 before-update\n"
    "The guest is held while one is saved or loaded, and goes on afterwards. What it did after a\n"
    "snapshot is lost when that is loaded.",
)
