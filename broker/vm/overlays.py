"""Images that others are built upon: what changes them, or takes them away, spoils those others.

A linked clone's disk holds only what differs from the disk of the VM it was made of. QEMU keeps
the two from running at the same time, but not one after the other; so this is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from broker.errors import Refused
from broker.model import MachineId, MachineSpec
from broker.typed_path import is_missing
from broker.vm.definitions import Definition


def builders(uuid: MachineId, images: Iterable[str], among: Iterable[Definition]) -> list[str]:
    """The names of other VMs with a disk that is an overlay of one of these images."""
    built = [
        (each.name, Path(disk.backing))
        for each in among
        if each.spec is not None and each.uuid != uuid
        for disk in each.spec.disks
        if disk.backing is not None and not is_missing(Path(disk.path))
    ]
    if not built:  # so it is nearly always, and then no path is looked at
        return []
    of_it = {Path(image).resolve() for image in images}
    return list(dict.fromkeys(name for name, backing in built if backing.resolve() in of_it))


def see_that_it_may_change(spec: MachineSpec, among: Iterable[Definition]) -> None:
    """See that nothing is built on the disks that a run of this VM would write to.

    Raises:
        Refused: Other VMs are linked clones of it.
    """
    written = [disk.path for disk in spec.disks if not (disk.snapshot or disk.readonly)]
    if names := builders(spec.uuid, written, among):
        raise Refused(
            f"{spec.name} is not started: the disks of {_list(names)} are built on its own,"
            " and a change to those would spoil them",
            reason="has-linked-clones",
            fix=f"Start a clone of it: broker vm clone {spec.name} NEW; or delete what is built"
            " on it",
        )


def see_that_it_may_go(
    name: str, uuid: MachineId, directory: Path, among: Iterable[Definition], verb: str
) -> None:
    """See that nothing is built on an image in a VM's own directory.

    Args:
        verb: What is about to be done to it, as `renamed`.

    Raises:
        Refused: Other VMs are linked clones of it.
    """
    known = list(among)
    images = {
        disk.backing
        for each in known
        if each.spec is not None
        for disk in each.spec.disks
        if disk.backing is not None and Path(disk.backing).is_relative_to(directory)
    }
    if names := builders(uuid, images, known):
        raise Refused(
            f"{name} is not {verb}: the disks of {_list(names)} are built on its own",
            reason="has-linked-clones",
            fix=f"Make those whole first: broker vm clone {names[0]} NEW, then delete it",
        )


def _list(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
