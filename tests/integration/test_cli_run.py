"""From an image to a running VM and back, by commands alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import demo
from tests.guests import needs_qemu
from tests.integration.cli import broker

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


def said_on_serial(name: str, text: str, seconds: float = 40.0) -> bool:
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
    assert broker("vm", "kill", "web").out == "web is stopped\n"
    kinds = [row["kind"] for row in broker("events", "--json").rows]
    assert kinds == ["machine.defined", "machine.started", "machine.stopped"]
