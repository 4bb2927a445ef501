"""Giving a VM another name: its directory, its definition, and the paths in it that lead there.

The directory is renamed in one step, its definition with the new name lying beside the old one. A
broker that is killed between the two leaves a definition that does not fit its directory, and
`Definitions` takes the one that does.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from broker.errors import UsageError
from broker.model import MachineSpec
from broker.vm import lock, schema
from broker.vm.definitions import RENAMED_FILE, Definitions, write_private
from broker.vm.look import find
from broker.vm.paths import VmPaths, make_private

LOCK_SECONDS: Final = 60.0
T = TypeVar("T")


async def rename(definitions: Definitions, spec: MachineSpec, name: str, paths: VmPaths) -> None:
    """Call a VM that is off `name`; nothing is done when it is called so.

    Raises:
        UsageError: It runs, or the name is taken.
        ConfigError: That is no name.
        StoreError: A file cannot be written.
    """
    if name == spec.name:
        return
    wanted = replace(spec, name=name)
    schema.check(wanted)
    make_private(paths.run.parent)
    make_private(paths.run)  # for the lock; it may never have run
    async with lock.action(paths.lock, spec.name, timeout=LOCK_SECONDS):
        if find(paths) is not None:
            raise UsageError(
                f"{spec.name} is running", fix=f"Stop it first: broker vm stop {spec.name}"
            )
        old, new = paths.data, paths.data.with_name(name)
        _see_that_overlays_stay_whole(spec, old)
        write_private(old / RENAMED_FILE, schema.render(_moved(wanted, f"{old}/", f"{new}/")))
        definitions.move(spec.name, name)


def _moved(value: T, old: str, new: str) -> T:
    """The same with every path below `old` below `new`, in options of QEMU too."""
    found: Any = value
    if type(value) is str:  # not an enumeration's
        found = str(value).replace(old, new)
    elif isinstance(value, tuple):
        found = tuple(_moved(each, old, new) for each in value)
    elif is_dataclass(value) and not isinstance(value, type):
        told = {each.name: _moved(getattr(value, each.name), old, new) for each in fields(value)}
        found = replace(value, **told)
    result: T = found
    return result


def _see_that_overlays_stay_whole(spec: MachineSpec, directory: Path) -> None:
    """An overlay names its base by a path of its own, which would lead nowhere.

    Raises:
        UsageError: A disk is an overlay of an image in the VM's directory.
    """
    for disk in spec.disks:
        if disk.backing is not None and Path(disk.backing).is_relative_to(directory):
            raise UsageError(
                f"{spec.name} is not renamed: its disk {disk.path} is an overlay of"
                f" {disk.backing}, which would move",
                fix="Move that image out of the VM's directory, and rebase the disk on it"
                " (qemu-img rebase -u)",
            )
