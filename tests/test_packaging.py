"""What gets installed: everything that runs, nothing that does not, and locks that name no host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def run(*argv: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program, its stderr in the failure.

    Raises:
        AssertionError: It ended with another code than 0.
    """
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env=env, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built by the locked backend."""
    out = tmp_path_factory.mktemp("dist")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", out, ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with that wheel in it; what it depends on is borrowed from ours."""
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = venv.glob("lib/python3*/site-packages")
    # A directory named in a .pth file is searched, but its own .pth files are not read, so the
    # editable install of this checkout stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


def outside(home: Path) -> dict[str, str]:
    """An environment that does not lead back to this checkout."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COV"))
    }
    return kept | {"BROKER_HOME": str(home), "NO_COLOR": "1"}


def test_the_wheel_holds_every_file_of_the_three_wings(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = run("git", "-C", ROOT, "ls-files", "broker", "tui", "sources").splitlines()
    assert set(tracked) <= inside
    assert {name.partition("/")[0] for name in inside} == {"broker", "tui", "sources"}


@pytest.mark.parametrize("kind", ["*/migrations/versions/*.py", "*.tcss", "broker/demo/*.img"])
def test_the_wheel_holds_what_is_not_code(wheel: Path, kind: str) -> None:
    assert [name for name in zipfile.ZipFile(wheel).namelist() if Path(name).match(kind)]


def test_an_installed_wheel_says_its_version(installed: Path, broker_home: Path) -> None:
    said = run(installed / "bin" / "broker", "--version", env=outside(broker_home))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert said == f"broker {project['version']}\n"


def test_an_installed_wheel_makes_its_database_and_finds_its_drivers(
    installed: Path, broker_home: Path
) -> None:
    said = run(
        installed / "bin" / "broker", "list", "--refresh", "--json", env=outside(broker_home)
    )
    assert said.strip() == "[]"


def test_an_installed_wheel_runs_its_own_code(installed: Path, broker_home: Path) -> None:
    where = run(
        installed / "bin" / "python",
        "-P",
        "-c",
        "import broker, tui.app, sources.static; print(broker.__file__)",
        env=outside(broker_home),
    )
    assert Path(where.strip()).is_relative_to(installed)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_exact_versions_with_hashes_and_no_host(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    allowed = re.compile(r"[a-z0-9._-]+==\S+( ; [^/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not allowed.fullmatch(line)] == []


def test_what_runs_is_the_same_version_under_test() -> None:
    pinned = {
        lock.stem: dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE))
        for lock in LOCKS
    }
    assert pinned["run"].items() <= pinned["dev"].items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=~;\[ ]", line)[0] for line in project["dependencies"]}
    locked = (ROOT / "requirements" / "run.txt").read_text()
    assert [name for name in wanted if f"\n{name.replace('.', '-')}==" not in f"\n{locked}"] == []


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A place with `.ci/system-packages` alone, where apt brings nothing and Python is slow."""
    fakes = {
        "find-python": '[ "${1:-}" != quick ] && echo "$0.found"',
        "find-python.found": "exit 1",
        "id": "echo 0",
        "apt-get": "exit 1",
    }
    for name, script in fakes.items():
        fake(tmp_path / name, script)
    shutil.copy(ROOT / ".ci" / "system-packages", tmp_path)
    return tmp_path


def fake(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o700)


def beside(bare: Path) -> dict[str, str]:
    path = f"{bare}:{os.environ['PATH']}"
    return outside(bare) | {"PATH": path, "VENV": str(bare / "venv")}


@pytest.mark.parametrize("comes", [False, True])
def test_a_quicker_python_is_wished_for_and_not_insisted_on(bare: Path, *, comes: bool) -> None:
    if comes:
        fake(bare / "apt-get", "exit 0")
    run(bare / "system-packages", "python", env=beside(bare))


def test_the_headers_of_a_python_that_is_not_used_are_not_missed(bare: Path) -> None:
    words = (bare / "system-packages", "test")
    (bare / "venv" / "bin").mkdir(parents=True)
    without = subprocess.run(words, env=beside(bare), capture_output=True, text=True, check=False)
    fake(bare / "venv" / "bin" / "python", "exit 0")
    made = subprocess.run(words, env=beside(bare), capture_output=True, text=True, check=False)
    assert "the headers of Python" in without.stderr
    assert "the headers of Python" not in made.stderr
