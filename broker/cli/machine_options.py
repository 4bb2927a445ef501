"""Options that describe a local VM, for `run`, `vm define` and `vm edit`."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace, _ArgumentGroup
from typing import Any

from broker.cli import commands
from broker.cli.args import Parser, count, count_or_zero, forward, memory, one_of, size
from broker.cli.disk_option import disk
from broker.errors import UsageError
from broker.model import (
    EMPTY_DRIVE,
    Accel,
    CloudInit,
    Display,
    Firmware,
    Network,
    Nic,
    Restart,
    SpicePort,
)

__all__ = ["add_machine", "disk", "machine_fields", "size"]

_CHOSEN = {
    "accel": Accel,
    "firmware": Firmware,
    "display": Display,
    "network": Network,
    "nic": Nic,
    "restart": Restart,
}
_PLAIN = (
    *("memory", "cpus", "machine", "cpu", "secure_boot", "tpm", "append", "tablet", "spice"),
    *("vnc", "interface", "serial", "agent", "sound", "sandbox", "allow_insecure"),
    "autostart",
)


def add_machine(parser: Parser) -> None:
    """The options of `commands.MACHINE_OPTIONS`; what is not given stays None."""
    group = parser.add_argument_group("the machine")
    group.add_argument("-m", "--memory", type=memory, metavar="SIZE", help="memory: 512M, 2G (1G)")
    group.add_argument("--cpus", type=count, metavar="N", help="virtual CPUs (1)")
    group.add_argument("--cpu", metavar="MODEL", help="CPU model and flags (the best that works)")
    group.add_argument("--machine", metavar="TYPE", help="QEMU's machine type: q35, pc (q35)")
    for name, help_line in (
        ("--accel", "how its CPU is run (auto)"),
        ("--firmware", "what it boots with (bios)"),
        ("--display", "its graphics card (std)"),
    ):
        _chosen(group, name, help_line)
    _switch(group, "--secure-boot", help="start signed systems only; needs --firmware uefi")
    _switch(group, "--tpm", help="a TPM 2.0, by swtpm")
    group.add_argument("--usb", type=count_or_zero, metavar="N", help="USB redirection slots (2)")
    _switch(group, "--sound", help="a sound card")
    _switch(group, "--no-serial", "serial", value=False, help="no serial port")
    _switch(group, "--no-agent", "agent", value=False, help="no SPICE agent port")
    _switch(group, "--no-tablet", "tablet", value=False, help="no USB tablet")
    _add_drives(parser)
    _add_network(parser)
    _add_upkeep(parser)
    _add_rest(parser)


def _add_drives(parser: Parser) -> None:
    group = parser.add_argument_group("drives and what it boots")
    group.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="IMAGE[,OPTION…]",
        help="a disk, with format=, bus=, size=, backing=, backing-format=, snapshot, readonly",
    )
    group.add_argument("--cdrom", metavar="ISO", help="an ISO in its drive; `empty` for none")
    group.add_argument("--floppy", metavar="IMAGE", help="a floppy; `empty` for a drive alone")
    group.add_argument("--kernel", metavar="FILE", help="a Linux kernel to boot straight away")
    group.add_argument("--initrd", metavar="FILE", help="its initramfs")
    group.add_argument("--append", metavar="TEXT", help="its command line")
    group.add_argument("--cloud-init", metavar="FILE", help="user-data for a cloud image")


def _add_network(parser: Parser) -> None:
    group = parser.add_argument_group("its network and its console")
    _chosen(group, "--network", "how it is connected (user)")
    group.add_argument("--interface", metavar="NAME", help="the tap device or bridge of this host")
    _chosen(group, "--nic", "its network card (virtio)")
    group.add_argument(
        "--forward",
        type=forward,
        action="append",
        metavar="PORT:GUESTPORT",
        help="a port of 127.0.0.1 that leads to one of the guest; may be repeated",
    )
    group.add_argument(
        "--spice-port",
        dest="spice",
        type=_spice_port,
        metavar="[ADDRESS:]PORT",
        help="a port for SPICE, beside the proxy; `auto` for a free one",
    )
    _switch(group, "--vnc", help="VNC on a unix socket in place of SPICE")


def _add_upkeep(parser: Parser) -> None:
    group = parser.add_argument_group("when it is started by itself")
    _chosen(group, "--restart", "started again when it ended by itself (never)")
    _switch(group, "--autostart", help="start it once after each boot of this host")
    _switch(group, "--no-autostart", "autostart", value=False, help="do not (the default)")


def _add_rest(parser: Parser) -> None:
    group = parser.add_argument_group("its QEMU")
    group.add_argument(
        "--env",
        action="append",
        type=_variable,
        metavar="NAME=VALUE",
        help="an environment variable of QEMU; may be repeated",
    )
    _switch(group, "--no-sandbox", "sandbox", value=False, help="leave QEMU all its system calls")
    _switch(
        group,
        "--allow-insecure",
        help="let arguments after -- open consoles that ask nobody for a password",
    )


def _switch(
    group: _ArgumentGroup,
    name: str,
    field: str = "",
    *,
    value: bool = True,
    help: str,  # noqa: A002 - argparse's word
) -> None:
    field = field or name.removeprefix("--").replace("-", "_")
    group.add_argument(name, dest=field, action="store_const", const=value, default=None, help=help)


def _chosen(group: _ArgumentGroup, name: str, help_line: str) -> None:
    choices = commands.CHOICES[name]
    text = f"{help_line}: {', '.join(choices)}"
    group.add_argument(name, type=one_of(choices), metavar="WORD", help=text)


def _spice_port(text: str) -> SpicePort:
    address, _, port = text.rpartition(":")
    if port != "auto" and not (port.isdecimal() and int(port) <= 65535):
        raise ArgumentTypeError(f"{text!r} is not auto, PORT or ADDRESS:PORT")
    where = {"address": address.strip("[]")} if address else {}
    return SpicePort(port=0 if port == "auto" else int(port), **where)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def machine_fields(args: Namespace) -> dict[str, Any]:
    """The fields of `MachineSpec` that were given, but for its disks.

    Raises:
        UsageError: A file that is named is missing.
    """
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
    if args.env:
        fields["env"] = tuple(args.env)
    for name in ("cdrom", "floppy", "kernel", "initrd"):
        if getattr(args, name) is not None:
            fields[name] = _file(getattr(args, name), may_be_empty=name in ("cdrom", "floppy"))
    if args.cloud_init is not None:
        fields["cloud_init"] = CloudInit(user_data_file=_file(args.cloud_init))
    return fields


def _file(text: str, *, may_be_empty: bool = False) -> str:
    from broker.vm.image_kinds import existing

    if text == EMPTY_DRIVE and may_be_empty:
        return text
    try:
        return str(existing(text))
    except UsageError as exc:
        raise UsageError(exc.what.replace("no image", "no file"), fix=exc.fix) from exc
