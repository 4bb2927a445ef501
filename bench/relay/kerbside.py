"""kerbside-proxy, the Rust program, as a contender: fetched, started, given a control plane."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

from bench.measure import clean_env
from bench.relay.contenders import Contender, certificate, first_line, running, until_answered
from broker.pki import read_identity

NAME = "kerbside-proxy"
VERSION = "0.8.0"
PACKAGES = (f"kerbside=={VERSION}", f"kerbside-proxy=={VERSION}")
NEEDED = ("grpcio==1.84.0", "protobuf==7.36.2", "typing-extensions")
"""What its generated messages ask for; the rest of kerbside (web, database) is not wanted."""
INSTALL_SECONDS = 300.0
PIDFD_GETFD = 438
"""The system call's number, the same on every machine; `os` has no name for it."""


class NotToBeHad(Exception):
    """It cannot be installed here; the text says why."""


def fetch(out: Path) -> Path:
    """An environment below `out` with the program and what speaks to it; made when it is missing.

    Raises:
        NotToBeHad: No package index, or no wheel for this machine.
    """
    home = out / f"kerbside-{VERSION}"
    complete = home / "complete"
    if complete.exists():
        return home
    venv.create(home, with_pip=True, clear=True)
    install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    for words in (("--no-deps", *PACKAGES), NEEDED):
        argv = [*install, "--only-binary=:all:", *words]
        try:
            ran = subprocess.run(
                argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise NotToBeHad(f"pip took longer than {INSTALL_SECONDS:g} s") from exc
        if ran.returncode:
            raise NotToBeHad(ran.stderr.strip().rpartition("\n")[2])
    complete.touch()
    return home


@contextlib.contextmanager
def proxy(backend: int, work: Path, home: Path, *, ticket: str = "bench") -> Iterator[Contender]:
    """It, as it is by default, beside a control plane that answers at once.

    Only the proxy's processor time and memory count, not the control plane's. Its runtime has as
    many threads as there are CPUs, on one CPU too: with one thread it is no better there, and
    half as quick with small messages.

    Args:
        ticket: The server's password.
    """
    pem, place, log = certificate(work), work / "kerbside.sock", work / "kerbside.log"
    identity = read_identity(pem.parent)
    assert identity is not None
    place.unlink(missing_ok=True)
    control = Path(__file__).with_name("kerbside_control.py")
    asked = [str(home / "bin" / "python"), "-P", str(control), str(place), str(backend)]
    port, plain, metrics = _free_ports(3)
    argv = [str(home / "bin" / NAME), "--vdi-address", "127.0.0.1", "--api-socket", str(place)]
    argv += ["--secure-port", str(port), "--insecure-port", str(plain)]
    argv += ["--prometheus-port", str(metrics), "--cert", str(pem), "--cert-key", str(pem)]
    argv += ["--cacert", str(identity.ca_path), "--host-subject", identity.host_subject]
    with running(asked, log=log) as answers:
        assert answers.stdin is not None
        answers.stdin.write(f"{ticket}\n")
        answers.stdin.flush()
        first_line(answers)
        with running(argv, clean_env(), log, heard=False) as process:
            until_answered(port, process)
            _cubic(process.pid, port)
            yield Contender(NAME, port, tls=True, pids=(process.pid,))


def _free_ports(count: int) -> list[int]:
    """It cannot be handed a listening socket; somebody else may take them first."""
    with contextlib.ExitStack() as held:
        socks = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


def _cubic(pid: int, port: int) -> None:
    """Congestion control of what it will accept, as the others' listeners have it; see load.h.

    It has no option for that, so it is set from outside, on a duplicate of its socket.
    """
    handle = os.pidfd_open(pid)
    call = ctypes.CDLL(None, use_errno=True).syscall
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                kind = str(entry.readlink())
            except FileNotFoundError:  # closed since
                continue
            ours = call(PIDFD_GETFD, handle, int(entry.name), 0) if "socket:" in kind else -1
            if ours < 0:
                continue
            with socket.socket(fileno=ours) as sock:
                if sock.family == socket.AF_INET and sock.getsockname()[1] == port:
                    with contextlib.suppress(OSError):  # no such module in this kernel
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    finally:
        os.close(handle)
