"""What a command imports, seen from outside: the price of its start is its imports.

tests/broker/cli/test_imports.py holds the quick commands to it for a local VM; here it is a home
with a sources.yaml, and the commands and processes that no face may hang on to.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
