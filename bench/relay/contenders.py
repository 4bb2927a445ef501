"""What stands between the fake viewer and the fake server, each as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import clean_env
from bench.relay.build import ToolMissing
from broker.clock import SystemClock
from broker.pki import ensure_identity

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30.0
END_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to the server that is being measured.

    Attributes:
        tls: Whether viewers speak TLS with it.
        pids: The processes whose CPU time and memory count; none for the direct way.
        token: Draws the password a fresh run of the client shows.
    """

    name: str
    port: int
    tls: bool
    pids: tuple[int, ...]
    token: Callable[[], str] = lambda: "bench"


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    descriptors: Sequence[int] = (),
    *,
    heard: bool = True,
) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with us, by its own id.

    Args:
        log: Where its errors go, and all that it says when it is not `heard`.
        heard: Its output is a pipe; one that nobody reads fills up, and stops who writes to it.
    """
    with contextlib.ExitStack() as opened:
        errors = opened.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if heard else errors,
            stderr=errors,
            text=True,
            env=None if env is None else dict(env),
            pass_fds=descriptors,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} said nothing and ended with {process.wait()}")
    return line


@contextlib.contextmanager
def server(program: Path) -> Iterator[tuple[int, int]]:
    """The fake server: its port and its process id."""
    with running([str(program)]) as process:
        yield int(first_line(process)), process.pid


@contextlib.contextmanager
def direct(backend: int) -> Iterator[Contender]:
    """No proxy and no TLS."""
    yield Contender("direct", backend, tls=False, pids=())


def certificate(work: Path) -> Path:
    """The key and certificate that all proxies show: ours, as the broker makes it."""
    directory = work / "pki"
    directory.mkdir(exist_ok=True)
    return ensure_identity(directory, (), SystemClock()).server_path


def _listening(*, backlog: int = 4096) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with contextlib.suppress(OSError):  # what it accepts inherits it; see load.h
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    return listener


HAPROXY = """\
global
    nbthread 1
    maxconn 4000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
frontend viewers
    bind fd@{fd} ssl crt {pem}
    default_backend spice
backend spice
    server fake 127.0.0.1:{backend}
"""


def haproxy_program() -> str:
    """Its path; packages put it where only root looks.

    Raises:
        ToolMissing: It is not installed.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    program = shutil.which("haproxy", path=path)
    if program is None:
        raise ToolMissing("haproxy")
    return program


@contextlib.contextmanager
def haproxy(backend: int, work: Path) -> Iterator[Contender]:
    """HAProxy, TLS towards viewers, one thread; it looks at nothing.

    Raises:
        ToolMissing: It is not installed.
    """
    program = haproxy_program()
    with _listening() as listener:
        listener.setblocking(False)
        config = work / "haproxy.cfg"
        config.write_text(
            HAPROXY.format(fd=listener.fileno(), pem=certificate(work), backend=backend)
        )
        argv = [program, "-db", "-f", str(config)]
        with running(argv, log=work / "haproxy.log", descriptors=[listener.fileno()]) as process:
            port = listener.getsockname()[1]
            until_answered(port, process)
            yield Contender("HAProxy", port, tls=True, pids=(process.pid,))


def until_answered(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until TLS is spoken; the socket itself listens from the start."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 2) as sock,
            context.wrap_socket(sock),
        ):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer")


@contextlib.contextmanager
def ours(
    backend: int, work: Path, *, name: str = "ours", workers: int = 1, tree: Path = ROOT
) -> Iterator[Contender]:
    """Our proxy in worker processes, with `bench.relay.worker`'s gate of memory.

    Args:
        tree: Directory whose `broker` package is measured; a copy of it can be set beside it.
    """
    env = clean_env(PYTHONPATH=os.pathsep.join((str(tree), str(ROOT))))
    # By its path: a tree may bring a `bench` of its own.
    argv = [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))]
    with _listening() as listener, contextlib.ExitStack() as held:
        descriptor = listener.fileno()
        argv += ["--fd", str(descriptor), "--backend", str(backend)]
        argv += ["--pem", str(certificate(work))]
        places = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="cb-bench-")))
        processes = []
        for number in range(workers):
            place = ["--place", f"{number}:{places}"] if workers > 1 else []
            log = work / f"{name}.log"
            processes.append(held.enter_context(running([*argv, *place], env, log, [descriptor])))
        for process in processes:
            first_line(process)
        pids = tuple(process.pid for process in processes)
        yield Contender(name, listener.getsockname()[1], tls=True, pids=pids)


BROKER = (sys.executable, "-P", "-c", "from broker.cli.main import entry; entry()")
SOURCES = """\
- source: bench
  type: static
  consoles:
    - uuid: 6f4e2c1a-0000-4000-8000-0000000000be
      name: fake
      hypervisor: localhost
      hypervisor_ip: 127.0.0.1
      insecure_port: {backend}
      ticket: bench
"""


@contextlib.contextmanager
def broker_serve(backend: int, work: Path, *, workers: int = 1) -> Iterator[Contender]:
    """The whole of `broker serve`, with its store; every client run brings a token of its own."""
    home = work / f"home-{workers}"
    env = clean_env(BROKER_HOME=str(home), BROKER_PROXY_WORKERS=str(workers), PYTHONPATH=str(ROOT))
    sources = Path(_broker(env, "config", "path", "--json")["sources_yaml"])
    sources.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sources.write_text(SOURCES.format(backend=backend))
    sources.chmod(0o600)

    def token() -> str:
        said = subprocess.run(
            [*BROKER, "export-vv", "fake", "-o", "-"],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return next(
            line.partition("=")[2] for line in said.splitlines() if line.startswith("password=")
        )

    argv = [*BROKER, "serve", "--tls-port", "0", "--json"]
    with running(argv, env, work / "serve.log") as process:
        status = json.loads(first_line(process))
        end = time.monotonic() + START_SECONDS
        while len(status["workers"]) < workers and time.monotonic() < end:
            time.sleep(0.1)
            status = _broker(env, "status", "--json")
        yield Contender(
            "broker serve", status["tls_port"], tls=True, pids=tuple(status["workers"]), token=token
        )


def _broker(env: Mapping[str, str], *words: str) -> dict[str, Any]:
    ran = subprocess.run(
        [*BROKER, *words], env=dict(env), capture_output=True, text=True, check=True
    )
    document: dict[str, Any] = json.loads(ran.stdout)
    return document
