"""A TPM 2.0 for a VM: the program swtpm, one per run, ended by the end of its QEMU.

swtpm ends when QEMU hangs up, so it needs no looking after. One whose QEMU never came is ended by
the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from broker.errors import VmStartFailed
from broker.vm import process
from broker.vm.paths import VmPaths, cannot_use, make_private
from broker.vm.process import Process

SWTPM: Final = "swtpm"
START_SECONDS: Final = 30.0
END_SECONDS: Final = 5.0
LOG_NAME: Final = "tpm.log"


async def start_tpm(name: str, paths: VmPaths, env: Mapping[str, str]) -> None:
    """Have a fresh swtpm waiting for QEMU at `paths.tpm`; the VM's lock is held.

    Raises:
        VmStartFailed: It is not installed, or will not start: its own words.
        StoreError: Its directory cannot be made.
    """
    program = shutil.which(SWTPM)
    if program is None:
        raise VmStartFailed(
            f"{name}: it has a TPM, and {SWTPM} is not installed",
            fix="Install it: apt install swtpm, dnf install swtpm; or leave out tpm",
        )
    if "," in f"{paths.tpm_state}{paths.run}":  # its options know no escape for one
        raise VmStartFailed(
            f"{name}: {SWTPM} takes no path with a comma: {paths.tpm_state}, {paths.run}",
            fix="Set BROKER_HOME to another place, or leave out tpm",
        )
    await end_tpm(paths)
    make_private(paths.tpm_state.parent)
    make_private(paths.tpm_state)
    log = paths.run / LOG_NAME
    command = [
        *(program, "socket", "--tpm2", "--terminate", "--daemon"),
        *("--tpmstate", f"dir={paths.tpm_state}"),
        *("--ctrl", f"type=unixio,path={paths.tpm},mode=0600"),
        *("--pid", f"file={paths.tpm_pid}"),
    ]
    code = await asyncio.to_thread(_run, command, log, env)
    if code:
        words = " ".join(log.read_text("utf-8", "replace").split())[-300:]
        raise VmStartFailed(
            f"{name}: its TPM does not start ({SWTPM} ended with {code}): {words}",
            fix=f"Its memory is in {paths.tpm_state}; to begin with a new one, move that away",
        )


async def end_tpm(paths: VmPaths) -> None:
    """End what is left of an earlier swtpm; nobody uses it, for QEMU is not running."""
    found = find(paths)
    if found is not None:
        process.send(found, signal.SIGTERM)
        if not await process.wait_gone(found, END_SECONDS):
            process.send(found, signal.SIGKILL)
            await process.wait_gone(found, END_SECONDS)
    for path in (paths.tpm, paths.tpm_pid):
        with contextlib.suppress(OSError):
            path.unlink()


def find(paths: VmPaths) -> Process | None:
    """The swtpm of that VM, known by its pidfile and by the socket on its command line."""
    try:
        pid = int(paths.tpm_pid.read_text("ascii"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return process.of_pid(pid) if os.fsencode(f"path={paths.tpm},") in words else None


def _run(command: list[str], log: Path, env: Mapping[str, str]) -> int:
    """Its exit code once it waits for QEMU in the background, or has given up."""
    try:
        with log.open("wb") as said:
            log.chmod(0o600)
            return subprocess.run(  # noqa: S603 - argv is built by us, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=dict(env),
                start_new_session=True,
                timeout=START_SECONDS,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    except OSError as exc:
        raise cannot_use(Path(exc.filename or log), exc) from exc
