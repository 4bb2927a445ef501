"""`broker vm edit`: by options, by a file, in an editor."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from broker.cli import diagnostics, vm_edit
from broker.model import MachineSpec, Restart
from tests.broker.cli.calling import called, called_with
from tests.fakes.service import FakeService


def wanted(service: FakeService) -> MachineSpec:
    """What it was asked to become."""
    (spec,) = (args[1] for verb, *args in service.asked if verb == "redefine")
    assert isinstance(spec, MachineSpec)
    return spec


def test_options_are_changed_and_all_else_stays() -> None:
    service = FakeService()
    ran = called("vm edit db-01 -m 2G --restart on-crash --autostart", service)
    assert (ran.code, ran.out) == (0, "db-01 is stopped\n")
    spec = wanted(service)
    assert (spec.name, spec.memory, spec.cpus) == ("db-01", 2048, 1)
    assert (spec.restart, spec.autostart) == (Restart.ON_CRASH, True)


def test_of_one_that_runs_it_is_said_from_when_it_holds() -> None:
    ran = called("vm edit demo --cpus 3", FakeService())
    assert "this holds from its next start" in ran.err


def test_nothing_is_done_where_nothing_changes() -> None:
    service = FakeService()
    ran = called("vm edit db-01 --cpus 1", service)
    assert (ran.code, service.asked) == (0, [])
    assert "is defined so already" in ran.err


def test_a_file_says_all_and_need_not_say_who(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("memory: 512\n")
    service = FakeService()
    assert called_with(["vm", "edit", "db-01", "-f", str(file), "--cpus", "2"], service).code == 0
    spec = wanted(service)
    assert (spec.name, spec.memory, spec.cpus) == ("db-01", 512, 2)
    assert spec.uuid == service.named("db-01").machine.key.uuid


def test_another_uuid_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text("uuid: 6f4e2c1a-0000-4000-8000-0000000000ff\n")
    service = FakeService()
    ran = called_with(["vm", "edit", "db-01", "-f", str(file)], service)
    assert (ran.code, service.asked) == (2, [])
    assert "Leave the uuid out" in ran.err


def test_a_script_has_to_say_what() -> None:
    ran = called("vm edit db-01", FakeService())
    assert ran.code == 2
    assert "broker vm edit db-01 --memory 2G" in ran.err


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_edit, "is_terminal", lambda _: True)
    monkeypatch.setattr(diagnostics, "is_terminal", lambda _: True)


def editor(monkeypatch: pytest.MonkeyPatch, place: Path, code: str) -> None:
    """An editor that does that to `text`; `n` is how often it was opened before."""
    program = place / "editor.py"
    program.write_text(
        "import pathlib, sys\n"
        f"path, count = pathlib.Path(sys.argv[1]), pathlib.Path({str(place / 'count')!r})\n"
        "n = len(count.read_text()) if count.exists() else 0\n"
        "count.write_text('x' * (n + 1))\n"
        "text = path.read_text()\n"
        f"{code}\n"
        "path.write_text(text)\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} '{program}'")


@pytest.mark.usefixtures("at_a_terminal")
def test_what_is_wrong_in_the_editor_is_said_and_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mend = "wrong, right = ('memroy', 'memory') if n else ('memory: 1024', 'memroy: 99')"
    mend += "\ntext = text.replace(wrong, right)"
    editor(monkeypatch, tmp_path, mend)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    service = FakeService()
    ran = called("vm edit db-01", service)
    assert (ran.code, wanted(service).memory) == (0, 99)
    assert "Did you mean memory?" in ran.err


@pytest.mark.usefixtures("at_a_terminal")
def test_what_is_not_mended_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "text = 'memory: [' ")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    service = FakeService()
    ran = called("vm edit db-01", service)
    assert (ran.code, service.asked) == (2, [])
    assert "stays as it was" in ran.err


@pytest.mark.usefixtures("at_a_terminal")
def test_an_editor_that_fails_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor(monkeypatch, tmp_path, "sys.exit(3)")
    service = FakeService()
    ran = called("vm edit db-01", service)
    assert (ran.code, service.asked) == (2, [])
    assert "ended with code 3" in ran.err
