"""What a command imports is what its user waits for."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from broker.cli.main import main

HEAVY = (
    "alembic", "asyncio", "httpx", "pydantic", "qemu", "sources", "sqlalchemy", "sqlmodel", "ssl",
    "textual", "tui", "yaml",
)  # fmt: skip
CODE = """
import json, os, sys
from broker.cli.main import main
code = main(json.loads(sys.argv[1]))
heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2])))
print(json.dumps([code, heavy, sorted(sys.modules)]), file=os.fdopen(3, "w"))
"""


def imported_by(*words: str) -> tuple[int, list[str], list[str]]:
    """The exit code of a command in a process of its own, and what it imported."""
    read, write = os.pipe()
    arguments = [json.dumps(words), json.dumps(HEAVY)]
    try:
        ran = subprocess.run(
            ["bash", "-c", f'exec "$@" 3>&{write}', "bash", sys.executable, "-c", CODE, *arguments],
            capture_output=True,
            pass_fds=(write,),
            timeout=120,
            check=True,
        )
    finally:
        os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    assert text, ran.stderr
    code, heavy, everything = json.loads(text)
    return code, heavy, everything


@pytest.fixture
def a_stored_demo(capfd: pytest.CaptureFixture[str]) -> None:
    """A database that the fast path can answer from."""
    assert main(["vm", "define", "demo"]) == 0
    assert main(["export-vv", "demo", "-o", "-"]) == 0
    capfd.readouterr()


@pytest.mark.usefixtures("a_stored_demo")
@pytest.mark.parametrize(
    "words",
    [
        ["list", "--json"],
        ["list"],
        ["vm", "list", "--json"],
        ["export-vv", "demo", "-o", "-"],
        ["__complete", "show", "d"],
    ],
    ids=" ".join,
)
def test_the_fast_path_imports_nothing_heavy(words: list[str]) -> None:
    code, heavy, everything = imported_by(*words)
    assert (code, heavy) == (0, [])
    assert "broker.model.local" not in everything


@pytest.mark.usefixtures("a_stored_demo")
@pytest.mark.parametrize("words", [["list"], ["export-vv", "demo", "-o", "-"], ["sources"]])
def test_a_slip_in_a_variable_is_said_on_the_fast_path_as_on_the_full_one(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER_PROXY_WORKRES", "2")
    assert main(words) == 0
    slip = "BROKER_PROXY_WORKRES sets nothing. Did you mean BROKER_PROXY_WORKERS?"
    assert capfd.readouterr().err.count(f"broker: {slip}\n") == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["lst"], 2),
        (["vm"], 2),
        (["__complete", "vm", ""], 0),
        (["status"], 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_needs_no_console_imports_nothing_heavy(words: list[str], code: int) -> None:
    assert imported_by(*words)[:2] == (code, [])


@pytest.mark.parametrize("words", [["--help"], ["lst"], ["__complete", "ex"]], ids=" ".join)
def test_help_completion_and_offers_import_no_command(words: list[str]) -> None:
    from broker.cli import commands

    _, _, everything = imported_by(*words)
    modules = {command.target.partition(":")[0] for command in commands.COMMANDS}
    assert not modules & set(everything)
