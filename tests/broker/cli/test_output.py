from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import pytest

from broker import private_file
from broker.cli.output import CannotWrite, Output, cell_width, fit, write_private
from broker.errors import UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def yes(path: Path) -> bool:
    return path.exists()


def no(path: Path) -> bool:
    return not path.exists()


def test_columns_line_up_also_under_wide_characters() -> None:
    stream = io.StringIO()
    Output(stream).table(("NAME", "STATE"), [("web", "running"), ("電腦", "off"), ("é", "off")])
    assert stream.getvalue() == "NAME  STATE\nweb   running\n電腦  off\né     off\n"


@pytest.mark.parametrize(("text", "cells"), [("abc", 3), ("電", 2), ("e\u0301", 1), ("", 0)])
def test_cells_are_counted_as_a_terminal_counts(text: str, cells: int) -> None:
    assert cell_width(text) == cells


def test_a_pipe_gets_all_of_a_long_cell() -> None:
    stream = io.StringIO()
    Output(stream, width=20).table(("A",), [("x" * 200,)])
    assert "x" * 200 in stream.getvalue()


def test_a_terminal_gets_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Output(stream, width=30).table(("NAME", "TEXT"), [("web-01", "x" * 200)])
    assert max(map(len, stream.getvalue().splitlines())) <= 30
    assert "…" in stream.getvalue()


def test_the_widest_columns_give_way_first() -> None:
    assert fit([10, 40, 12], 40) == [10, 18, 12]
    assert fit([3, 4], 80) == [3, 4]
    assert fit([9, 9, 9], 3) == [8, 8, 8]


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    stream = io.StringIO()
    Output(stream).table(("NAME",), [("a\x1b[31m\nb",)])
    assert stream.getvalue() == "NAME\na�[31m�b\n"


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["usual", "NO_COLOR", "dumb"],
)
def test_colour_is_for_terminals_that_want_it(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in Output(Terminal()).paint("red", "off")) is coloured
    assert Output(io.StringIO()).paint("red", "off") == "off"


def test_a_cell_is_coloured_by_its_first_word_and_keeps_its_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    colours = (1, {"off": "red"})
    rows = [("a", "off: why", "x"), ("b", "on", "y")]
    Output(stream, width=80).table(("N", "S", "T"), rows, colours=colours)
    assert stream.getvalue().splitlines()[1:] == [
        "a  \x1b[31moff: why\x1b[0m  x",
        "b  on        y",
    ]


def test_documents_keep_every_character_and_are_one_line_in_a_pipe() -> None:
    stream = io.StringIO()
    Output(stream).document({"name": "büro 電"})
    assert stream.getvalue() == '{"name": "büro 電"}\n'


def test_a_private_file_is_0600_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "a.vv", "secret\r\n", may_replace=no)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.vv").stat().st_mode) == 0o600
    assert (tmp_path / "a.vv").read_bytes() == b"secret\r\n"


def test_replacing_makes_an_open_file_private(tmp_path: Path) -> None:
    file = tmp_path / "a.vv"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new", may_replace=yes)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_a_directory_and_a_pipe_are_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "directory", "pipe"):
        with pytest.raises(UsageError):
            write_private(tmp_path / name, "x", may_replace=yes)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.vv"
    publish = private_file.publish

    def late(temporary: Path, path: Path) -> None:
        path.write_text("somebody else's")
        publish(temporary, path)

    monkeypatch.setattr(private_file, "publish", late)
    with pytest.raises(UsageError, match="somebody else"):
        write_private(file, "mine", may_replace=yes)
    assert file.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_private(tmp_path / "a.vv", "text", may_replace=no)
    assert (tmp_path / "a.vv").read_text() == "text"


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EROFS, "-o FILE"),
        (errno.EACCES, "to stdout"),
        (errno.EIO, "elsewhere"),
    ],
    ids=["full", "read-only", "not ours", "broken"],
)
def test_a_disk_that_does_not_take_it_loses_nothing(
    code: int, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.vv"
    file.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CannotWrite, match=fix):
        write_private(file, "new", may_replace=yes)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="shorter name"):
        write_private(tmp_path / ("x" * 300), "text", may_replace=yes)
