"""Once per boot of this host: a note in a VM's runtime directory of the boot it was started in."""

from __future__ import annotations

from typing import Final

from broker.vm import process
from broker.vm.paths import VmPaths, cannot_use

FILE: Final = "autostarted"


def begin(paths: VmPaths) -> bool:
    """Whether this boot's autostart of a VM is still to come; it counts as done from now on.

    It is noted before the start, so that one that fails, or takes its broker along, is not tried
    again and again: that is what a restart policy is for.

    Raises:
        StoreError: The note cannot be written, so nothing is to be started.
    """
    note, boot = paths.run / FILE, process.boot_id()
    try:
        if note.read_text("ascii") == boot:
            return False
    except (OSError, ValueError):
        pass
    paths.prepare()
    try:
        note.write_text(boot, "ascii")
    except OSError as exc:
        raise cannot_use(note, exc) from exc
    return True
