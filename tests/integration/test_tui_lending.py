"""The terminal lent to an editor and had back, and a copy of a disk that is cut short."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import demo
from tests.guests import needs_qemu
from tests.integration.cli import broker, environment
from tests.integration.test_tui_tmux import Terminal, open_terminal

__all__ = ["open_terminal"]

QEMU_IMG = shutil.which("qemu-img")
pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
    pytest.mark.skipif(QEMU_IMG is None, reason="needs qemu-img"),
]
EDITOR = """\
#!/bin/sh
case "$(stty -a)" in *" icanon"*) echo "lines come whole" ;; esac
echo again >> "$0.times"
printf 'how much memory, for the %s. time? ' "$(wc -l < "$0.times")"
read -r answer || exit 1
[ "$answer" = no ] && exit 3
sed -i "s/^memory: .*/memory: $answer/" "$1"
"""
COPYING = re.compile(r"copying disk 1 of 1: \d+ %")


def define(name: str, image: Path, content: bytes) -> None:
    """A VM with that image, off."""
    image.write_bytes(content)
    words = ["--disk", f"{image},format=raw,bus=sata", "--accel", "tcg", "--memory", "64"]
    said = broker("vm", "define", name, *words, "--network", "none", env=environment())
    assert said.code == 0, said.err


def program(path: Path, text: str) -> Path:
    """A script that can be run."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o700)
    return path


def modes(terminal: Terminal) -> str:
    """Whether the pane has its other screen, and whether a program asks for the mouse."""
    return terminal.run("display-message", "-p", "#{alternate_on}#{mouse_any_flag}").strip()


def memory() -> object:
    """What the VM is defined with, in MiB."""
    return broker("vm", "show", "base", "--json", env=environment()).document["memory"]


def test_an_editor_has_the_terminal_and_what_it_wrote_is_taken_or_said_to_be_wrong(
    open_terminal: Callable[..., Terminal], broker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("base", broker_home / "base.img", demo.image_bytes())
    script = program(broker_home / "bin" / "my editor", EDITOR)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", shlex.quote(str(script)))
    terminal = open_terminal()
    terminal.wait("base")
    terminal.press("6")
    terminal.wait("tcg")
    terminal.press("e")
    terminal.wait("F4 editor")

    terminal.press("F4")
    terminal.wait("for the 1. time?")
    assert "lines come whole" in terminal.screen()
    assert modes(terminal) == "00"
    terminal.type("a lot")
    terminal.press("Enter")
    terminal.wait("memory: a lot")
    terminal.wait("memory input should be a valid")

    terminal.press("F4")
    terminal.wait("for the 2. time?")
    terminal.type("96")
    terminal.press("Enter")
    terminal.wait("memory: 96")
    assert modes(terminal) == "11"
    terminal.press("C-s")
    terminal.wait("F4 editor", gone=True)
    assert memory() == 96
    terminal.press("q")
    terminal.wait("left with 0")
    assert modes(terminal) == "00"


PATIENT = """\
#!/bin/sh
trap : INT
printf 'an editor of %s' "$(stty size)"
trap 'printf " now %s" "$(stty size)"' WINCH
while read -r answer; [ "$answer" != done ]; do :; done
exit 1
"""


def editing(
    open_terminal: Callable[..., Terminal],
    broker_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: Path,
) -> Terminal:
    """A terminal that was just lent to that editor, for a VM named base."""
    define("base", broker_home / "base.img", demo.image_bytes())
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(script))
    terminal = open_terminal()
    terminal.wait("base")
    terminal.press("6")
    terminal.wait("tcg")
    terminal.press("e")
    terminal.wait("F4 editor")
    terminal.press("F4")
    return terminal


def test_ctrl_c_and_a_resize_are_the_editors_while_it_has_the_terminal(
    open_terminal: Callable[..., Terminal], broker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = program(broker_home / "bin" / "patient", PATIENT)
    terminal = editing(open_terminal, broker_home, monkeypatch, script)
    terminal.wait("an editor of 30 100")
    terminal.press("C-c")
    terminal.wait("^C")
    terminal.run("resize-window", "-x", "110", "-y", "34")
    terminal.wait("now 34 110")
    terminal.type("done")
    terminal.press("Enter")
    terminal.wait("Edit base")
    terminal.wait(lambda shown: max(map(len, shown.splitlines())) > 100)
    terminal.type("/")  # into the first field that can be changed
    terminal.wait("base.img/")
    terminal.press("Escape")
    terminal.wait("Throw away what you typed?")
    terminal.press("y")
    terminal.wait("Edit base", gone=True)
    terminal.press("q")
    shown = terminal.wait("left with 0")
    assert "Traceback" not in shown


def test_ctrl_c_that_ends_the_editor_ends_nothing_else(
    open_terminal: Callable[..., Terminal], broker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = program(broker_home / "bin" / "brief", "#!/bin/sh\necho an editor; exec cat\n")
    terminal = editing(open_terminal, broker_home, monkeypatch, script)
    terminal.wait("an editor")
    terminal.press("C-c")
    terminal.wait("Edit base")
    assert modes(terminal) == "11"
    terminal.press("Escape")
    terminal.wait("Edit base", gone=True)
    terminal.press("q")
    terminal.wait("left with 0")


SOURCES = """\
- source: debug
  type: static
  consoles:
  - uuid: 6f4e2c1a-0000-4000-8000-000000000001
    name: sextant
    hypervisor: kvm-7
    hypervisor_ip: 192.0.2.7
    insecure_port: 5910
    ticket: s3cr3t
"""
WRITER = f"""\
#!/bin/sh
echo again >> "$0.times"
[ "$(wc -l < "$0.times")" = 1 ] && {{ printf -- '- source: debug\n  type: [\n' > "$1"; exit 0; }}
cat > "$1" <<END
{SOURCES}END
"""


def test_sources_yaml_is_edited_whole_and_what_is_wrong_with_it_is_said(
    open_terminal: Callable[..., Terminal], broker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = program(broker_home / "bin" / "writer", WRITER)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(script))
    file = broker_home / "config" / "sources.yaml"
    terminal = open_terminal()
    terminal.wait("No consoles yet")
    terminal.wait("● proxy")
    terminal.press("3")
    terminal.wait("HEALTH")
    terminal.press("E")
    terminal.wait("1 source failed")
    terminal.press("G")
    terminal.wait("Fix:")
    terminal.wait("sources.yaml:3: is not YAML")
    assert file.read_text() == "- source: debug\n  type: [\n"
    assert file.stat().st_mode & 0o777 == 0o600
    terminal.press("E")
    terminal.wait("1 source failed", gone=True)
    terminal.wait("debug")
    assert file.read_text() == SOURCES
    terminal.press("1")
    terminal.wait("sextant")
    terminal.press("q")
    terminal.wait("left with 0")


@pytest.fixture
def slowly(broker_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A VM called `base` whose disk takes minutes to copy; where VMs have their disks."""
    define("base", broker_home / "base.img", os.urandom(1 << 24))
    text = f'#!/bin/sh\nshift\nexec {QEMU_IMG} convert -r 100k "$@"\n'
    slow = program(broker_home / "bin" / "qemu-img", text).parent
    monkeypatch.setenv("PATH", f"{slow}{os.pathsep}{os.environ['PATH']}")
    return broker_home / "data" / "vms"


def half_made(vms: Path) -> list[Path]:
    """What there is of other VMs than `base`."""
    return [path for path in vms.glob("*/*disk*") if path.parent.name != "base"]


def nothing_is_left(vms: Path, terminal: Terminal) -> None:
    """Neither of the copy nor of who made it."""
    terminal.wait(lambda _: not half_made(vms))
    assert [path.name for path in vms.iterdir() if path.name != "base"] == []
    rows = broker("vm", "list", "--json", env=environment()).rows
    assert [row["name"] for row in rows] == ["base"]
    found = subprocess.run(["pgrep", "-f", f"convert.*{vms}"], capture_output=True, check=False)
    assert found.stdout == b""


def test_ctrl_c_cuts_a_copy_short_and_leaves_nothing_of_it(
    open_terminal: Callable[..., Terminal], slowly: Path
) -> None:
    terminal = open_terminal("vm clone base leaf")
    terminal.wait(lambda _: bool(half_made(slowly)))
    terminal.press("C-c")
    shown = terminal.wait("left with 130")
    assert "Traceback" not in shown
    nothing_is_left(slowly, terminal)


def test_leaving_the_interface_cuts_a_copy_short_and_says_so(
    open_terminal: Callable[..., Terminal], slowly: Path
) -> None:
    terminal = open_terminal()
    terminal.wait("base")
    terminal.press("6")
    terminal.wait("tcg")
    terminal.press("c")
    terminal.wait("Clone base")
    terminal.press("Enter")
    terminal.wait(lambda shown: COPYING.search(shown) is not None)
    assert half_made(slowly)
    terminal.press("Escape")
    terminal.wait("Clone base", gone=True)
    terminal.wait("Cloning base as base-2")
    terminal.press("q")
    shown = terminal.wait("left with 0")
    assert "cut short: Cloning base as base-2" in shown
    assert "Traceback" not in shown
    nothing_is_left(slowly, terminal)
