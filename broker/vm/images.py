"""Whether a machine's images are there, asked when it is defined; QEMU asks again at each start."""

from __future__ import annotations

import stat
from pathlib import Path

from broker.errors import UsageError
from broker.model import MachineSpec


def check_images(spec: MachineSpec) -> None:
    """See that every disk and the CD can be found.

    Raises:
        UsageError: One does not exist, is a directory, or cannot be looked at.
    """
    paths = [disk.path for disk in spec.disks] + ([spec.cdrom] if spec.cdrom is not None else [])
    for path in paths:
        try:
            mode = Path(path).stat().st_mode
        except OSError as exc:
            raise UsageError(
                f"{spec.name}: its image {path} cannot be used: {exc.strerror}",
                fix="Check the path; to make an empty disk: qemu-img create -f qcow2 PATH 20G",
            ) from exc
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UsageError(
                f"{spec.name}: {path} is not a disk image", fix="Name a file or a block device"
            )
