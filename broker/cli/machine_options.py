"""Options that describe a local VM, for `run` and `vm define`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from broker.cli import commands
from broker.cli.args import Parser, count, count_or_zero, forward, memory, one_of
from broker.errors import UsageError
from broker.human import did_you_mean
from broker.model import Accel, Disk, DiskBus, Display, Firmware, Network, Restart

_CHOSEN = {
    "accel": Accel,
    "firmware": Firmware,
    "display": Display,
    "network": Network,
    "restart": Restart,
}
_PLAIN = ("memory", "cpus", "sound", "serial", "agent", "autostart")
_DISK_KEYS = ("format", "bus", "snapshot", "readonly")


def add_machine(parser: Parser) -> None:
    """The options of `commands.MACHINE_OPTIONS`; what is not given stays None."""
    group = parser.add_argument_group("the machine")
    group.add_argument("-m", "--memory", type=memory, metavar="SIZE", help="memory: 512M, 2G (1G)")
    group.add_argument("--cpus", type=count, metavar="N", help="virtual CPUs (1)")
    for name, help_line in (
        ("--accel", "how its CPU is run (auto)"),
        ("--firmware", "what it boots with (bios)"),
        ("--display", "its graphics card (std)"),
        ("--network", "how it is connected (user)"),
        ("--restart", "when it is started again by itself (never)"),
    ):
        choices = commands.CHOICES[name]
        help_line = f"{help_line}: {', '.join(choices)}"  # noqa: PLW2901 - the choices belong to it
        group.add_argument(name, type=one_of(choices), metavar="WORD", help=help_line)
    group.add_argument("--cdrom", metavar="ISO", help="an ISO image in its drive")
    group.add_argument(
        "--forward",
        type=forward,
        action="append",
        metavar="PORT:GUESTPORT",
        help="a port of 127.0.0.1 that leads to one of the guest; may be repeated",
    )
    group.add_argument(
        "--usb", type=count_or_zero, metavar="N", help="slots for redirected USB devices (2)"
    )
    group.add_argument("--sound", action="store_true", default=None, help="a sound card")
    group.add_argument(
        "--no-serial", dest="serial", action="store_false", default=None, help="no serial port"
    )
    group.add_argument(
        "--no-agent", dest="agent", action="store_false", default=None, help="no SPICE agent port"
    )
    group.add_argument(
        "--autostart",
        action="store_true",
        default=None,
        help="start it once after each boot of this host",
    )


def machine_fields(args: Namespace) -> dict[str, Any]:
    """The fields of `MachineSpec` that were given."""
    fields: dict[str, Any] = {}
    for name, kind in _CHOSEN.items():
        if getattr(args, name) is not None:
            fields[name] = kind(getattr(args, name))
    for name in _PLAIN:
        if getattr(args, name) is not None:
            fields[name] = getattr(args, name)
    if args.usb is not None:
        fields["usb_redirections"] = args.usb
    if args.forward:
        fields["forwards"] = tuple(args.forward)
    if args.cdrom is not None:
        from broker.cli.images import existing

        fields["cdrom"] = str(existing(args.cdrom))
    return fields


def disk(text: str) -> Disk:
    """`PATH[,format=F][,bus=B][,snapshot][,readonly]`; a comma in a path is doubled.

    Raises:
        UsageError: An option of it is unknown, or the image is missing.
    """
    from broker.cli.images import existing, look_at

    path, *words = (part.replace("\0", ",") for part in text.replace(",,", "\0").split(","))
    given: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in _DISK_KEYS:
            near = did_you_mean(key, _DISK_KEYS)
            raise UsageError(
                f"{key!r} is not an option of a disk", fix=near or f"Known: {', '.join(_DISK_KEYS)}"
            )
        given[key] = value
    image = existing(path)
    if given.get("bus", "virtio") not in tuple(DiskBus):
        raise UsageError(
            f"{given['bus']!r} is not a bus for disks", fix=f"Known: {', '.join(DiskBus)}"
        )
    return Disk(
        path=str(image),
        format=given.get("format") or look_at(image).format,
        bus=DiskBus(given.get("bus", "virtio")),
        snapshot=_is_on(given, "snapshot"),
        readonly=_is_on(given, "readonly"),
    )


def _is_on(given: dict[str, str], key: str) -> bool:
    return key in given and given[key] not in ("off", "no", "0", "false")
