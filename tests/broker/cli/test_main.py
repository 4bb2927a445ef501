from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest

import broker
from broker.cli import commands, main
from broker.cli.args import Verb
from broker.cli.diagnostics import Exit
from broker.errors import BrokerError, NotFound
from tests.broker.cli.calling import called_with
from tests.fakes.service import FakeService
from tui.__main__ import TuiOptions

BROKER = (sys.executable, "-c", "from broker.cli.main import entry; entry()")


def started(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BROKER, *words], capture_output=True, text=True, input=stdin, timeout=120, check=False
    )


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_that_was_asked_for_is_data(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*words]) == 0
    shown = capsys.readouterr()
    assert all(command.words in shown.out for command in commands.COMMANDS)
    assert all(f"{code.value:>3}  " in shown.out for code in Exit)
    assert shown.err == ""


def test_without_a_terminal_and_a_command_the_help_is_talk() -> None:
    ran = started()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "commands:" in ran.stderr


@pytest.mark.parametrize("words", [["vm"], ["config"]])
def test_a_group_alone_shows_its_verbs(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{words[0]} " in shown.err
    assert main.main([*words, "--help"]) == 0


def test_the_version_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"broker {broker.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "Did you mean list?"),
        (["exprot-vv"], "Did you mean export-vv?"),
        (["xyzzy"], "broker --help"),
        (["vm", "strat"], "Did you mean start?"),
        (["vm", "xyzzy"], "broker vm --help"),
        (["--jsno", "list"], "Did you mean --json?"),
        (["--home"], "--home needs a directory"),
        (["--log-format", "jsno", "list"], "Did you mean json?"),
        (["list", "--sauce", "x"], "Did you mean --source?"),
        (["list", "--source"], "expected one argument"),
        (["list", "surplus"], "one argument too many"),
    ],
)
def test_a_slip_of_the_fingers_exits_with_2_and_offers_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_an_error_is_one_object_when_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["lst", "--json"]) == 2
    assert json.loads(capsys.readouterr().err) == {
        "error": "usage",
        "what": "'lst' is not a command",
        "fix": "Did you mean list?",
    }


@pytest.mark.parametrize("command", [command.words for command in commands.COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: broker {command}")
    assert shown.err == ""


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.words)
def test_the_table_and_the_parsers_know_the_same_options(command: commands.Command) -> None:
    from broker.cli.args import Parser

    verb = main.load(command)
    assert isinstance(verb, Verb)
    parser = Parser(command.words, command.help)
    verb.arguments(parser)
    assert set(parser.option_names()) - set(commands.COMMON_OPTIONS) == set(command.options)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (NotFound("no"), 3),
        (KeyboardInterrupt(), 130),
        (SystemExit(0), 0),
        (ExceptionGroup("several", [NotFound("no")]), 3),
        (ZeroDivisionError("x"), 1),
        (ExceptionGroup("several", [NotFound("no"), ZeroDivisionError("x")]), 1),
    ],
    ids=["ours", "ctrl-c", "argparse", "group", "bug", "group with a bug"],
)
def test_whatever_happens_has_its_exit_code(
    problem: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise problem

    monkeypatch.setattr(main, "_dispatch", fail)
    assert main.main(["list"]) == code


def test_a_bug_says_that_it_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(main, "_dispatch", fail)
    main.main(["list", "--json"])
    document = json.loads(capsys.readouterr().err)
    assert document["error"] == "internal"
    assert document["what"] == "ZeroDivisionError: by nothing"


@pytest.mark.parametrize("words", [["--home", ""], ["--home="]], ids=" ".join)
def test_an_empty_home_is_not_the_real_one(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*words, "list"]) == Exit.USAGE
    assert "--home needs a directory" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["show", "\udcff"], ["disconnect", "\udcff"]], ids=repr)
def test_a_word_that_is_not_utf_8_is_the_fault_of_the_words(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == Exit.USAGE
    assert "is not text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--log-format", "json"], ["--log-format=json"]], ids=" ".join)
def test_the_form_of_the_log_may_stand_before_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*words, "config", "path", "database"]) == Exit.DONE
    assert capsys.readouterr().out.endswith("broker.db\n")


def test_home_moves_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["--home", str(tmp_path), "config", "path", "database"])
    assert capsys.readouterr().out == f"{tmp_path}/state/broker.db\n"


def caught(monkeypatch: pytest.MonkeyPatch) -> list[Namespace]:
    """What commands are called with, instead of running them."""
    seen: list[Namespace] = []

    def call(verb: Verb, args: Namespace) -> int:
        del verb
        seen.append(args)
        return 0

    monkeypatch.setattr(main, "_call", call)
    return seen


def test_options_count_before_and_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = caught(monkeypatch)
    main.main(["-v", "--json", "list", "-v", "-q"])
    assert {"json": True, "verbose": 2, "quiet": True}.items() <= vars(seen[0]).items()


@pytest.mark.parametrize(
    "words",
    [["--readonly"], ["--home", "DIR", "--demo"], ["-v", "--web=0", "--readonly"], ["--web", "0"]],
)
def test_the_interface_s_options_need_no_command(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = caught(monkeypatch)
    words = [str(tmp_path) if word == "DIR" else word for word in words]
    assert main.main(words) == 0
    said = {name: getattr(seen[0], name) for name in ("readonly", "demo", "web")}
    assert said["readonly"] is ("--readonly" in words)
    assert said["demo"] is ("--demo" in words)
    assert (said["web"] == 0) is (any(word.startswith("--web") for word in words))


@pytest.mark.parametrize("words", [(), ("--demo",), ("--demo", "--readonly"), ("-v", "-v")])
def test_what_the_interface_is_told_its_tabs_are_told(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "tui.__main__.serve_browsers", lambda _port, tabs, _say: served.append(tabs)
    )
    assert called_with(["tui", "--web", "0", *words], FakeService()).code == 0
    assert served == [words]


def test_the_interface_says_a_slip_in_a_variable_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_TUI_THEEM", "light")
    begun: list[TuiOptions] = []

    def run(options: TuiOptions) -> int:
        begun.append(options)
        return 0

    monkeypatch.setattr("tui.__main__.run", run)
    assert called_with(["tui"], FakeService()).err == ""
    assert begun[0].warnings == ("BROKER_TUI_THEEM sets nothing. Did you mean BROKER_TUI_THEME?",)


def test_what_follows_the_dashes_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = caught(monkeypatch)
    main.main(["run", "disk.img", "--", "--json", "-device", "x"])
    assert seen[0].rest == ("--json", "-device", "x")
    assert not hasattr(seen[0], "json")


def test_a_reader_that_leaves_is_no_error() -> None:
    script = f"set -o pipefail; {shlex.join(BROKER)} --help | head -n 1"
    ran = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("usage: broker")
    assert ran.returncode in (0, main.BROKEN_PIPE)


def test_a_closed_pipe_is_found_out_and_forgiven() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ran = subprocess.run(
            [*BROKER, "--help"], stdout=write, stderr=subprocess.PIPE, timeout=120, check=False
        )
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (main.BROKEN_PIPE, b"")


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("--version >/dev/full", 1, "No space left"),
        ("--version >&-", 1, "stdout is closed"),
        ("lst 2>&-", 2, ""),
        ("<&-", 2, "commands:"),
    ],
)
def test_streams_that_are_full_or_closed_still_give_an_exit_code(
    redirection: str, code: int, said: str
) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{shlex.join(BROKER)} {redirection}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (code, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_interface_needs_a_terminal() -> None:
    ran = started("tui")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "needs a terminal" in ran.stderr


def test_any_error_for_people_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise BrokerError("the disk is full\nand so am I", fix="Make room")

    monkeypatch.setattr(main, "_dispatch", fail)
    assert main.main(["list"]) == 1
    assert capsys.readouterr().err == (
        "broker: the disk is full\n        and so am I\n        Make room\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["run", "PATH", "--headless"],
        ["vm", "define", "odd", "--disk", "PATH"],
        ["vm", "define", "odd", "--disk", "PATH,size=1G"],
        ["vm", "define", "odd", "--cdrom", "PATH"],
        ["vm", "define", "odd", "-f", "FILE"],
        ["--home", "~nobody-at-all/x", "show", "none"],
    ],
    ids=" ".join,
)
def test_a_path_that_cannot_be_looked_at_is_no_fault_of_ours(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = str(tmp_path / ("a" * 300)), tmp_path / "vm.yaml"
    file.write_text('disks: ["a\\0b"]')
    code = main.main([word.replace("PATH", path).replace("FILE", str(file)) for word in words])
    assert code in (Exit.USAGE, Exit.NOT_FOUND)
    assert "fault in broker" not in capsys.readouterr().err
