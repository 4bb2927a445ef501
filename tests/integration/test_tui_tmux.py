"""The terminal interface as a person has it: `broker` in tmux, a real QEMU, real files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guests import end_qemus_of, needs_qemu
from tests.integration.test_serving import is_running

pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
]

PATIENCE = 120.0
ENTRY = "from broker.cli.main import entry; entry()"


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, socket: Path, command: str, size: tuple[int, int]) -> None:
        self._tmux = ["tmux", "-f", os.devnull, "-S", str(socket)]
        width, height = map(str, size)
        self.run("new-session", "-d", "-x", width, "-y", height, command)

    def run(self, *words: str) -> str:
        """A tmux command."""
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names."""
        self.run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Text in one burst."""
        self.run("send-keys", "-l", text)

    def screen(self) -> str:
        """What can be seen."""
        return self.run("capture-pane", "-p")

    def wait(self, for_what: str | Callable[[str], bool], *, gone: bool = False) -> str:
        """Wait until a text is (not) there; the screen."""
        deadline = time.monotonic() + PATIENCE
        while True:
            shown = self.screen()
            there = for_what in shown if isinstance(for_what, str) else for_what(shown)
            if there is not gone:
                return shown
            assert time.monotonic() < deadline, f"waited for {for_what!r}, saw:\n{shown}"
            time.sleep(0.05)

    def close(self) -> None:
        """End the server; what ran in it hangs up, and is waited for."""
        programs: list[str] = []
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # it may have ended
            pane = self.run("display-message", "-p", "#{pane_pid}").strip()
            programs = Path(f"/proc/{pane}/task/{pane}/children").read_text().split()
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)
        deadline = time.monotonic() + PATIENCE
        while any(is_running(int(pid)) for pid in programs):
            assert time.monotonic() < deadline, f"{programs} did not hear that they were left"
            time.sleep(0.05)


@pytest.fixture
def open_terminal(broker_home: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals in a directory of the test's own; they are closed at the end."""
    opened: list[Terminal] = []
    directory = broker_home / "here"
    directory.mkdir()

    def open_one(arguments: str = "", size: tuple[int, int] = (100, 30)) -> Terminal:
        shell = (
            f"cd {directory} && env -u DISPLAY -u WAYLAND_DISPLAY -u COLUMNS -u LINES"
            f" {sys.executable} -c '{ENTRY}' {arguments}; "
            "echo left with $?; exec cat"
        )
        terminal = Terminal(broker_home / f"tmux{len(opened)}", shell, size)
        opened.append(terminal)
        return terminal

    yield open_one
    for terminal in opened:
        terminal.close()
    end_qemus_of(broker_home)


def test_from_an_empty_home_to_a_running_guest_a_file_and_back(
    open_terminal: Callable[..., Terminal], broker_home: Path
) -> None:
    terminal = open_terminal()
    terminal.wait("No consoles yet")
    terminal.wait("● proxy")

    terminal.press("n")
    terminal.wait("New VM on this host")
    terminal.type("vm-1")
    terminal.press("Enter")
    terminal.type("demo")
    terminal.press("C-s")
    terminal.wait("● running")

    terminal.press("L")
    terminal.wait("QEMU's output")
    terminal.press("Tab")
    terminal.wait("serial port")
    terminal.press("r")
    terminal.wait("CONSOLE BROKER DEMO READY")
    terminal.press("Escape")
    terminal.wait("1 Consoles")

    terminal.press("e")
    terminal.wait("Write a .vv file for vm-1")
    terminal.press("Enter")
    written = broker_home / "here" / "vm-1.vv"
    terminal.wait(lambda _: written.exists())
    terminal.wait("Write a .vv file", gone=True)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert "type=spice" in written.read_text()

    terminal.press("p")
    terminal.wait("Power: vm-1")
    terminal.press("d")
    terminal.wait("○ off")

    terminal.press("4")
    terminal.wait("machine.stopped")
    terminal.press("1")
    terminal.wait("machine.stopped", gone=True)
    terminal.press("p")
    terminal.wait("Power: vm-1")
    terminal.press("D")
    terminal.wait("Delete vm-1?")
    terminal.press("y")
    terminal.wait("No consoles yet")

    terminal.press("q")
    terminal.wait("left with 0")


def test_a_filter_typed_in_one_burst_over_real_machines(
    open_terminal: Callable[..., Terminal], broker_home: Path
) -> None:
    consoles = "".join(
        f"""
    - uuid: 6f4e2c1a-0000-0000-0000-{number:012d}
      name: {name}
      hypervisor: localhost
      hypervisor_ip: 127.0.0.1
      insecure_port: {5910 + number}
      ticket: secret-{number}"""
        for number, name in enumerate(("sextant", "quadrant", "k8s-node"))
    )
    sources = broker_home / "config" / "sources.yaml"
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.write_text(f"- source: debug\n  type: static\n  consoles:{consoles}\n")
    terminal = open_terminal()
    terminal.wait("sextant")
    terminal.type("/k8s")
    terminal.wait("1 of 3")
    terminal.press("Escape")
    terminal.press("Escape")
    terminal.wait("quadrant")

    sources.write_text("- source: debug\n  type: static\n  consoles: [\n")
    terminal.press("r")
    terminal.wait("source failed")
    assert "sextant" in terminal.screen()
    terminal.press("3")
    terminal.wait("Fix:")
    assert "sources.yaml" in terminal.screen()
    terminal.press("q")
    terminal.wait("left with 0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_sane_terminal(
    open_terminal: Callable[..., Terminal], number: signal.Signals
) -> None:
    terminal = open_terminal()
    terminal.wait("● proxy")
    pane = terminal.run("display-message", "-p", "#{pane_pid}").strip()
    children = Path(f"/proc/{pane}/task/{pane}/children").read_text().split()
    os.kill(int(children[0]), number)
    terminal.wait("left with 0")
    assert terminal.run("display-message", "-p", "#{alternate_on}#{mouse_any_flag}") == "00\n"


def test_errors_that_go_to_a_file_leave_the_screen_where_it_is(
    open_terminal: Callable[..., Terminal], broker_home: Path
) -> None:
    terminal = open_terminal("tui 2>errors.log")
    terminal.wait("● proxy")
    terminal.press("q")
    terminal.wait("left with 0")
    assert (broker_home / "here" / "errors.log").read_text() == ""


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "tui"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def test_from_the_list_onto_the_screen_and_the_serial_port_and_off(
    open_terminal: Callable[..., Terminal], broker_home: Path
) -> None:
    terminal = open_terminal("tui --demo")
    terminal.wait("● running")
    terminal.wait("● proxy")

    terminal.type("/dem")
    terminal.press("Enter")
    terminal.wait("1 of 1")
    terminal.press("l")
    terminal.wait("keyboard: guest")
    terminal.wait("CONSOLE BROKER DEMO READY")
    assert "spice" in terminal.screen()

    terminal.press("a")
    (serial,) = broker_home.glob("**/serial.log")
    deadline = time.monotonic() + PATIENCE
    while b"K1" not in serial.read_bytes():
        assert time.monotonic() < deadline, "the guest heard no key"
        time.sleep(0.05)

    terminal.press("C-]")
    terminal.wait("Send a real Ctrl-]")
    terminal.press(".")
    terminal.wait("1 Consoles")
    terminal.press("s")
    terminal.wait("K1")
    terminal.wait("1 Consoles", gone=True)
    terminal.type("b")
    terminal.wait("K0")
    terminal.press("C-]")
    terminal.wait("1 Consoles")

    terminal.press("p")
    terminal.wait("Power: demo")
    terminal.press("d")
    terminal.wait("○ off")
    terminal.press("q")
    terminal.wait("left with 0")


def moved(shown: str) -> list[str]:
    """How much a live view's session has moved, and moves, as its row says."""
    row = re.search(r"live view .*", shown)
    return re.findall(r"[\d.]+ [kM]?B", row[0]) if row else []


def test_who_comes_second_is_asked_watches_and_takes_over_and_sees_what_the_first_moves(
    open_terminal: Callable[..., Terminal],
) -> None:
    first = open_terminal("tui --demo", (140, 30))
    first.wait("● running")
    first.wait("● proxy")
    first.type("/dem")
    first.press("Enter")
    first.wait("1 of 1")
    first.press("l")
    first.wait("keyboard: guest")
    first.wait("CONSOLE BROKER DEMO READY")

    second = open_terminal("tui", (140, 40))
    second.wait("● running")
    second.press("2")
    second.wait("live view")
    second.wait(lambda shown: re.search(r"live view .*\d ms", shown) is not None)
    before = moved(second.wait(lambda shown: bool(moved(shown))))
    for key in "ab" * 8:  # each of them paints a large block
        first.press(key)
    second.wait(lambda shown: moved(shown) not in ([], before))
    second.press("1")
    second.wait("down ")
    second.wait(lambda shown: re.search(r"down +[▁-█]+ ", shown) is not None)

    second.press("l")
    second.wait("demo is in use")
    second.press("Escape")
    second.wait("demo is in use", gone=True)
    assert "keyboard: guest" in first.screen()
    second.press("l")
    second.wait("demo is in use")
    second.press("w")
    second.wait("view only")
    second.wait("CONSOLE BROKER DEMO READY")
    assert "monitor" in second.screen()
    assert "keyboard: guest" in first.screen()
    second.press("q")
    second.wait("1 Consoles")
    second.press("l")
    second.wait("demo is in use")
    second.press("t")
    second.wait("keyboard: guest")
    second.wait("CONSOLE BROKER DEMO READY")
    first.wait("1 Consoles")
    first.wait("keyboard: guest", gone=True)

    second.press("C-]")
    second.wait("Send a real Ctrl-]")
    second.press(".")
    second.wait("1 Consoles")
    second.press("p")
    second.wait("Power: demo")
    second.press("d")
    second.wait("○ off")
