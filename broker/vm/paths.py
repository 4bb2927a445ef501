"""Where the files of one VM live, and whether those places are fit to be used.

The runtime directory holds what dies with a run (sockets, pidfile) and the logs; it is named by
a short digest of the uuid, because unix socket paths are limited to 107 bytes. The data directory
is named for the VM and holds what is durable.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from broker.errors import StoreError
from broker.model import MachineId

MAX_SOCKET_PATH: Final = 107
"""Bytes; `sun_path` has 108 and QEMU wants the last one to be zero."""


@dataclass(frozen=True, slots=True)
class VmPaths:
    """The places of one VM. Making one touches nothing.

    Attributes:
        run: `runtime_dir/vms/<12 hex digits>`.
        data: `data_dir/vms/NAME`.
    """

    run: Path
    data: Path

    @classmethod
    def of(cls, runtime_dir: Path, data_dir: Path, name: str, uuid: MachineId) -> Self:
        """The places of the VM called `name`; hand-made uuids that look alike do not collide."""
        short = hashlib.sha256(uuid.encode()).hexdigest()[:12]
        return cls(run=runtime_dir / "vms" / short, data=data_dir / "vms" / name)

    @property
    def qmp(self) -> Path:
        """The monitor that is asked for states and told to stop."""
        return self.run / "qmp.sock"

    @property
    def ctl(self) -> Path:
        """The monitor that channels are handed over by, and nothing else."""
        return self.run / "ctl.sock"

    @property
    def evt(self) -> Path:
        """The monitor that one broker stays at, to hear of events at once."""
        return self.run / "evt.sock"

    @property
    def exit(self) -> Path:
        """How the last QEMU ended, written by the shell that waited for it."""
        return self.run / "exit"

    @property
    def serial(self) -> Path:
        """COM1, both ways; one client at a time."""
        return self.run / "serial.sock"

    @property
    def serial_lock(self) -> Path:
        """Held by the one who may type on COM1, with their name in it."""
        return self.run / "serial.lock"

    @property
    def vnc(self) -> Path:
        """VNC, of a VM without SPICE."""
        return self.run / "vnc.sock"

    @property
    def tpm(self) -> Path:
        """Where swtpm listens for its QEMU."""
        return self.run / "tpm.sock"

    @property
    def tpm_pid(self) -> Path:
        """The pidfile of that swtpm."""
        return self.run / "tpm.pid"

    @property
    def seed(self) -> Path:
        """The image that cloud-init reads; made at each start, it may hold secrets."""
        return self.run / "seed.iso"

    @property
    def pid(self) -> Path:
        """QEMU's pidfile: locked by QEMU while it lives, removed by it when it ends well."""
        return self.run / "pid"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the VM, for as long as that takes."""
        return self.run / "lock"

    @property
    def running(self) -> Path:
        """What we know of the current or last run: process, accelerator, exit code."""
        return self.run / "run.json"

    @property
    def qemu_log(self) -> Path:
        """What QEMU printed in the current or last run; the run before is kept as `qemu.log.1`."""
        return self.run / "qemu.log"

    @property
    def serial_log(self) -> Path:
        """What the guest wrote to COM1 in the current or last run; `serial.log.1` before that."""
        return self.run / "serial.log"

    @property
    def uefi_vars(self) -> Path:
        """The VM's own copy of the UEFI variables."""
        return self.data / "uefi-vars.fd"

    @property
    def secure_uefi_vars(self) -> Path:
        """The same for secure boot: with the keys that it trusts."""
        return self.data / "uefi-vars-secure.fd"

    @property
    def tpm_state(self) -> Path:
        """The directory of the TPM's memory."""
        return self.data / "tpm"

    def check_lengths(self) -> None:
        """See that every socket fits.

        Raises:
            StoreError: The runtime directory is too deep in the file system.
        """
        longest = max(
            (self.qmp, self.ctl, self.evt, self.serial), key=lambda path: len(os.fsencode(path))
        )
        if (length := len(os.fsencode(longest))) > MAX_SOCKET_PATH:
            raise StoreError(
                f"The path of a VM's socket would be {length} bytes, and Unix allows"
                f" {MAX_SOCKET_PATH}: {longest}",
                fix="Choose a shorter runtime directory: set XDG_RUNTIME_DIR or BROKER_HOME",
            )

    def prepare(self) -> None:
        """Make the runtime directory, private to us, and see that it can be used.

        Raises:
            StoreError: It is not ours, others may enter it, its path is too long, or the file
                system is read-only or full.
        """
        self.check_lengths()
        make_private(self.run.parent)
        make_private(self.run)


def make_private(directory: Path) -> None:
    """Make `directory` with mode 0700, or see that what is there is ours alone.

    Raises:
        StoreError: It cannot be made, or is somebody else's, or is open to others.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as exc:
        raise cannot_use(directory, exc) from exc
    if not stat.S_ISDIR(found.st_mode):
        raise StoreError(
            f"{directory} is not a directory", fix="Move it away; the broker makes its own"
        )
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"{directory} belongs to user {found.st_uid}, not to us (user {os.geteuid()})",
            fix="Remove it as that user, or set XDG_RUNTIME_DIR or BROKER_HOME to a place of ours",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StoreError(
            f"{directory} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})",
            fix=f"Close it: chmod 700 {directory}",
        )


def cannot_use(path: Path, problem: OSError) -> StoreError:
    """An operating system's no to using `path`, with what to do about it."""
    fixes = {
        errno.ENOSPC: "Free some space on that file system",
        errno.EDQUOT: "Free some space: your quota is used up",
        errno.EROFS: "That file system is read-only; remount it, or set BROKER_HOME elsewhere",
        errno.EACCES: "Take its ownership, or set BROKER_HOME to a place of ours",
        errno.EPERM: "Take its ownership, or set BROKER_HOME to a place of ours",
        errno.ENOTDIR: "A part of that path is a file; move it away",
        errno.EEXIST: "Move it away; the broker makes its own",
    }
    why = problem.strerror or str(problem)
    return StoreError(
        f"{path} cannot be used: {why}",
        fix=fixes.get(problem.errno or 0, "Look at that path, and at the disk under it"),
    )
