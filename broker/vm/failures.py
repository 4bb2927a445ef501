"""What QEMU prints when it will not start, in words a person can act on.

The strings were collected from QEMU 7.2; a newer one that words them otherwise is still quoted,
only without the advice.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Final

from broker.errors import VmStartFailed
from broker.vm.probe import INSTALL_SPICE

MAX_QUOTED_LINES: Final = 4
_PREFIX: Final = re.compile(r"^(?:\S+Z )?qemu(?:-system-\w+|-kvm)?: ")
_HARMLESS: Final = re.compile(r"^warning: |^terminating on signal|^console-broker: ")


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail.

    Attributes:
        pattern: Found in QEMU's output.
        what: The fact, after the VM's name; `{name}` groups of the pattern are filled in.
        fix: What to do; likewise. `{vm}` is the VM's name.
    """

    pattern: re.Pattern[str]
    what: str
    fix: str


def _failure(pattern: str, what: str, fix: str) -> Failure:
    return Failure(re.compile(pattern, re.MULTILINE), what, fix)


FAILURES: Final = (
    _failure(
        r"Cannot lock pid file",
        "it is running already",
        "Nothing to do: broker vm list shows it",
    ),
    _failure(
        r"spice support is disabled|There is no option group 'spice'|'spicevmc' is not a valid",
        "this QEMU has no SPICE",
        f"{INSTALL_SPICE}; or define the VM with vnc: true",
    ),
    _failure(
        r'Failed to get (?:shared )?"write" lock[\s\S]*?the image \[(?P<image>.*)\]',
        "its disk {image} is used by another program",
        "Stop the VM or qemu-img that uses it, or mark the disk with snapshot or readonly",
    ),
    _failure(
        r"Could not open '(?P<image>[^']*)': No such file or directory",
        "its image {image} does not exist",
        "Put it there, or define the VM anew with the right path",
    ),
    _failure(
        r"Could not open '(?P<image>[^']*)': Permission denied",
        "we may not read or write its image {image}",
        "Give us the right to it, or mark the disk with readonly or snapshot if reading will do",
    ),
    _failure(
        r"(?:file=(?P<image>[^,\s]+)\S*: )?Image is not in (?P<format>\w+) format",
        "one of its disks is not in {format} format",
        "See what it is (qemu-img info PATH) and give the disk that format",
    ),
    _failure(
        r"'file' driver requires '(?P<image>[^']*)' to be a regular file",
        "{image} is not a disk image but a directory or a device",
        "Name the image itself",
    ),
    _failure(
        r"Could not set up host forwarding rule '(?P<rule>[^']*)'",
        "the port of its forward {rule} is taken",
        "Choose another port for it, or stop what uses that one",
    ),
    _failure(
        r"(?:Could not access KVM kernel module|failed to initialize kvm): Permission denied",
        "we may not use KVM",
        "Join the kvm group (sudo usermod -aG kvm $USER, then log in anew), or set accel: tcg",
    ),
    _failure(
        r"(?:Could not access KVM kernel module|failed to initialize kvm)",
        "KVM does not work here",
        "Load its module (modprobe kvm_intel or kvm_amd), or set accel: tcg",
    ),
    _failure(
        r"failed to set MSR|kvm_buf_set_msrs|KVM_SET_\w+ failed",
        "KVM fails on this host (is it a virtual machine itself?)",
        "Set accel: auto or accel: tcg",
    ),
    _failure(
        r"CPU model '(?P<cpu>[^']*)' requires KVM",
        "CPU model {cpu} needs KVM",
        "Set accel: kvm, or leave out -cpu",
    ),
    _failure(
        r"cannot set up guest memory .*Cannot allocate memory",
        "there is not enough memory for it on this host",
        "Give it less memory, or stop something else",
    ),
    _failure(
        r"No space left on device",
        "a disk of this host is full",
        "Free some space; a disk with snapshot needs it in /var/tmp (or $TMPDIR)",
    ),
    _failure(
        r"Path must be less than \d+ bytes|UNIX socket path .* is too long",
        "the path of a socket is too long",
        "Choose a shorter runtime directory: set XDG_RUNTIME_DIR or BROKER_HOME",
    ),
    _failure(
        r"binding socket to (?P<where>\S+) failed",
        "the port {where} of its SPICE is taken",
        "Choose another for spice.tcp.port (0 takes a free one), or stop what uses it",
    ),
    _failure(
        r"Address already in use",
        "a port it wants to listen on is taken",
        "Change that port in its extra_args, or stop what uses it",
    ),
    _failure(
        r"could not configure /dev/net/tun \((?P<tap>[^)]*)\): (?P<why>.*)",
        "its tap device {tap} cannot be used: {why}",
        "Have an administrator make it for you: ip tuntap add {tap} mode tap user $USER",
    ),
    _failure(
        r"failed to (?:launch|parse default acl file|create tun|get mtu of|add interface)"
        r"|access denied by acl|bridge helper failed",
        "QEMU's bridge helper does not join its bridge",
        "Allow that bridge in /etc/qemu/bridge.conf (allow NAME); the helper must be setuid root",
    ),
    _failure(
        r"sandbox support is not enabled|failed to install seccomp",
        "this QEMU cannot go into a sandbox",
        "Define it with sandbox: false",
    ),
    _failure(
        r"unable to find CPU model|unsupported machine type|is not a valid device model name"
        r"|invalid option|requires an argument|Invalid parameter|Duplicate ID"
        r"|does not accept value|Property .* (?:not found|can't find value)",
        "QEMU does not understand its command line",
        "Look at its extra_args; broker vm log {vm} has QEMU's whole output",
    ),
)
"""First match wins; the most telling come first."""


def explain(name: str, output: str, returncode: int | None) -> VmStartFailed:
    """The error for a QEMU that ended before it answered.

    Args:
        output: What it printed in this run.
        returncode: Its exit code, negative for a signal; None when nobody knows.
    """
    words = last_words(output)
    quoted = f': "{words}"' if words else ""
    for failure in FAILURES:
        if match := failure.pattern.search(output):
            facts = {key: value or "" for key, value in match.groupdict().items()}
            what = failure.what.format(vm=name, **facts)
            return VmStartFailed(
                f"{name}: {what}{quoted}", fix=failure.fix.format(vm=name, **facts)
            )
    how = how_it_ended(returncode)
    return VmStartFailed(
        f"{name}: QEMU ended at once ({how}){quoted}", fix=f"Look at its log: broker vm log {name}"
    )


def last_words(output: str) -> str:
    """The last lines of QEMU's output on one line, without prefixes and harmless warnings."""
    lines = [_PREFIX.sub("", line).strip() for line in output.splitlines()]
    telling = [line for line in lines if line and not _HARMLESS.search(line)]
    return "; ".join(telling[-MAX_QUOTED_LINES:])


def how_it_ended(returncode: int | None) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGKILL`."""
    if returncode is None:
        return "nobody saw how"
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"
