"""Disks that a VM asks for and does not have yet: made when it starts, whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

from broker.errors import StoreError, VmStartFailed
from broker.model import Disk, MachineSpec
from broker.typed_path import is_missing
from broker.vm.paths import cannot_use, make_private

QEMU_IMG: Final = "qemu-img"
MAKE_SECONDS: Final = 60.0
"""How long `qemu-img create` may take; a network file system may be slow."""
_SUFFIX: Final = {"raw": "img"}


def with_own_paths(spec: MachineSpec, directory: Path) -> MachineSpec:
    """The same, with a place in the VM's own directory for each disk that has none yet."""
    disks = tuple(
        disk
        if disk.path
        else replace(disk, path=str(directory / f"disk{n}.{_SUFFIX.get(disk.format, disk.format)}"))
        for n, disk in enumerate(spec.disks)
    )
    return replace(spec, disks=disks)


def make_missing(spec: MachineSpec, directory: Path) -> None:
    """Make the disks that are to be made and are not there; waits for `qemu-img`.

    Args:
        directory: The VM's own; made when a disk belongs into it.

    Raises:
        VmStartFailed: There is no `qemu-img`, or it will not: its own words.
        StoreError: The file system is full or read-only, or the directory is not ours.
    """
    for disk in spec.disks:
        path = Path(disk.path)
        if disk.is_made and is_missing(path):
            if path.parent == directory:
                make_private(directory)
            _make(spec.name, disk, path)


def _make(name: str, disk: Disk, path: Path) -> None:
    program = shutil.which(QEMU_IMG)
    if program is None:
        raise VmStartFailed(
            f"{name}: its disk {path} cannot be made: {QEMU_IMG} is not installed",
            fix="Install it: apt install qemu-utils, dnf install qemu-img",
        )
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    backing = ["-b", disk.backing, "-F", disk.backing_format or ""] if disk.backing else []
    size = [str(disk.size)] if disk.size is not None else []
    command = [program, "create", "-q", "-f", disk.format, *backing, str(scratch), *size]
    try:
        done = subprocess.run(  # noqa: S603 - argv is built by us, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MAKE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise _refused(name, path, done.stderr)
        scratch.chmod(0o600)
        scratch.replace(path)
    except subprocess.TimeoutExpired as exc:
        raise VmStartFailed(
            f"{name}: its disk {path} was not made in {MAKE_SECONDS:g} seconds",
            fix="Look whether that disk or network share hangs",
        ) from exc
    except OSError as exc:
        raise cannot_use(path, exc) from exc
    finally:
        scratch.unlink(missing_ok=True)


def _refused(name: str, path: Path, said: str) -> VmStartFailed | StoreError:
    words = " ".join(said.split()).removeprefix("qemu-img: ")
    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES):
        problem = OSError(number, os.strerror(number))
        if str(problem.strerror) in words:
            return cannot_use(path, problem)
    return VmStartFailed(
        f'{name}: its disk {path} cannot be made: "{words}"',
        fix="Look at its size, backing and backing_format, and at the directory it goes into",
    )
