"""Files the terminal interface writes: .vv files and its log."""

from __future__ import annotations

import logging
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.errors import UsageError
from tui import logfile, vvfile


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web-01", "web-01.vv"),
        ("../../etc/passwd", "_.._etc_passwd.vv"),
        (".hidden", "hidden.vv"),
        ("-rf", "rf.vv"),
        ("a b\n$(c)", "a_b_c_.vv"),
        ("///", "_.vv"),
        ("", "console.vv"),
        ("büro", "büro.vv"),
    ],
)
def test_a_machines_name_makes_a_harmless_file_name(name: str, file: str) -> None:
    assert vvfile.default_path(name) == file


def test_a_file_is_private_and_whole(here: Path) -> None:
    vvfile.write(here / "a.vv", "secret\n", replace=False)
    assert (here / "a.vv").read_text() == "secret\n"
    assert mode(here / "a.vv") == 0o600
    assert [path.name for path in here.iterdir()] == ["a.vv"]


def test_a_file_that_appeared_meanwhile_is_not_overwritten(here: Path) -> None:
    (here / "a.vv").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        vvfile.write(here / "a.vv", "secret", replace=False)
    assert (here / "a.vv").read_text() == "mine"
    assert [path.name for path in here.iterdir()] == ["a.vv"]


def test_a_replaced_file_becomes_private(here: Path) -> None:
    (here / "a.vv").write_text("mine")
    (here / "a.vv").chmod(0o644)
    vvfile.write(here / "a.vv", "secret", replace=True)
    assert mode(here / "a.vv") == 0o600


def test_a_link_is_replaced_and_what_it_points_at_is_left(here: Path) -> None:
    (here / "other").write_text("mine")
    (here / "a.vv").symlink_to(here / "other")
    vvfile.write(here / "a.vv", "secret", replace=True)
    assert (here / "other").read_text() == "mine"
    assert not (here / "a.vv").is_symlink()


def test_a_place_that_cannot_be_written_is_said(here: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        vvfile.write(here / "none" / "a.vv", "secret", replace=False)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("", "Name a file"),
        ("  ", "Name a file"),
        (".", "is a directory"),
        ("no/a.vv", "There is no directory no"),
        ("~nobody-at-all/a.vv", "There is no directory ~nobody-at-all"),
        ("a" * 300, "File name too long"),
        ("a.vv", ""),
    ],
)
def test_a_path_is_judged_before_anything_is_asked(here: Path, typed: str, says: str) -> None:
    problem = vvfile.problem_with(typed)
    assert says in problem
    assert bool(problem) is bool(says)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [logging.StreamHandler()]
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


class Clean(logging.Filter):
    """Takes one secret out."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = record.getMessage().replace("hunter2", "[redacted]")
        record.args = None
        return True


def test_everything_is_logged_to_a_private_file_and_nowhere_else(
    here: Path, root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    path = here / "logs" / "tui.log"
    logfile.configure(path, clean=Clean())
    logging.getLogger("some.library").info("password %s", "hunter2")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a library warns", stacklevel=1)
    text = path.read_text()
    assert "password [redacted]" in text
    assert "a library warns" in text
    assert mode(path) == 0o600
    assert capfd.readouterr() == ("", "")


def test_without_a_place_for_the_log_nothing_reaches_the_terminal(
    here: Path, root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "file").touch()
    for path in (None, here / "file" / "tui.log"):
        logfile.configure(path)
        logging.getLogger("x").error("loud")
    assert capfd.readouterr() == ("", "")
