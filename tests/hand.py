"""QEMUs that somebody started by hand, for tests of what looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

BINARY = "qemu-system-x86_64"
BARE = ("-machine", "none", "-nodefaults", "-display", "none")
"""No machine at all: up in a moment, and its monitor and SPICE server are real."""
TICKET = "sesame-of-tests"
SECONDS = 60.0


@dataclass(frozen=True)
class ByHand:
    """One that runs."""

    pid: int
    directory: Path

    @property
    def lives(self) -> bool:
        """Whether its process runs; a zombie does not."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def signalled(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP, and it answers nothing."""
        os.kill(self.pid, number)


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """For sockets, whose paths are short."""
    made = Path(tempfile.mkdtemp(prefix="cbh", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.asynccontextmanager
async def by_hand(
    directory: Path, *arguments: str, ready: Path | int | None = None
) -> AsyncIterator[ByHand]:
    """`qemu-system-x86_64 ARGUMENTS` until the body ends.

    Args:
        ready: A unix socket or a TCP port of it; waited for.
    """
    process = await asyncio.create_subprocess_exec(
        BINARY,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=directory,
    )
    try:
        await _until_ready(process, ready)
        yield ByHand(process.pid, directory)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # at once, not when collected


async def _until_ready(process: asyncio.subprocess.Process, ready: Path | int | None) -> None:
    """Nothing tells when another program listens, so it is tried."""
    async with asyncio.timeout(SECONDS):
        while ready is not None and not listens(ready):
            assert process.returncode is None, "QEMU ended at once"
            await asyncio.sleep(0.01)


def listens(place: Path | int) -> bool:
    """Whether somebody does, at a unix socket or a TCP port of this host."""
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family) as end:
        end.settimeout(SECONDS)
        try:
            end.connect(("127.0.0.1", place) if isinstance(place, int) else str(place))
        except OSError:
            return False
        return True


def certificates(directory: Path, **validity: object) -> trustme.CA:
    """What `x509-dir=DIRECTORY` takes, for O=Lab, CN=node1."""
    ca = trustme.CA()
    leaf = ca.issue_cert(
        "node1.lab",
        organization_name="Lab",
        common_name="node1",
        **validity,  # type: ignore[arg-type]  # not_before and not_after
    )
    ca.cert_pem.write_to_path(str(directory / "ca-cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "server-key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "server-cert.pem"))
    return ca
