"""`broker top`: on a terminal of its own, and down a pipe."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.cli import top
from broker.cli.top import ENTER, LEAVE
from tests.broker.cli.calling import called
from tests.fakes.service import FakeService, console, session

LIVE = session(console("web-01"), "abcdefabcdef", "192.0.2.9:51234")
SECONDS = 60.0


def test_one_look_goes_down_a_pipe() -> None:
    ran = called("top --once", FakeService(live=[LIVE]))
    assert (ran.code, ran.err) == (0, "")
    assert "1 session, 4 channels" in ran.out
    assert "abcdefabcdef" in ran.out
    assert "\x1b" not in ran.out


def test_several_looks_are_one_under_the_other() -> None:
    ran = called("top -n 3 --every 0.001", FakeService(live=[LIVE]))
    assert ran.out.count("192.0.2.9:51234") == 3


def test_json_is_one_object_a_look() -> None:
    ran = called("top -n 2 --every 0.001 --json", FakeService(live=[LIVE]))
    looks = [json.loads(line) for line in ran.out.splitlines()]
    assert [look["sessions"][0]["console"] for look in looks] == ["web-01", "web-01"]
    assert looks[0]["proxy"]["serving"] is False


def test_nobody_there_is_no_table() -> None:
    assert "WHO" not in called("top --once", FakeService()).out


class Terminal:
    """`broker top` on a pseudo-terminal."""

    def __init__(self, home: Path, *words: str, term: str) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from broker.cli.main import entry; entry()", "top", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"BROKER_HOME": str(home), "TERM": term},
            process_group=0,  # one of our session, or nothing could stop it
        )
        self.slave = slave
        self.seen = ""

    def until(self, text: str) -> None:
        while text not in self.seen:
            assert select.select([self.master], [], [], SECONDS)[0], self.seen
            self.seen += os.read(self.master, 65536).decode(errors="replace")

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
        self.master = -1

    def press(self, key: bytes) -> None:
        os.write(self.master, key)


@contextmanager
def terminal(home: Path, *words: str, term: str = "xterm") -> Iterator[Terminal]:
    on = Terminal(home, *words, term=term)
    try:
        yield on
    finally:
        on.process.kill()
        on.process.wait()
        on.hang_up()
        os.close(on.slave)


@pytest.mark.parametrize(("words", "term"), [(("--once",), "xterm"), (("-n", "2"), "dumb")])
def test_what_would_not_stay_or_cannot_be_drawn_is_printed(
    tmp_path: Path, words: tuple[str, ...], term: str
) -> None:
    """A look at the terminal's other screen is gone when that is left."""
    with terminal(tmp_path, *words, "--every", "0.01", term=term) as on:
        on.until("0 sessions")
        assert on.process.wait(SECONDS) == 0
        assert ENTER not in on.seen


@pytest.mark.parametrize(("how", "code"), [(b"q", 0), (signal.SIGTERM, 130)])
def test_it_takes_the_terminal_and_gives_it_back(
    tmp_path: Path, how: bytes | signal.Signals, code: int
) -> None:
    with terminal(tmp_path) as on:
        on.until("0 sessions")
        assert ENTER in on.seen
        if isinstance(how, bytes):
            on.press(how)
        else:
            on.process.send_signal(how)
        on.until(LEAVE)
        assert on.process.wait(SECONDS) == code
        assert termios.tcgetattr(on.slave) == on.before


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    with terminal(tmp_path, "--every", "1h") as on:
        on.until("0 sessions")
        on.hang_up()
        assert on.process.wait(SECONDS) == 1


def test_stopped_it_lends_the_terminal_to_the_shell_and_takes_it_again(tmp_path: Path) -> None:
    """After `fg` a shell leaves the modes as they are: `q` would wait for an Enter."""
    with terminal(tmp_path, "--every", "1h") as on:
        on.until("0 sessions")
        on.process.send_signal(signal.SIGTSTP)
        on.until(LEAVE)
        state = os.waitid(os.P_PID, on.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert state is not None
        assert state.si_status == signal.SIGTSTP
        assert termios.tcgetattr(on.slave) == on.before
        on.seen = ""
        on.process.send_signal(signal.SIGCONT)
        on.until("0 sessions")
        assert on.seen.startswith(ENTER)
        on.press(b"q")
        on.until(LEAVE)
        assert on.process.wait(SECONDS) == 0


def test_a_terminal_of_another_size_is_drawn_anew_at_once(tmp_path: Path) -> None:
    with terminal(tmp_path, "--every", "1h") as on:
        on.until("0 sessions")
        on.seen = ""
        on.process.send_signal(signal.SIGWINCH)
        on.until("0 sessions")


@pytest.mark.parametrize(
    ("height", "shown"),
    [
        (6, ["head", "a", "b", "c"]),
        (4, ["head", "a", "b", "c"]),
        (3, ["head", "a", "and 2 more"]),
        (1, ["and 4 more"]),
    ],
)
def test_sessions_for_which_there_is_no_room_are_counted(height: int, shown: list[str]) -> None:
    assert top._fitted(["head", "a", "b", "c"], height) == shown
