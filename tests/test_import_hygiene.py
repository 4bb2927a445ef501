"""What a command imports, seen from outside: the price of its start is its imports.

tests/broker/cli/test_imports.py holds the quick commands to it for a local VM; here it is a home
with a sources.yaml, and the commands and processes that no face may hang on to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tui import pages

HEAVY = {
    "alembic", "asyncio", "cryptography", "fastapi", "httpx", "OpenSSL", "prometheus_client",
    "pydantic", "qemu",
    "rich", "sqlalchemy", "sqlmodel", "textual", "yaml",
}  # fmt: skip
"""What costs more than a few milliseconds; the quick commands can do without."""
FACES = {"tui", "textual", "rich"}

REPORT = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\nIMPORTED " + " ".join(sys.modules)))
sys.argv[0] = "broker"
from broker.cli.main import entry
entry()
"""

SOURCES = """
- source: lab
  type: static
  consoles:
    - uuid: 6f4e2c1a-0000-4000-8000-000000000001
      name: web-01
      hypervisor: kvm-1
      hypervisor_ip: 192.0.2.1
      secure_port: 5901
      ticket: not-shown
"""


BEFORE_THE_LIST = """
import os, sys
from tui import __main__ as face
def list_stands():
    with open(sys.argv[1], "w") as file:
        file.write(" ".join(list(sys.modules)) + "\\n")
def no_service():
    from broker.errors import BrokerError
    raise BrokerError("none is wanted here")
face._preload, face._open_service = list_stands, no_service
sys.argv[0] = "broker"
from broker.cli.main import main
main([])
"""
"""What follows the first paint is told of it before anything else is imported."""
NOT_BEFORE_THE_LIST = {
    "alembic", "argparse", "cryptography", "httpx", "pydantic", "qemu", "sources", "sqlalchemy",
    "sqlmodel",
    "yaml", "markdown_it", "pygments", "textual.widgets._text_area", "textual.widgets._markdown",
    "broker.cli.run", "broker.demo", "broker.findings", "broker.guest", "broker.pki",
    "broker.latency", "broker.model.sessions", "broker.provisioning", "broker.service.consoles",
    "broker.service.embedded", "broker.service.port", "broker.tokens", "broker.view",
    "broker.vm", "broker.vv", "tui.forms", "tui.preferences",
    *pages.LATER,
}  # fmt: skip
"""What the first rows do not wait for: other pages, dialogs, forms, and whatever they need."""


def imported(home: Path, *words: str) -> set[str]:
    """The top-level names that `broker WORDS` has imported when it ends."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
        env=env | {"BROKER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, modules = done.stderr.rpartition("\nIMPORTED ")
    assert done.returncode == 0, said
    return {module.partition(".")[0] for module in modules.split()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store knows one console, as after the first look."""
    directory = tmp_path_factory.mktemp("home")
    (directory / "config").mkdir()
    (directory / "config" / "sources.yaml").write_text(SOURCES)
    imported(directory, "list", "--refresh", "--json")
    imported(directory, "export-vv", "web-01", "-o", str(directory / "first.vv"))
    return directory


def test_listing_what_a_file_says_imports_nothing_heavy(home: Path) -> None:
    assert imported(home, "list", "--json") & (HEAVY | FACES | {"sources"}) == set()


def test_exporting_imports_nothing_heavy(home: Path, tmp_path: Path) -> None:
    found = imported(home, "export-vv", "web-01", "-o", str(tmp_path / "web-01.vv"))
    assert found & (HEAVY | FACES | {"sources"}) == set()


@pytest.mark.parametrize(
    "words",
    [("list", "--refresh", "--json"), ("events", "--json"), ("config", "check")],
    ids=" ".join,
)
def test_no_command_but_tui_imports_a_face(home: Path, words: tuple[str, ...]) -> None:
    assert imported(home, *words) & FACES == set()


@pytest.mark.parametrize(
    "module", ["broker.worker", "broker.proxy.relay", "broker.spice.inspector"]
)
def test_what_relays_imports_no_face_and_no_driver(module: str) -> None:
    code = f"import {module}, sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {name.partition(".")[0] for name in done.stdout.split()}
    assert found & (FACES | {"sources", "alembic"}) == set()


def test_a_proxy_without_metrics_pays_nothing_for_them() -> None:
    code = "import broker.worker, broker.runtime.serving, sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prometheus_client" not in done.stdout.split()


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where the interface notes what it has imported when the list stands."""
    return tmp_path / "modules"


@pytest.fixture
def screen(home: Path, told: Path) -> Iterator[int]:
    """The far end of a terminal with the interface on it, which finds no service."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")}
    env |= {"BROKER_HOME": str(home), "TERM": "xterm-256color"}
    far, near = pty.openpty()
    fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    argv = [sys.executable, "-c", BEFORE_THE_LIST, str(told)]
    running = subprocess.Popen(argv, env=env, stdin=near, stdout=near, stderr=near)
    os.close(near)
    yield far
    running.terminate()
    _until(far, lambda _: running.poll() is not None)
    os.close(far)


def test_the_first_rows_wait_for_no_other_page_and_no_form(screen: int, told: Path) -> None:
    _until(screen, lambda seen: b"web-01" in seen)
    _until(screen, lambda _: told.exists() and told.read_text().endswith("\n"))
    modules = set(told.read_text().split())
    assert {"textual.app", "tui.screens.consoles", "broker.runtime.quick"} <= modules
    assert modules & NOT_BEFORE_THE_LIST == set()


@pytest.mark.parametrize(("key", "shows"), [(b"4", b"session.refused"), (b",", b"theme, column")])
def test_a_page_asked_for_before_the_interface_is_there_comes_at_once(
    screen: int, key: bytes, shows: bytes
) -> None:
    os.write(screen, key)
    _until(screen, lambda seen: shows in seen)


def _until(screen: int, holds: Callable[[bytes], bool]) -> None:
    """Read what is written to a terminal until that holds of it."""
    written, limit = b"", time.monotonic() + 50
    while not holds(written):
        assert time.monotonic() < limit, written
        if select.select([screen], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):  # whoever wrote has gone
                written += os.read(screen, 65536)
