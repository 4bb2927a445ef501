"""The serial console in a real terminal and in pipes, of a real guest."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import demo
from broker.vm.paths import VmPaths
from tests.guests import needs_qemu
from tests.integration.cli import BROKER, Said, broker, environment
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]

SECONDS = 60.0
BANNER = demo.BANNER.decode().strip()
LEAVE = b"\x1d"


class Terminal:
    """A pseudo-terminal on which one command runs, as its session's leader's child."""

    def __init__(self, home: Path, *words: str) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.seen = b""
        # A shell that does not mend the terminal by itself.
        shell = ["/bin/sh", "-c", '"$@"; echo "left with $?"', "sh", *BROKER, *words]
        self.process = subprocess.Popen(
            shell,
            env=environment(TERM="xterm", BROKER_HOME=str(home)),
            preexec_fn=lambda: os.login_tty(self.theirs),  # noqa: PLW1509 - the suite has no threads here
        )

    def until(self, text: str) -> bytes:
        """Read on until that was shown; what came up to then is forgotten."""
        until = time.monotonic() + SECONDS
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"waited for {text!r}, saw {self.seen!r}"
            self.seen += os.read(self.ours, 4096)
        shown, found, self.seen = self.seen.partition(text.encode())
        return shown + found

    def press(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def resize(self) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))

    def child(self) -> int:
        """The command's own process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@dataclass(frozen=True)
class Web:
    """A demo guest called web, in a home of its own, that has said its banner."""

    home: Path
    paths: VmPaths

    def broker(self, *words: str, stdin: str = "") -> Said:
        return broker(*words, env=environment(BROKER_HOME=str(self.home)), stdin=stdin)

    def serial(self, *words: str, stdin: str = "") -> Said:
        return self.broker("vm", "serial", "web", *words, "--timeout", "60s", stdin=stdin)

    @contextmanager
    def terminal(self, *words: str, verb: str = "serial") -> Iterator[Terminal]:
        """A terminal at its console, or at another verb."""
        opened = Terminal(self.home, "vm", verb, "web", *words)
        try:
            if verb == "serial":
                opened.until(BANNER)  # what was said before is shown first
            yield opened
        finally:
            opened.close()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    home = Path(tempfile.mkdtemp(prefix="cb", dir="/tmp"))
    image = demo.write_image(home / "demo.raw")
    words = ("run", str(image), "--format", "raw", "--snapshot", "--name", "web", "--headless")
    env = environment(BROKER_HOME=str(home))
    try:
        ran = broker(*words, "--accel", "tcg", "-m", "64", env=env)
        assert ran.code == 0, ran.err
        (socket_,) = home.rglob("serial.sock")
        made = Web(home, VmPaths(socket_.parent, home))
        assert made.serial("--no-input", "--until", BANNER).code == 0
        yield made
    finally:
        broker("vm", "kill", "web", env=env)
        shutil.rmtree(home)


def test_a_person_is_at_the_console_and_leaves(web: Web) -> None:
    with web.terminal() as at:
        assert not at.is_as_before()
        at.press(b"a")
        at.until("K")
        at.resize()
        at.press(b"\x03")  # Ctrl-C is the guest's
        at.until("K")

        refused = web.serial(stdin="x")
        assert refused.code == 5
        assert f"process {at.child()} on /dev/pts/" in refused.err

        with web.terminal("--no-input") as other:
            assert other.until("K").endswith(b"K")
            end = web.paths.serial_log.stat().st_size
            other.press(b"x")  # looking on: not passed on
            other.press(b"q")
            other.until("left with 0")
            assert other.is_as_before()
        assert web.paths.serial_log.stat().st_size == end

        at.press(b"c" + LEAVE)
        at.until("left with 0")
        assert at.is_as_before()
    said = web.serial("--no-input", "--after", str(end), "--until", "K.\r\n")
    assert (said.code, said.out[0]) == (0, "K")  # the key before Ctrl-] came through


def test_the_terminal_is_given_back_however_it_ends(web: Web) -> None:
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
        with web.terminal() as at:
            at.press(b"a")
            at.until("K")
            os.kill(at.child(), how)
            at.until("left with ")
            until = time.monotonic() + SECONDS
            while not at.is_as_before():
                assert time.monotonic() < until
                time.sleep(0.01)
    assert web.serial("--until", "K.", stdin="b").code == 0  # nothing of them is in the way


def test_a_script_types_waits_and_goes_on_where_it_was(web: Web) -> None:
    first = web.serial("--until", "K(.)", "--json", stdin="a")
    assert first.document["groups"] == [str(first.document["matched"])[1:]]
    other = {"K0": "1", "K1": "0"}[str(first.document["matched"])]
    second = web.serial("--until", f"K{other}\r\n", stdin="b")
    assert (second.code, second.out) == (0, f"K{other}\n")
    # What was said between two calls is not lost to the one after them.
    position = str(first.document["position"])
    again = web.serial("--no-input", "--after", position, "--until", "K.")
    assert (again.code, again.out) == (0, f"\nK{other}")


def test_what_is_not_said_in_time_has_its_code(web: Web) -> None:
    words = ("vm", "serial", "web", "--no-input", "--until", "login:", "--timeout", "0.5s")
    late = web.broker(*words, "--json")
    assert (late.code, late.error["error"]) == (4, "not-said")


def test_another_program_on_the_port_is_told_and_left_alone(web: Web) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(web.paths.serial))
        other.sendall(b"a")
        other.settimeout(SECONDS)
        assert other.recv(1) == b"K"
        refused = web.serial("--until", "K", stdin="b")
        assert refused.code == 5
        assert "another program is connected to it" in refused.err


def test_one_who_stands_still_holds_nobody_up(web: Web) -> None:
    """A stopped writer that has not typed for a while is not in QEMU's way."""
    with web.terminal() as at:
        begin = web.paths.serial_log.stat().st_size
        hold(at.child())
        try:
            assert web.broker("vm", "keys", "web", "a", "b").code == 0
            said = web.serial("--no-input", "--after", str(begin), "--until", r"(K.\r\n){2}")
        finally:
            os.kill(at.child(), signal.SIGCONT)  # or it would outlive a test that fails
        assert said.code == 0
        at.press(LEAVE)
        at.until("left with 0")


def test_the_monitor_is_shared_and_remembers_what_was_typed(web: Web) -> None:
    with web.terminal(verb="monitor") as at:
        at.until("web (hmp)> ")
        at.press(b"info status\r")
        at.until("VM status: running")
        at.until("web (hmp)> ")
        # A prompt that waits for its person is in nobody's way.
        said = web.broker("vm", "monitor", "web", "--qmp", "query-status", "--json")
        assert said.document["return"]["running"] is True  # type: ignore[index]  # an object
        at.press(b"info ver\t\r")
        at.until("web (hmp)> ")
        at.press(b"nosuch\r")
        at.until("QEMU says: unknown command")
        at.until("web (hmp)> ")
        at.press(b"quit\r")
        at.until("was not sent")
        at.until("web (hmp)> ")  # an end of file that comes between two prompts is nobody's
        at.press(b"\x04")
        at.until("left with 0")
    with web.terminal("--qmp", verb="monitor") as at:
        at.until("web (qmp)> ")
        at.press(b"query-na\t\r")
        at.until('"name": "web"')
        at.until("web (qmp)> ")
        at.press(b"\x1b[A\x1b[A\x1b[A")  # past this one, what was typed at the other prompt
        at.until("nosuch")
        at.press(b"\x15\x04")
        at.until("left with 0")
    (history,) = web.home.rglob("monitor-history")
    assert history.stat().st_mode & 0o777 == 0o600
    refused = web.broker("vm", "monitor", "web", "--qmp", "eject", "id=nosuch", "--json")
    assert (refused.code, refused.error["error"]) == (1, "vm-command-refused")
    lost = web.broker("vm", "monitor", "web", "nosuch")
    assert (lost.code, "unknown command" in lost.err) == (1, True)


def test_the_vms_end_is_the_consoles_end(web: Web) -> None:
    with web.terminal() as at:
        assert web.broker("vm", "kill", "web").code == 0
        at.until("web has ended")
        at.until("left with 0")
        assert at.is_as_before()
    off = web.serial("--no-input")
    assert (off.code, "web is off" in off.err) == (4, True)
