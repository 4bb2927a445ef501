"""Forgetting a VM: its definition, what its last run left, and, if asked, its own disks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from broker.errors import UsageError
from broker.vm import lock
from broker.vm.definitions import Definition, Definitions
from broker.vm.look import find
from broker.vm.paths import VmPaths, cannot_use, make_private

LOCK_SECONDS: Final = 60.0


async def remove(
    definitions: Definitions, definition: Definition, paths: VmPaths, *, keep_disks: bool
) -> None:
    """Forget a VM that is off.

    Args:
        keep_disks: Keep what else is in its data directory; nothing outside is ever touched.

    Raises:
        UsageError: It runs.
        StoreError: A file cannot be removed.
    """
    make_private(paths.run.parent)
    make_private(paths.run)  # for the lock; it may never have run
    async with lock.action(paths.lock, definition.name, timeout=LOCK_SECONDS):
        if find(paths) is not None:
            raise UsageError(
                f"{definition.name} is running",
                fix=f"Stop it first: broker vm stop {definition.name}",
            )
        definitions.remove(definition, keep_disks=keep_disks)
        try:
            shutil.rmtree(paths.run)
        except OSError as exc:
            raise cannot_use(Path(exc.filename or paths.run), exc) from exc
