"""Whether a machine's images are there, asked when it is defined; QEMU asks again at each start."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from broker.errors import UsageError
from broker.model import EMPTY_DRIVE, MachineSpec
from broker.typed_path import is_missing


def check_images(spec: MachineSpec) -> None:
    """See that every file it names can be found; disks that are to be made need not be there.

    Raises:
        UsageError: One does not exist, is a directory, or cannot be looked at.
    """
    for path in _images(spec):
        mode = _mode(spec.name, path)
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UsageError(
                f"{spec.name}: {path} is not a disk image", fix="Name a file or a block device"
            )
    for path in _files(spec):
        if not stat.S_ISREG(_mode(spec.name, path)):
            raise UsageError(f"{spec.name}: {path} is not a file", fix="Name the file itself")


def _images(spec: MachineSpec) -> Iterator[str]:
    for disk in spec.disks:
        is_there = disk.path and not is_missing(Path(disk.path))
        if is_there or not disk.is_made:
            yield disk.path
        elif disk.backing is not None:
            yield disk.backing
    yield from (path for path in (spec.cdrom, spec.floppy) if path not in (None, EMPTY_DRIVE))


def _files(spec: MachineSpec) -> Iterator[str]:
    user_data = spec.cloud_init.user_data_file if spec.cloud_init else None
    yield from (path for path in (spec.kernel, spec.initrd, user_data) if path is not None)


def _mode(name: str, path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except OSError as exc:
        raise UsageError(
            f"{name}: its image {path} cannot be used: {exc.strerror}",
            fix="Check the path; for a new disk give it a size, and it is made at the first start",
        ) from exc
