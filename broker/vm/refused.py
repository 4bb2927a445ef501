"""Which engines failed on this host where a plainer one worked, so that not every start finds out.

And which held, so that not every start watches them.

It is kept beside the VMs' runtime directories and holds for as long as what it hangs on stays the
same: this boot, this QEMU, this KVM, this CPU. It only changes the order of tries, so one that is
wrong costs a failing try, is forgotten by that, and the rest is tried as if nothing were known.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from broker import private_file
from broker.vm import process
from broker.vm.paths import VmPaths

log = logging.getLogger(__name__)

FILE_NAME: Final = "refused.json"
KVM_DEVICE: Final = "/dev/kvm"
CPU_INFO: Final = "/proc/cpuinfo"
_CPU_BYTES: Final = 4096
"""Enough for the first CPU; the kernel would take its time to tell of hundreds."""
_CPU_LINES: Final = ("vendor_id", "cpu family", "model", "stepping", "microcode", "flags")


class Refused:
    """What is known of one host, by the engines' own words (`str(Engine)`).

    Args:
        paths: Of any VM of this broker; its runtime directory exists.
        program: Absolute path of the emulator.
    """

    def __init__(self, paths: VmPaths, program: str) -> None:
        self._path = paths.run.parent / FILE_NAME
        self._host = host_mark(program)

    def recall(self) -> frozenset[str]:
        """Those that failed; empty when nothing is known, or it was of another host."""
        return self._known("engines")

    def proven(self) -> frozenset[str]:
        """Those that held beyond their first second, once."""
        return self._known("proven")

    def remember(self, engines: Collection[str]) -> None:
        """Know these, in place of what was known before; a disk that is full keeps nobody."""
        self._write(engines, self.proven() - frozenset(engines))

    def prove(self, engine: str) -> None:
        """Know that this one holds."""
        self._write(self.recall(), self.proven() | {engine})

    def _known(self, kind: str) -> frozenset[str]:
        try:
            known = json.loads(self._path.read_bytes())
            if known["host"] != self._host:
                return frozenset()
            return frozenset(str(engine) for engine in known[kind])
        except (OSError, ValueError, TypeError, KeyError):
            return frozenset()

    def _write(self, engines: Collection[str], proven: Collection[str]) -> None:
        known = {"host": self._host, "engines": sorted(engines), "proven": sorted(proven)}
        try:
            private_file.write(self._path, json.dumps(known))
        except OSError as exc:
            log.debug("%s: not written: %s", self._path, exc)

    def forget(self) -> None:
        """Know nothing: it has proved wrong."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def host_mark(program: str) -> str:
    """Digest of what decides which engines work: boot, emulator, KVM's device, CPU."""
    facts = [process.boot_id(), program, *map(_status, (program, KVM_DEVICE)), *_cpu(CPU_INFO)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _status(path: str) -> str:
    """What changes when a file is replaced; a device gets a new inode when its module is loaded."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, takes text
    except OSError:
        return ""
    return f"{found.st_dev} {found.st_ino} {found.st_rdev} {found.st_size} {found.st_mtime_ns}"


def _cpu(path: str) -> list[str]:
    """The lines on the first CPU that stay while the host does; its clock rate does not."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            text = file.read(_CPU_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.split("\n\n")[0].splitlines()
    return [line for line in lines if line.split("\t")[0].strip() in _CPU_LINES]
