"""From an image to a running VM and back, by commands alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import demo
from tests.guests import needs_qemu
from tests.integration.cli import BROKER, broker, environment
from tests.integration.test_serving import is_running

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """The demo guest as a qcow2 file, and nothing of it running afterwards."""
    raw, made = demo.write_image(tmp_path / "demo.raw"), tmp_path / "my disk.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)]
    subprocess.run(convert, check=True)
    yield made
    for row in broker("vm", "list", "--json").rows:
        broker("vm", "kill", str(row["name"]))


def said_on_serial(name: str, text: str, seconds: float = 90.0) -> bool:
    """Whether the guest says that before long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if text in broker("vm", "log", name, "--serial").out:
            return True
        time.sleep(0.1)
    return False


def test_an_image_is_run_shown_stopped_and_forgotten(image: Path) -> None:
    words = ("run", str(image), "--headless", "--accel", "tcg", "-m", "64")
    rng = ("--", "-device", "virtio-rng-pci")
    first = broker(*words, "--json", *rng)
    assert first.code == 0, first.err
    assert first.document["name"] == "my-disk"
    assert said_on_serial("my-disk", demo.BANNER.decode().strip())

    shown = broker("show", "my-disk", "--json").document
    assert shown["state"] == "running"
    assert shown["target"]["kind"] == "hand-over"  # type: ignore[index]  # an object
    assert shown["spec"]["disks"][0]["format"] == "qcow2"  # type: ignore[index]  # an object
    assert shown["spec"]["extra_args"] == ["-device", "virtio-rng-pci"]  # type: ignore[index]  # an object

    again = broker(*words, "--json", *rng)
    assert again.document["pid"] == first.document["pid"]
    assert "stays as it is" in again.err

    refused = broker("vm", "delete", "my-disk", "--yes")
    assert refused.code == 2
    assert broker("vm", "stop", "my-disk", "--timeout", "20").code == 0
    assert broker("vm", "list", "--json").rows[0]["state"] == "stopped"
    assert broker("vm", "delete", "my-disk", "--yes", "--delete-disks").code == 0
    assert broker("vm", "list", "--json").rows == []
    assert image.exists()


def test_a_definition_from_a_file_is_started_by_its_name(image: Path) -> None:
    file = image.with_name("vm.yaml")
    file.write_text(f"name: web\nmemory: 64\naccel: tcg\ndisks: ['{image.name}']\n")
    assert broker("vm", "define", "-f", str(file), "--json").document["state"] == "stopped"
    assert broker("vm", "start", "web").out.startswith("web is running (process ")
    assert said_on_serial("web", demo.BANNER.decode().strip())
    edited = broker("vm", "edit", "web", "--memory", "96", "--autostart")
    assert (edited.code, "from its next start" in edited.err) == (0, True)
    assert broker("vm", "monitor", "web", "info memory_size_summary").out.split()[2] == str(
        64 << 20
    )
    assert broker("vm", "kill", "web").out == "web is stopped\n"
    assert broker("vm", "start", "web").code == 0
    assert broker("vm", "monitor", "web", "info memory_size_summary").out.split()[2] == str(
        96 << 20
    )
    kinds = [row["kind"] for row in broker("events", "--json").rows]
    started, defined = "machine.started", "machine.defined"
    assert kinds == [defined, started, defined, "machine.stopped", started]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Our end of a terminal, and the program's."""
    ours, its = pty.openpty()
    yield ours, its
    os.close(ours)


def until_it_says(ours: int, expected: bytes, seconds: float = 90.0) -> bytes:
    """What a program says on a terminal, up to and beyond that."""
    said, end = b"", time.monotonic() + seconds
    while expected not in said:
        assert time.monotonic() < end, said
        if select.select([ours], [], [], 0.5)[0]:
            said += os.read(ours, 4096)
    return said


def test_a_vm_of_the_moment_is_talked_to_and_forgotten_when_its_console_is_left(
    terminal: tuple[int, int],
) -> None:
    ours, its = terminal
    env = environment(BROKER_VM_STOP_TIMEOUT="0", TERM="xterm")
    words = ("run", "--demo", "--name", "moment", "--serial", "--rm")
    process = subprocess.Popen(
        [*BROKER, *words], stdin=its, stdout=its, stderr=its, env=env, start_new_session=True
    )
    os.close(its)
    try:
        until_it_says(ours, demo.BANNER.strip())
        os.write(ours, b"a")
        until_it_says(ours, b"K1")
        (row,) = broker("vm", "list", "--json").rows
        assert (row["name"], row["state"]) == ("moment", "running")
        os.write(ours, b"\x1d")  # Ctrl-]
        with contextlib.suppress(OSError):  # it has gone, and its end of the terminal with it
            while os.read(ours, 4096):
                pass
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()
        broker("vm", "kill", "moment")
    assert broker("vm", "list", "--json").rows == []


def test_a_vm_of_the_moment_is_stopped_by_ctrl_c(image: Path) -> None:
    env = environment(BROKER_VM_STOP_TIMEOUT="0")
    words = ("run", str(image), "--headless", "--rm", "--accel", "tcg", "-m", "64", "--json")
    extra = ("--disk", "size=3M")
    process = subprocess.Popen(
        [*BROKER, *words, *extra], stdout=subprocess.PIPE, text=True, env=env
    )
    assert process.stdout is not None
    started = json.loads(process.stdout.readline())
    directory = Path(os.environ["BROKER_HOME"]) / "data" / "vms" / "my-disk"
    assert (directory / "disk1.qcow2").exists()
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130
    process.stdout.close()
    assert broker("vm", "list", "--json").rows == []
    assert not is_running(started["pid"])
    assert (directory.exists(), image.exists()) == (False, True)


def test_the_printed_command_is_the_one_that_is_run(image: Path) -> None:
    assert (
        broker("vm", "define", "web", "--disk", str(image), "--accel", "tcg", "-m", "64").code == 0
    )
    printed = broker("vm", "show", "web", "--command").out.strip()
    again = broker("run", str(image), "--name", "web", "--print-command").out.strip()
    assert broker("vm", "list", "--json").rows[0]["state"] == "stopped"
    assert broker("vm", "start", "web").code == 0
    (line,) = [
        line.partition("console-broker: ")[2]
        for line in broker("vm", "log", "web").out.splitlines()
        if "console-broker: " in line
    ]
    assert line.partition(" ")[2] == printed == again
