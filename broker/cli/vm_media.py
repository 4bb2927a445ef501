"""`broker vm media` and `broker vm link`: what is in a VM's drives, and its network cable."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from broker.cli.args import Parser, Verb, one_of
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.vm_use import of_guest, vm_argument
from broker.errors import UsageError
from broker.guest import Drive

ACTIONS = ("insert", "eject")
LINKS = ("up", "down")


def _media_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument(
        "action",
        nargs="?",
        type=one_of(ACTIONS),
        metavar="insert|eject",
        help="without it, what is in the drives",
    )
    parser.add_argument("image", nargs="?", metavar="FILE", help="the image to insert")
    parser.add_argument("--drive", default="", metavar="ID", help="which one, of several")
    parser.add_argument(
        "--force", action="store_true", help="even if the guest holds the tray shut"
    )


def _media(call: Call, args: Namespace) -> Exit:
    if (args.action == "insert") != (args.image is not None):
        raise UsageError(
            "Inserting takes the file of an image, and nothing else does",
            fix=f"Say: broker vm media {args.vm} insert FILE",
        )
    if args.action is None:
        _, drives = of_guest(call, args.vm, lambda guest: guest.drives())
        _show_all(call, drives)
        return Exit.DONE
    if args.action == "insert":
        image = str(Path(args.image).absolute())
        _, drive = of_guest(
            call, args.vm, lambda guest: guest.insert(image, drive=args.drive, force=args.force)
        )
    else:
        _, drive = of_guest(
            call, args.vm, lambda guest: guest.eject(drive=args.drive, force=args.force)
        )
    if call.out.json:
        call.out.document(_document(drive))
    else:
        call.out.text(f"{drive.id} has {drive.image}" if drive.image else f"{drive.id} is empty")
    return Exit.DONE


def _show_all(call: Call, drives: Sequence[Drive]) -> None:
    if call.out.json:
        call.out.document([_document(drive) for drive in drives])
    elif drives:
        rows = [(drive.id, drive.kind, _state(drive), drive.image) for drive in drives]
        call.out.table(("DRIVE", "KIND", "STATE", "IMAGE"), rows)
    else:
        call.talk.note("it has no drive whose medium can be changed")


def _state(drive: Drive) -> str:
    if drive.tray_open:
        return "open"
    return "locked" if drive.locked else ("in" if drive.image else "empty")


def _document(drive: Drive) -> dict[str, object]:
    return {
        "drive": drive.id,
        "kind": drive.kind,
        "image": drive.image or None,
        "locked": drive.locked,
        "tray_open": drive.tray_open,
        "readonly": drive.readonly,
    }


def _link_arguments(parser: Parser) -> None:
    vm_argument(parser)
    parser.add_argument(
        "to", type=one_of(LINKS), metavar="up|down", help="plug the cable in, or pull it out"
    )
    parser.add_argument("--card", default="", metavar="ID", help="only this network card")


def _link(call: Call, args: Namespace) -> Exit:
    up = args.to == "up"
    name, cards = of_guest(call, args.vm, lambda guest: guest.link(up=up, card=args.card))
    if call.out.json:
        call.out.document({"name": name, "up": up, "cards": list(cards)})
    else:
        call.out.text(f"{name}: {', '.join(cards)} is {args.to}")
    return Exit.DONE


MEDIA = Verb(
    _media_arguments,
    _media,
    "  broker vm media web-01 insert drivers.iso\n"
    "  broker vm media web-01 eject\n"
    "It lasts until the VM is switched off; a definition is not changed.",
)
LINK = Verb(_link_arguments, _link)
