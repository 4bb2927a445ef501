"""Consoles that do not go through the proxy: a SPICE port with tickets, and VNC by a door."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import vv
from broker.demo import BANNER, write_image
from broker.errors import Refused
from broker.headless.session import opened
from broker.headless.wire import dialer, target_of
from broker.spice.constants import ChannelType
from tests.guests import needs_qemu, qmp
from tests.integration.cli import BROKER, a_display, broker, environment, until_it_says

pytestmark = [needs_qemu, pytest.mark.qemu]


@pytest.fixture
def started() -> Iterator[list[str]]:
    """Start a demo VM with options; it is gone afterwards."""
    yield []
    broker("vm", "kill", "demo-1")


def start(tmp_path: Path, *words: str) -> dict[str, object]:
    image = str(write_image(tmp_path / "demo.img"))
    disk = ("--format", "raw", "--bus", "sata", "--snapshot", "--network", "none")
    machine = ("--accel", "tcg", "-m", "64M", "--headless", "--name", "demo-1")
    made = broker("run", image, *disk, *machine, *words, "--json")
    assert made.code == 0, made.err
    return broker("show", "demo-1", "--json").document


def direct(path: Path, *words: str) -> vv.VvFile:
    said = broker("export-vv", "demo-1", "--direct", "-o", str(path), *words)
    assert said.code == 0, said.err
    assert "goes round the proxy" in said.err
    return vv.parse(path.read_text())


@pytest.mark.usefixtures("started")
async def test_a_port_of_its_own_opens_by_the_last_ticket_and_none_before(tmp_path: Path) -> None:
    shown = await asyncio.to_thread(start, tmp_path, "--spice-port", "auto")
    assert shown["target"]["kind"] == "hand-over"  # type: ignore[index]  # the proxy's way stays
    first = await asyncio.to_thread(direct, tmp_path / "1.vv", "--ttl", "60")
    second = await asyncio.to_thread(direct, tmp_path / "2.vv", "--ttl", "60")
    assert first.host == "127.0.0.1"
    assert (first.port, first.tls_port) == (second.port, None)
    assert first.password != second.password
    dial = dialer(target_of(second))
    with pytest.raises(Refused):
        async with opened(dial, first.password, channels=(ChannelType.DISPLAY,)):
            pass
    async with opened(dial, second.password, channels=(ChannelType.DISPLAY,)) as session:
        assert session.screen.size[0] > 0
    command = Path(f"/proc/{shown['pid']}/cmdline").read_bytes()  # noqa: ASYNC240 - a file of /proc
    assert second.password.encode() not in command


@pytest.mark.usefixtures("started")
def test_without_a_port_a_direct_file_is_refused_with_the_way_to_one(tmp_path: Path) -> None:
    start(tmp_path)
    said = broker("export-vv", "demo-1", "--direct", "-o", str(tmp_path / "x.vv"))
    assert said.code == 1
    assert "spice: {tcp: auto}" in said.err


@pytest.fixture
def display() -> Iterator[str]:
    """A screen that nobody sees."""
    program = shutil.which("Xvfb")
    if program is None or shutil.which("remote-viewer") is None or not shutil.which("import"):
        pytest.skip("Xvfb, remote-viewer or import is not installed")
    with a_display(program) as name:
        yield name


def white_pixels(display: str) -> int:
    words = ["import", "-display", display, "-window", "root", "-depth", "8", "rgb:-"]
    shot = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    row = 1024 * 3
    return sum(shot[at : at + row].count(b"\xff" * 3 * 180) for at in range(0, len(shot), row))


def until(holds: object, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    assert callable(holds)
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.viewer
@pytest.mark.usefixtures("started")
def test_a_vm_without_spice_is_opened_in_a_real_viewer(tmp_path: Path, display: str) -> None:
    shown = start(tmp_path, "--vnc")
    assert (shown["protocol"], shown["target"]["kind"]) == ("vnc", "unix")  # type: ignore[index]  # an object
    path = Path(str(shown["target"]["path"]))  # type: ignore[index]  # an object
    refused = broker("export-vv", "demo-1", "-o", str(tmp_path / "x.vv"))
    assert (refused.code, "broker open demo-1" in refused.err) == (1, True)
    assert broker("open", "demo-1", "--view-only", env=environment(DISPLAY=display)).code == 2

    env = environment(DISPLAY=display, GDK_BACKEND="x11", NO_AT_BRIDGE="1")
    said = subprocess.run(
        [*BROKER, "open", "demo-1", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        check=True,
    )
    viewer = json.loads(said.stdout)
    try:
        assert viewer["hosts_proxy"] is False
        monitor = path.with_name("qmp.sock")
        until(lambda: len(clients(monitor)) == 1)
        assert white_pixels(display) == 0
        until_it_says("demo-1", BANNER.decode().strip())
        key: dict[str, object] = {"keys": [{"type": "qcode", "data": "a"}]}
        asyncio.run(qmp(monitor, "send-key", key))
        until(lambda: white_pixels(display) >= 100)
        words = Path(f"/proc/{viewer['pid']}/cmdline").read_bytes()
        assert b"password" not in words
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(viewer["pid"], signal.SIGTERM)
    until(lambda: clients(monitor) == [])


def clients(monitor: Path) -> list[object]:
    answer = asyncio.run(qmp(monitor, "query-vnc"))
    assert isinstance(answer, dict)
    found: list[object] = answer["clients"]
    return found
