from __future__ import annotations

import pytest

from broker.cli import call, commands
from broker.cli.complete import candidates, complete
from broker.errors import StoreError
from broker.model import State
from tests.broker.cli.calling import FakeQuick
from tests.fakes.service import FakeService, console


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    service = FakeService()
    monkeypatch.setattr(call, "runtime_quick", lambda: FakeQuick(service))
    return service


def offered(line: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is offered after a line; its last word is the one that is being typed."""
    assert complete(line.split(" ")) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ex", ["export-vv"]),
        ("v", ["vm"]),
        ("vm st", ["start", "stop"]),
        ("config ", ["path", "show", "check"]),
        ("--ho", ["--home"]),
        ("list --s", ["--source", "--state"]),
        ("vm delete x --y", ["--yes"]),
        ("export-vv --profile r", ["remote-viewer", "ryll"]),
        ("list --state cra", ["crashed"]),
        ("show web", ["web-01", "web-02"]),
        ("export-vv web-01 ", []),
        ("export-vv --ttl 5m web", ["web-01", "web-02"]),
        ("export-vv --ttl ", []),
        ("export-vv x -o ", [":files"]),
        ("--json show dem", ["demo"]),
        ("--home /tmp show dem", ["demo"]),
        ("--log-format json show dem", ["demo"]),
        ("vm start p", []),
        ("vm start d", ["db-01", "demo"]),
        ("open --wait dem", ["demo"]),
        ("run ", [":files"]),
        ("run --accel ", ["auto", "kvm", "tcg"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("sessions ", []),
        ("nonsense ", []),
    ],
)
def test_what_fits_is_offered(
    line: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(line, capsys) == expected


def test_all_commands_are_offered_at_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert offered("", capsys) == list(commands.first_words())


def test_help_comes_after_a_tab_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    complete(["--help-lines", "vm", "sta"])
    assert capsys.readouterr().out == "start\tPower VMs on\n"


def test_a_name_that_two_sources_have_is_offered_in_full(
    stored: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.rows.append(console("demo", "lab", 44))
    assert offered("show here/", capsys) == ["here/demo"]


def test_a_name_that_no_shell_could_take_is_left_out(
    stored: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.rows[:] = [console("evil\nname", "lab", 1, State.RUNNING)]
    assert offered("show ", capsys) == []


def test_trouble_offers_nothing_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise StoreError("no database")

    monkeypatch.setattr(call, "runtime_quick", fail)
    assert offered("show ", capsys) == []
    monkeypatch.setattr(call, "runtime_quick", lambda: None)
    assert list(candidates(["show"], "")) == []
