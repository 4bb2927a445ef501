"""A real sshd of our own: on loopback, with keys of its own, letting one key in.

It runs as who runs the tests. Started from root it has the commands that it is asked for run by
`nobody`, whose libvirt daemon they are meant for (`tests.virtd`).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.broker.proxy.qemu import free_port
from tests.virtd import NOBODY

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SEPARATION = Path("/run/sshd")
"""Where a privileged sshd locks its other half in; the system makes it for its own. It stays, for
another test's may be in it."""


@dataclass(frozen=True)
class Sshd:
    """A server that runs.

    Attributes:
        key: The private key that it lets in.
        command: Runs ssh as this server is to be reached, for `command=` of a URI.
    """

    root: Path
    port: int
    key: Path
    command: Path
    process: subprocess.Popen[bytes]

    @property
    def where(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection; new ones are let in."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def forget_host(self) -> None:
        """Have nobody know its key any more."""
        (self.root / "known").write_text("")


@contextlib.contextmanager
def running_sshd(environment: Mapping[str, str]) -> Iterator[Sshd]:
    """One until the body ends, whose commands have that environment."""
    assert SSHD is not None
    root = Path(tempfile.mkdtemp(prefix="sd"))
    try:
        port = free_port()
        _prepare(root, port, environment)
        if os.getuid() == 0:
            SEPARATION.mkdir(mode=0o755, exist_ok=True)
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(root / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        server = Sshd(root, port, root / "user", root / "ssh", process)
        try:
            said = process.stderr.readline()
            assert b"listening" in said, said + process.stderr.read()
            yield server
        finally:
            server.cut()
            process.terminate()
            process.communicate()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _prepare(root: Path, port: int, environment: Mapping[str, str]) -> None:
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)]
        subprocess.run(command, check=True)
    host, user = ((root / f"{name}.pub").read_text() for name in ("host", "user"))
    (root / "authorized").write_text(user)
    (root / "known").write_text(f"[127.0.0.1]:{port} {host}")
    variables = " ".join(f"{name}={value}" for name, value in environment.items())
    who = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups " if not os.getuid() else ""
    (root / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {root}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {root}/authorized\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f'ForceCommand exec {who}env {variables} sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    (root / "ssh").write_text(
        f"#!/bin/sh\nexec ssh -F none -o UserKnownHostsFile={root}/known "
        '-o GlobalKnownHostsFile=none -o IdentitiesOnly=yes -o IdentityAgent=none "$@"\n'
    )
    (root / "ssh").chmod(0o700)
