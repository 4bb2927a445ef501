"""A VM of this host through the terminal interface: cloned, started, kept and gone back to."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import demo
from tests.guests import needs_qemu
from tests.integration.cli import broker, environment
from tests.integration.test_tui_tmux import Terminal, open_terminal

__all__ = ["open_terminal"]

pytestmark = [
    pytest.mark.qemu,
    needs_qemu,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img"),
]


@pytest.fixture
def base(broker_home: Path) -> Path:
    """The image of a VM called `base` that is defined and off."""
    raw, image = broker_home / "demo.img", broker_home / "base.qcow2"
    raw.write_bytes(demo.image_bytes())
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True
    )
    words = ["--disk", f"{image},bus=sata", "--accel", "tcg", "--network", "none", "--memory", "64"]
    said = broker("vm", "define", "base", *words, env=environment())
    assert said.code == 0, said.err
    return image


def rests_with_its_state(shown: str) -> bool:
    """Whether the list shows it, and QEMU is not being asked for anything."""
    doing = ("Asking QEMU", "Reading snapshots", "Keeping state-1", "Going back to", "None yet")
    return "state-1" in shown and not any(words in shown for words in doing)


def has_gone_back() -> bool:
    """Whether the audit log says so."""
    rows = broker("events", "--json", env=environment()).rows
    return any(str(row["text"]).endswith("snapshot state-1 loaded") for row in rows)


def test_a_clone_is_started_and_goes_back_to_a_state_that_was_kept(
    open_terminal: Callable[..., Terminal], broker_home: Path, base: Path
) -> None:
    before = base.read_bytes()
    terminal = open_terminal()
    try:
        terminal.wait("● proxy")
        terminal.press("6")
        terminal.wait("USED")
        terminal.wait("tcg")
        terminal.press("c")
        terminal.wait("Clone base")
        terminal.press("Enter")
        terminal.wait("Clone base", gone=True)
        terminal.wait("process", gone=True)
        terminal.wait("vms/base-2/disk0.qcow2")
        terminal.press("u")
        terminal.wait("● running")
        terminal.press("t")
        terminal.wait("None yet")
        terminal.press("n")
        terminal.wait("Keep the present state")
        terminal.press("Enter")
        terminal.wait("Keep the present state", gone=True)
        terminal.wait(rests_with_its_state)
        terminal.press("Enter")
        terminal.wait("Go back to state-1?")
        terminal.press("y")
        terminal.wait("Go back to state-1?", gone=True)
        terminal.wait(lambda _: has_gone_back())
        terminal.wait(rests_with_its_state)
        terminal.press("Escape")
        terminal.wait("Snapshots of", gone=True)
        terminal.press("p")
        terminal.wait("Power: base-2")
        terminal.press("k")
        terminal.wait("Kill base-2?")
        terminal.press("y")
        terminal.wait("● running", gone=True)
    finally:
        broker("vm", "kill", "base-2", env=environment())
    (own,) = broker_home.glob("**/vms/base-2/disk0.qcow2")
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    told = subprocess.run(["qemu-img", "snapshot", "-l", str(own)], capture_output=True, check=True)
    assert b"state-1" in told.stdout
    assert base.read_bytes() == before
    terminal.press("q")
    terminal.wait("left with 0")


def test_the_base_of_a_linked_clone_is_not_started(broker_home: Path, base: Path) -> None:
    made = broker("vm", "clone", "base", "leaf", "--linked", env=environment())
    assert (made.code, made.out) == (0, "leaf is stopped\n")
    refused = broker("vm", "start", "base", env=environment())
    assert (refused.code, "the disks of leaf are built on its own" in refused.err) == (5, True)
    assert broker("vm", "rename", "base", "root", env=environment()).code == 0  # its disk stays
    (leaf,) = broker_home.glob("**/vms/leaf")
    gone = broker("vm", "delete", "leaf", "--delete-disks", "--yes", env=environment())
    assert (gone.code, leaf.exists()) == (0, False)
    try:
        started = broker("vm", "start", "root", env=environment())
        assert (started.code, "is running" in started.out) == (0, True)
    finally:
        broker("vm", "kill", "root", env=environment())
