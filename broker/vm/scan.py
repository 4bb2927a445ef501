"""The QEMUs of this host, whoever started them: found in /proc, asked nothing. Linux only.

A QEMU is known by its program and its command line. What can be done with it follows from there
(`broker.vm.ways`). Looking disturbs nobody: no monitor is connected to.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from broker.vm import process
from broker.vm.cmdline import CommandLine, Outlet, understand
from broker.vm.process import Process

PROC: Final = Path("/proc")
_PROGRAM: Final = re.compile(r"\.?(qemu-system-[\w.-]+|qemu-kvm|kvm)(-wrapped)?")
_A_BROKERS_PIDFILE: Final = re.compile(r"/vms/[0-9a-f]{12}/pid")
_CONNECTED: Final = "03"
"""`St` of /proc/net/unix; SS_CONNECTED of linux/net.h."""


class Owner(StrEnum):
    """Who looks after a QEMU."""

    HAND = "hand"
    """Somebody started it by hand, or by a script."""
    BROKER = "broker"
    """This broker launched it."""
    OTHER_BROKER = "other-broker"
    """A broker with other directories did."""
    LIBVIRT = "libvirt"
    PROXMOX = "proxmox"


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU that runs.

    Attributes:
        uid: Of the user whose process it is.
        program: Its executable, or what it calls itself when that cannot be read.
        directory: Where it was started; None when that is forgotten or not ours to see.
        elsewhere: It lives in other mounts than we do, as in a container.
        unreachable: It lives in another network, so its ports are not ours to connect to.
    """

    process: Process
    uid: int
    program: str
    line: CommandLine
    owner: Owner
    directory: Path | None = None
    elsewhere: bool = False
    unreachable: bool = False

    def path(self, text: str) -> Path | None:
        """A path from its command line as we see it; None when it cannot be known."""
        path = Path(text)
        if not path.is_absolute():
            if self.directory is None:
                return None
            path = self.directory / path
        if self.elsewhere:
            return PROC / str(self.process.pid) / "root" / path.relative_to("/")
        return path

    def monitors(self) -> list[Outlet]:
        """Its monitors that can be connected to, best first, with paths as we see them."""
        found = []
        for outlet in self.line.monitors:
            if outlet.descriptor is not None:
                bound = _bound(self.process.pid, outlet.descriptor)
                outlet = replace(outlet, descriptor=None, path=bound)  # noqa: PLW2901 - the same one
                if bound is None:
                    continue
            if outlet.path is not None:
                path = self.path(outlet.path)
                if path is not None:
                    found.append(replace(outlet, path=str(path)))
            elif outlet.is_socket and not self.unreachable:
                found.append(outlet)
        return found

    def is_held(self, monitor: Outlet) -> bool:
        """Whether a program is connected to that unix monitor now; it serves one at a time."""
        if monitor.path is None:
            return False
        names = {outlet.path for outlet in self.line.monitors} | {monitor.path}
        sockets = _unix_sockets(self.process.pid)
        return any(
            state == _CONNECTED and path in names
            for inode in _socket_inodes(self.process.pid)
            for state, path in [sockets.get(inode, ("", ""))]
        )


def qemus(runtime_dir: Path, uid: int | None = None) -> list[Qemu]:
    """Every QEMU of this user, oldest first; of all users for root.

    Args:
        runtime_dir: Ours, to know our own by.
        uid: As whom to look; None for who we are.
    """
    uid = os.geteuid() if uid is None else uid
    found = []
    for entry in _numbers():
        qemu = read(entry, runtime_dir)
        if qemu is not None and uid in (0, qemu.uid):
            found.append(qemu)
    return sorted(found, key=lambda each: (each.process.ticks, each.process.pid))


def read(pid: int, runtime_dir: Path) -> Qemu | None:
    """The QEMU with that process id; None when there is none, or it is none."""
    about = PROC / str(pid)
    try:
        began = process.of_pid(pid)
        argv = about.joinpath("cmdline").read_bytes().decode("utf-8", "surrogateescape")
        uid = about.stat().st_uid
    except (OSError, ValueError):
        return None
    # A process may end its arguments with any number of zeros, or with none.
    arguments = argv.removesuffix("\0").split("\0")
    program = _link(about / "exe").removesuffix(" (deleted)") or arguments[0]
    if began is None or not all(
        _PROGRAM.fullmatch(Path(each).name) for each in (arguments[0], program)
    ):
        return None
    line = understand(arguments)
    qemu = Qemu(
        began,
        uid,
        program,
        line,
        Owner.HAND,
        directory=_directory(about, line),
        elsewhere=_differs(about, "mnt"),
        unreachable=_differs(about, "net"),
    )
    return replace(qemu, owner=_owner(qemu, runtime_dir)) if process.of_pid(pid) == began else None


def _owner(qemu: Qemu, runtime_dir: Path) -> Owner:
    line = qemu.line
    places = [outlet.path for outlet in line.monitors if outlet.path]
    ids = {value for name, value in line.words if name == "mon"}
    if any("/libvirt/" in text for text in (*places, *_objects(line))) or any(
        value and "charmonitor" in value for value in ids
    ):
        return Owner.LIBVIRT
    if any("/run/qemu-server/" in text for text in (*places, line.pidfile or "")):
        return Owner.PROXMOX
    if line.pidfile and Path(line.pidfile).is_relative_to(runtime_dir / "vms"):
        return Owner.BROKER
    if line.pidfile and _A_BROKERS_PIDFILE.search(line.pidfile):
        return Owner.OTHER_BROKER
    return Owner.HAND


def _objects(line: CommandLine) -> Iterable[str]:
    return (value for name, value in line.words if name == "object" and value)


def _directory(about: Path, line: CommandLine) -> Path | None:
    """`-daemonize` goes to the root, whatever was meant by relative paths before."""
    if line.daemonized:
        return None
    found = _link(about / "cwd")
    return Path(found) if found and not found.endswith(" (deleted)") else None


def _differs(about: Path, namespace: str) -> bool:
    theirs = _link(about / "ns" / namespace)
    return bool(theirs) and theirs != _link(PROC / "self" / "ns" / namespace)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - text, as the kernel says it
    except OSError:
        return ""


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]  # noqa: PTH208 - names only


def _bound(pid: int, descriptor: int) -> str | None:
    """The path of a listening unix socket that a process holds."""
    link = _link(PROC / str(pid) / "fd" / str(descriptor))
    inode = link.removeprefix("socket:[").removesuffix("]")
    _, path = _unix_sockets(pid).get(inode, ("", ""))
    return path if path.startswith("/") else None


def _socket_inodes(pid: int) -> list[str]:
    descriptors = PROC / str(pid) / "fd"
    with contextlib.suppress(OSError):
        links = [_link(entry) for entry in descriptors.iterdir()]
        return [link[8:-1] for link in links if link.startswith("socket:[")]
    return []


def _unix_sockets(pid: int) -> dict[str, tuple[str, str]]:
    """State and path of every unix socket in that process's network, by inode."""
    try:
        text = (PROC / str(pid) / "net" / "unix").read_text(errors="surrogateescape")
    except OSError:
        return {}
    rows = (line.split(maxsplit=7) for line in text.splitlines()[1:])
    return {row[6]: (row[5], row[7]) for row in rows if len(row) == 8}
