"""What this host can do: KVM that really works, a QEMU, and SPICE in it. Each is looked at once."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

_KVM_GET_API_VERSION: Final = 0xAE00
_KVM_CREATE_VM: Final = 0xAE01
_KVM_API: Final = 12
_ANSWER_SECONDS: Final = 10
INSTALL_QEMU: Final = (
    "Install it: apt install qemu-system-x86 (Debian, Ubuntu), dnf install qemu-kvm (Fedora),"
    " pacman -S qemu-desktop (Arch)"
)


INSTALL_SPICE: Final = (
    "Install it: apt install qemu-system-modules-spice (Debian 13, Ubuntu; part of"
    " qemu-system-common in Debian 12), dnf install qemu-ui-spice-core qemu-char-spice (Fedora)"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to "does it work here".

    Attributes:
        usable: Whether it does.
        detail: What was found, or what is wrong; a sentence without its period.
        fix: What to do when it does not work; empty when it does.
    """

    usable: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A QEMU that was found and asked.

    Attributes:
        path: Absolute path.
        version: As it says, `7.2.22`; empty when it would not say.
    """

    path: str
    version: str


@functools.cache
def kvm(device: str = "/dev/kvm") -> Finding:
    """Whether KVM can make a VM here: opening the device is not enough to know."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        return _no_device(device, exc)
    try:
        if (version := fcntl.ioctl(handle, _KVM_GET_API_VERSION, 0)) != _KVM_API:
            return Finding(
                usable=False,
                detail=f"{device} speaks version {version} of its API, not {_KVM_API}",
                fix="Use a kernel of this century, or set accel: tcg",
            )
        os.close(fcntl.ioctl(handle, _KVM_CREATE_VM, 0))
    except OSError as exc:
        return Finding(
            usable=False,
            detail=f"{device} opens, but makes no VM: {exc.strerror}",
            fix="Another hypervisor may hold the CPU's virtualization; stop it, or set accel: tcg",
        )
    finally:
        os.close(handle)
    return Finding(usable=True, detail=f"{device} makes VMs")


def _no_device(device: str, problem: OSError) -> Finding:
    fixes = {
        errno.ENOENT: "Turn virtualization on in the firmware and load kvm_intel or kvm_amd;"
        " in a VM or container, have its host pass it on. Guests run without, only slower",
        errno.EACCES: "Join the kvm group (sudo usermod -aG kvm $USER), then log in anew",
        errno.EPERM: "This container may not use it: run it with --device /dev/kvm",
    }
    return Finding(
        usable=False,
        detail=f"{device} cannot be opened: {problem.strerror}",
        fix=fixes.get(problem.errno or 0, "Guests run without it, only slower: accel: tcg"),
    )


def find_qemu(qemu: str) -> str | None:
    """Absolute path of the emulator of that name or path; None when there is none."""
    found = shutil.which(qemu)
    return os.path.abspath(found) if found else None  # noqa: PTH100 - a symlink is kept as it is


@functools.cache
def emulator(path: str) -> Emulator:
    """The emulator at `path` and its version; waits for it to answer (some 20 ms).

    Raises:
        OSError: It cannot be executed.
    """
    said = _ask(path, "--version")
    version = re.search(r"version (\d[\d.]*)", said)
    return Emulator(path, version.group(1) if version else "")


@functools.cache
def spice(path: str) -> Finding:
    """Whether the emulator at `path` has SPICE; waits for it to answer (some 30 ms).

    Raises:
        OSError: It cannot be executed.
    """
    if "spice options:" in _ask(path, "-spice", "help"):
        return Finding(usable=True, detail=f"{path} has SPICE")
    return Finding(
        usable=False,
        detail=f"{path} has no SPICE",
        fix=INSTALL_SPICE,
    )


def forget() -> None:
    """Look anew next time; for a long-lived broker whose host has changed."""
    for cached in (kvm, emulator, spice):
        cached.cache_clear()


def _ask(*argv: str) -> str:
    try:
        said = subprocess.run(  # noqa: S603 - argv is built by us, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return said.stdout.decode("utf-8", "replace")
