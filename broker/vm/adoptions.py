"""Which VMs that somebody else started were adopted.

An adoption is a file: which process it is (pid, start time, boot), and what it is called. All else
is looked up anew each time (`broker.vm.adopted`), and no secret is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import uuid as uuids
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from broker import private_file
from broker.errors import UsageError
from broker.model import MachineId
from broker.vm import process, scan
from broker.vm.paths import cannot_use, make_private
from broker.vm.process import Process
from broker.vm.scan import Qemu
from broker.vm.ways import ways_of

log = logging.getLogger(__name__)

DIRECTORY: Final = "adopted"
MAX_FILE_BYTES: Final = 65536
MAX_NAME: Final = 63


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is remembered of one.

    Attributes:
        ticks: The process's start, in clock ticks since boot.
        uuid: QEMU's own where it was given one, else made from the process.
        screen: It had a screen that could be reached.
    """

    pid: int
    ticks: int
    boot: str
    uuid: MachineId
    name: str
    program: str
    screen: bool

    @property
    def process(self) -> Process:
        """The process that was adopted."""
        return Process(self.pid, self.ticks)

    @property
    def lives(self) -> bool:
        """Whether that very process still runs."""
        return self.boot == process.boot_id() and process.alive(self.process)


class Adoptions:
    """All adoptions under one data directory. Files are read each time: there are few."""

    def __init__(self, data_dir: Path, runtime_dir: Path) -> None:
        self._root = data_dir / DIRECTORY
        self._runtime_dir = runtime_dir

    def all(self) -> list[Adoption]:
        """Every one, by name. A file that cannot be read is passed over, and logged."""
        try:
            paths = sorted(path for path in self._root.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise cannot_use(self._root, exc) from exc
        found = [item for path in paths if (item := _read(path)) is not None]
        return sorted(found, key=lambda each: (each.name, each.uuid))

    def find(self, uuid: MachineId) -> Adoption | None:
        """The one with that uuid."""
        return next((each for each in self.all() if each.uuid == uuid), None)

    def of(self, qemu: Qemu) -> Adoption | None:
        """The adoption of that process, if it was adopted."""
        return next(
            (each for each in self.all() if each.lives and each.pid == qemu.process.pid), None
        )

    def qemu(self, adoption: Adoption) -> Qemu | None:
        """The process as it is now; None when it has ended."""
        found = scan.read(adoption.pid, self._runtime_dir) if adoption.lives else None
        return found if found is not None and found.process == adoption.process else None

    def add(
        self,
        qemu: Qemu,
        *,
        name: str | None,
        names: Collection[str],
        taken: Collection[MachineId],
    ) -> Adoption:
        """Remember a QEMU; one that was adopted is told again, under its old name.

        Args:
            name: What to call it; None takes QEMU's own name, made unique.
            names: Of other VMs of this source.
            taken: Their uuids.

        Raises:
            UsageError: `name` is taken, or no name.
            StoreError: The file cannot be written.
        """
        known = self.of(qemu)
        if known is not None:
            return known
        others = self.all()
        names = {*names, *(each.name for each in others)}
        called = _name(qemu, name, names)
        adoption = Adoption(
            qemu.process.pid,
            qemu.process.ticks,
            process.boot_id(),
            _uuid(qemu, {*taken, *(each.uuid for each in others)}),
            called,
            qemu.program,
            ways_of(qemu).screen.target is not None,
        )
        make_private(self._root.parent)
        make_private(self._root)
        _write(self._root / f"{adoption.uuid}.json", adoption)
        return adoption

    def remove(self, adoption: Adoption) -> None:
        """Forget it; its process is not touched.

        Raises:
            StoreError: The file cannot be removed.
        """
        path = self._root / f"{adoption.uuid}.json"
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise cannot_use(path, exc) from exc


def _read(path: Path) -> Adoption | None:
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(MAX_FILE_BYTES))
        return Adoption(**values)
    except (OSError, ValueError, TypeError) as exc:
        log.warning("%s is passed over: it cannot be read (%s)", path, exc)
        return None


def _write(path: Path, adoption: Adoption) -> None:
    try:
        private_file.write(path, json.dumps(asdict(adoption)))
    except OSError as exc:
        raise cannot_use(path, exc) from exc


def _name(qemu: Qemu, wanted: str | None, names: Collection[str]) -> str:
    if wanted is not None:
        if not wanted.isprintable() or not 0 < len(wanted.strip()) <= MAX_NAME:
            raise UsageError(f"{wanted!r} is no name", fix=f"Give 1 to {MAX_NAME} letters")
        if wanted in names:
            raise UsageError(f"There is a VM called {wanted} already", fix="Choose another name")
        return wanted
    said = "".join(each if each.isprintable() else " " for each in qemu.line.name)
    name = re.sub(r"\s+", " ", said).strip()[: MAX_NAME - 8] or "qemu"
    return name if said and name not in names else f"{name}-{qemu.process.pid}"


def _uuid(qemu: Qemu, taken: Collection[MachineId]) -> MachineId:
    with contextlib.suppress(ValueError):
        own = MachineId(str(uuids.UUID(qemu.line.uuid)))
        if own not in taken:
            return own
    life = f"{process.boot_id()}/{qemu.process.pid}/{qemu.process.ticks}"
    return MachineId(str(uuids.uuid5(uuids.NAMESPACE_OID, life)))
