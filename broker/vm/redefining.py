"""Giving a VM that is there another definition, which holds from its next start on."""

from __future__ import annotations

from typing import Final

from broker.model import MachineSpec
from broker.vm import lock
from broker.vm.autostart import begin
from broker.vm.definitions import Definitions
from broker.vm.disks import with_own_paths
from broker.vm.images import check_images
from broker.vm.paths import VmPaths, make_private

LOCK_SECONDS: Final = 60.0


async def redefine(definitions: Definitions, spec: MachineSpec, paths: VmPaths) -> None:
    """Put `spec` in the place of the definition with its uuid; no start sees half of it.

    Raises:
        UsageError: It has another name, or an image of it does not exist.
        ConfigError: A value is out of range.
        StoreError: It cannot be written.
        Unreachable: Another broker works on that VM for too long.
    """
    check_images(spec)
    make_private(paths.run.parent)
    make_private(paths.run)  # for the lock; it may never have run
    async with lock.action(paths.lock, spec.name, timeout=LOCK_SECONDS):
        before = definitions.find(spec.uuid).spec
        definitions.replace(with_own_paths(spec, paths.data))
        if spec.autostart and (before is None or not before.autostart):
            begin(paths)  # at the next boot of this host, not now
