"""What a file allows, from the command line to a real QEMU and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from broker import vv
from broker.demo import ANSWERS, write_image
from broker.demo import BANNER as GREETING
from broker.errors import BrokerError, Refused
from broker.headless.session import Session, opened
from broker.headless.wire import dialer, target_of
from broker.spice.constants import ChannelType
from tests.guests import needs_qemu
from tests.integration.cli import broker, running, until_it_says

pytestmark = [needs_qemu, pytest.mark.qemu]

OPTIONAL = {ChannelType.RECORD, ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV}
ANSWER, BANNER = ANSWERS[1].decode().strip(), GREETING.decode().strip()
KEY_A = 0x1E
FOLDERS = (
    *("-chardev", "spiceport,id=folders,name=org.spice-space.webdav.0"),
    *("-device", "virtserialport,chardev=folders,name=org.spice-space.webdav.0"),
)


def until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The demo guest with every optional channel that QEMU has, and a proxy that serves."""
    monkeypatch.setenv("BROKER_PROXY_TLS_PORT", "0")
    image = str(write_image(tmp_path / "demo.img"))
    disk = ("--format", "raw", "--bus", "sata", "--snapshot", "--network", "none")
    machine = ("--accel", "tcg", "-m", "64M", "--usb", "2", "--sound")
    made = broker("run", image, "--name", "demo", "--headless", *disk, *machine, "--", *FOLDERS)
    assert made.code == 0, made.err
    try:
        until_it_says("demo", BANNER)
        with running("serve"):
            assert broker("status", "--wait", "90").code == 0
            yield "demo"
    finally:
        broker("vm", "kill", "demo")


def exported(path: Path, *words: str) -> vv.VvFile:
    said = broker("export-vv", "demo", "-o", str(path), *words)
    assert said.code == 0, said.err
    return vv.parse(path.read_text())


def serial() -> str:
    return broker("vm", "log", "--serial", "demo").out


def rows(kind: str) -> list[dict[str, object]]:
    return [row for row in broker("events", "--json").rows if row["kind"] == kind]


def viewing(file: vv.VvFile, *channels: ChannelType) -> AbstractAsyncContextManager[Session]:
    return opened(dialer(target_of(file)), file.password, channels=channels)


def offered(session: Session) -> set[int]:
    return {kind for kind, _ in session.offered}


async def refused(session: Session, kind: ChannelType) -> bool:
    try:
        await session.open(kind)
    except BrokerError as problem:
        return isinstance(problem, Refused)
    return False


async def test_who_may_only_look_on_sees_the_screen_and_reaches_nothing(
    demo: str, tmp_path: Path
) -> None:
    words = ("--view-only", "--to", "ana", "--once", "--from", "127.0.0.0/8")
    file = await asyncio.to_thread(exported, tmp_path / "look.vv", *words)
    assert (file.usbredir, "view only" in file.title) == (False, True)
    async with viewing(file, ChannelType.DISPLAY, ChannelType.INPUTS) as viewer:
        assert not offered(viewer) & OPTIONAL
        assert {ChannelType.DISPLAY, ChannelType.INPUTS} <= offered(viewer)
        assert viewer.screen.size[0] > 0
        await viewer.press(KEY_A)
        assert [await refused(viewer, kind) for kind in sorted(OPTIONAL)] == [True] * len(OPTIONAL)
        await asyncio.to_thread(until, lambda: rows("message.dropped") != [])
        row = rows("message.dropped")[0]
        assert str(row["text"]).startswith("inputs.0: ")
        assert "dropped by policy (key-down 1" in str(row["text"])
        (session,) = broker("sessions", "--json").rows
        assert session["label"] == "ana"
        policy = session["policy"]
        assert isinstance(policy, dict)
        assert {name for name, may in policy.items() if may is False} == {
            "usb", "clipboard", "file_transfer", "audio_in",
        }  # fmt: skip
        assert (policy["view_only"], policy["from"]) == (True, ["127.0.0.0/8"])
        assert "ana): view-only, from 127.0.0.0/8" in broker("show", demo).out
        assert ANSWER not in serial()
    await asyncio.to_thread(until, lambda: broker("sessions", "--json").rows == [])

    free = await asyncio.to_thread(exported, tmp_path / "free.vv")
    async with viewing(free, ChannelType.INPUTS) as viewer:
        assert offered(viewer) >= OPTIONAL - {ChannelType.PORT}
        await viewer.press(KEY_A)
        await asyncio.to_thread(until, lambda: ANSWER in serial())


async def test_some_channels_are_not_there_and_the_rest_works(demo: str, tmp_path: Path) -> None:
    file = await asyncio.to_thread(exported, tmp_path / "some.vv", "--no-usb", "--no-audio-in")
    async with viewing(file, ChannelType.INPUTS) as viewer:
        assert not offered(viewer) & {ChannelType.RECORD, ChannelType.USBREDIR}
        assert {ChannelType.PLAYBACK, ChannelType.WEBDAV} <= offered(viewer)
        await viewer.press(KEY_A)
        await asyncio.to_thread(until, lambda: ANSWER in serial())


async def test_a_file_for_elsewhere_opens_nothing_here_and_is_not_used_up(
    demo: str, tmp_path: Path
) -> None:
    file = await asyncio.to_thread(exported, tmp_path / "far.vv", "--from", "192.0.2.0/24")
    for _ in range(2):
        with pytest.raises(Refused):
            async with viewing(file):
                pass
    await asyncio.to_thread(until, lambda: len(rows("session.refused")) == 2)
    assert [row["reason"] for row in rows("session.refused")] == ["address", "address"]
    assert broker("sessions", "--json").rows == []
