"""Real viewers through the proxy to a real QEMU: ryll, spicy-screenshot, remote-viewer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from broker import demo
from broker.model import HandOverTarget
from broker.proxy.dial import TargetDialer
from broker.proxy.fast_tls import FastServer
from broker.proxy.gate import ChannelClosed, ChannelOpened, ConnectionRefused, SessionClosed
from broker.proxy.tls import TlsServer
from tests.broker.proxy.qemu import Qemu, running_qemu
from tests.broker.proxy.rig import SECONDS, TOKEN, Rig, proxying
from tests.integration.cli import DISPLAY_WORDS, display_name

pytestmark = [pytest.mark.qemu, pytest.mark.viewer]

RYLL = Path(sys.executable).with_name("ryll")
LEFT, TOP, RIGHT, BOTTOM = demo.BLOCK
INSIDE = (TOP + 10, LEFT + 40)
WHITE = (255, 255, 255)


EVERYTHING = (
    *("-device", "qemu-xhci", "-device", "usb-tablet"),
    *("-chardev", "spicevmc,id=u,name=usbredir", "-device", "usb-redir,chardev=u,bootindex=0"),
    *("-audiodev", "spice,id=a", "-device", "intel-hda", "-device", "hda-duplex,audiodev=a"),
    *("-device", "virtio-serial", "-chardev", "spicevmc,id=v,name=vdagent"),
    *("-device", "virtserialport,chardev=v,name=com.redhat.spice.0"),
    *("-chardev", "spiceport,id=w,name=org.spice-space.webdav.0"),
    *("-device", "virtserialport,chardev=w,name=org.spice-space.webdav.0"),
)


@pytest.fixture
async def machine() -> AsyncIterator[Qemu]:
    async with running_qemu("agent-mouse=on", *EVERYTHING) as qemu:
        yield qemu


async def assert_it_went_well(
    machine: Qemu, rig: Rig, *, hasty: bool = False, refused: Sequence[str] = ()
) -> None:
    """The session ended by the viewer's own will, and nothing of it was refused.

    Args:
        hasty: It may leave while its last channels are still being linked.
        refused: What the firewall is known to refuse it, by channel.
    """
    closed = await rig.gate.heard(SessionClosed)
    assert closed.reason in ("client-closed", "client-reset")
    assert closed.established
    ended = [n for n in rig.gate.notices if isinstance(n, ChannelClosed)]
    assert [n.channel for n in ended if n.reason == "firewall"] == list(refused)
    left = ("client-closed", "client-reset") if hasty else ()
    turned_away = [n for n in rig.gate.notices if isinstance(n, ConnectionRefused)]
    assert [n for n in turned_away if n.reason not in left] == []
    assert await machine.is_alive()


@pytest.fixture
async def rig(machine: Qemu, tmp_path: Path) -> AsyncIterator[Rig]:
    async with proxying(tmp_path, dialer=TargetDialer(machine)) as rig:
        rig.gate.allow(HandOverTarget(f"{machine.directory}/ctl"))
        yield rig


@contextlib.asynccontextmanager
async def program(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(SECONDS):
            await process.wait()


class Control:
    """ryll's control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        request = {"id": method, "method": method, "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            while (answer := json.loads(await self._reader.readline())).get("id") != method:
                pass
        assert answer["ok"], answer
        return dict(answer["result"])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def connected(path: Path) -> Control:
    """The control socket, once ryll has made it."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return Control(*await asyncio.open_unix_connection(str(path), limit=1 << 24))
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.02)


@pytest.mark.skipif(not RYLL.exists(), reason="ryll is not installed")
async def test_ryll_sees_the_screen_and_types(machine: Qemu, rig: Rig, broker_home: Path) -> None:
    (broker_home / "x.vv").write_text(rig.vv())
    control_path = broker_home / "r.sock"
    async with program(
        str(RYLL),
        *("--headless", "--file", str(broker_home / "x.vv")),
        *("--control-socket", str(control_path)),
    ):
        control = await connected(control_path)
        await control.ask("hello", client_name="test", protocol_version="1.2")
        async with asyncio.timeout(SECONDS):
            while not (status := await control.ask("status"))["surfaces"]:  # noqa: ASYNC110 - ryll has to be asked
                await asyncio.sleep(0.02)
        assert {(s["width"], s["height"]) for s in status["surfaces"]} == {(720, 400)}
        await rig.gate.heard(ChannelOpened, lambda opened: opened.channel == "inputs.0")
        await control.ask("send_key", scancode=0x1E, state="press")
        await machine.says(b"K1\r\n")
        async with asyncio.timeout(SECONDS):
            while await ryll_pixel(control) != WHITE:  # noqa: ASYNC110 - ryll has to be asked
                await asyncio.sleep(0.02)
        png = base64.b64decode((await control.ask("screenshot", format="png"))["data_base64"])
        assert png.startswith(b"\x89PNG")
        await control.close()
        for channel in ("cursor.0", "playback.0", "webdav.0", "usbredir.0"):
            await rig.gate.heard(ChannelOpened, lambda o, name=channel: o.channel == name)  # type: ignore[misc]
        # ryll 0.3 speaks usbredir without 64-bit numbers, which the firewall asks for
        await rig.gate.heard(ChannelClosed, lambda closed: closed.channel == "usbredir.0")
    await assert_it_went_well(machine, rig, refused=["usbredir.0"])


async def ryll_pixel(control: Control) -> tuple[int, ...]:
    """The colour inside the guest's block."""
    shot = await control.ask("screenshot", format="rgba")
    row, column = INSIDE
    start = (row * int(shot["width"]) + column) * 4
    return tuple(base64.b64decode(shot["data_base64"])[start : start + 3])


@pytest.mark.skipif(not shutil.which("spicy-screenshot"), reason="spicy-screenshot is missing")
async def test_spicy_screenshot_sees_the_screen(machine: Qemu, rig: Rig, tmp_path: Path) -> None:
    await machine.qmp("human-monitor-command", **{"command-line": "sendkey a"})
    await machine.says(b"K1\r\n")
    picture = tmp_path / "screen.ppm"
    async with program(
        "spicy-screenshot",
        *("-h", "localhost", "-s", str(rig.port), "-w", TOKEN),
        *("-o", str(picture)),
        SSL_CERT_FILE=str(rig.identity.ca_path),  # it has no option for a CA
    ) as spicy:
        async with asyncio.timeout(SECONDS):
            assert await spicy.wait() == 0
    magic, size, _, pixels = picture.read_bytes().split(b"\n", 3)
    assert (magic, size) == (b"P6", b"720 400")
    row, column = INSIDE
    start = (row * 720 + column) * 3
    assert tuple(pixels[start : start + 3]) == WHITE
    await assert_it_went_well(machine, rig, hasty=True)


@pytest.fixture
async def screen() -> AsyncIterator[str]:
    """A display of our own, `:N`."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is missing")
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *("Xvfb", display_name(), *DISPLAY_WORDS, "-displayfd", str(write)),
        pass_fds=(write,),
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(write)
    try:
        async with asyncio.timeout(SECONDS):
            number = await asyncio.to_thread(os.read, read, 16)
        yield f":{number.decode().strip()}"
    finally:
        os.close(read)
        process.terminate()
        await process.wait()


@pytest.mark.skipif(not shutil.which("remote-viewer"), reason="remote-viewer is missing")
async def test_remote_viewer_opens_every_channel_it_knows(
    machine: Qemu, rig: Rig, screen: str, broker_home: Path
) -> None:
    (broker_home / "x.vv").write_text(rig.vv())
    async with program(
        "remote-viewer", str(broker_home / "x.vv"), DISPLAY=screen, NO_AT_BRIDGE="1"
    ):
        for channel in (
            *("main", "display.0", "inputs.0", "cursor.0"),
            *("playback.0", "record.0", "usbredir.0"),
        ):
            await rig.gate.heard(ChannelOpened, lambda o, name=channel: o.channel == name)  # type: ignore[misc]
    await assert_it_went_well(machine, rig)


LATE = {
    "usbredir.1": (
        {"type": "spicevmc", "data": {"type": "usbredir"}},
        {"driver": "usb-redir"},
    ),
    "webdav.1": (
        {"type": "spiceport", "data": {"fqdn": "org.spice-space.webdav.0"}},
        {"driver": "virtserialport"},
    ),
}


@pytest.mark.parametrize(
    ("viewer", "late"), [("remote-viewer", "usbredir.1"), ("spicy", "webdav.1")]
)
async def test_a_viewer_opens_a_channel_that_is_plugged_in_later(
    viewer: str, late: str, machine: Qemu, rig: Rig, screen: str, broker_home: Path
) -> None:
    """Long after the token was used: the session's own channels come in, whenever that is."""
    if not shutil.which(viewer):
        pytest.skip(f"{viewer} is missing")
    file = broker_home / "x.vv"
    file.write_text(rig.vv())
    here = {"DISPLAY": screen, "NO_AT_BRIDGE": "1", "SSL_CERT_FILE": str(rig.identity.ca_path)}
    words = (
        (str(file),) if viewer != "spicy" else ("-h", "localhost", "-s", f"{rig.port}", "-w", TOKEN)
    )
    async with program(viewer, *words, **here):
        await rig.gate.heard(ChannelOpened, lambda opened: opened.channel == "usbredir.0")
        assert late not in rig.gate.joined
        chardev, device = LATE[late]
        await machine.qmp("chardev-add", id="late", backend=chardev)
        await machine.qmp("device_add", id="late", chardev="late", **device)
        await rig.gate.heard(ChannelOpened, lambda opened: opened.channel == late)
    await assert_it_went_well(machine, rig, hasty=True)


def display_of(token: str) -> Callable[[ChannelOpened], bool]:
    return lambda opened: (opened.session, opened.channel) == (f"s-{token}", "display.0")


def session_of(token: str) -> Callable[[SessionClosed], bool]:
    return lambda closed: closed.session == f"s-{token}"


def speaking_only(version: int) -> Callable[[Path], TlsServer]:
    """TLS of that version and no other."""

    def make(pem_path: Path) -> TlsServer:
        server = FastServer(pem_path)
        server._owner.set_min_proto_version(version)
        server._owner.set_max_proto_version(version)
        return server

    return make


@pytest.mark.skipif(not RYLL.exists(), reason="ryll is not installed")
@pytest.mark.skipif(not shutil.which("remote-viewer"), reason="remote-viewer is missing")
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
async def test_each_viewer_gets_a_picture_over_each_version_of_tls(
    version: int, machine: Qemu, screen: str, broker_home: Path, tmp_path: Path
) -> None:
    file = broker_home / "x.vv"
    viewers = {
        "spicy": ("spicy-screenshot", "-h", "localhost", "-o", f"{tmp_path}/screen.ppm"),
        "remote-viewer": ("remote-viewer", str(file)),
        "ryll": (str(RYLL), "--headless", "--file", str(file)),
    }
    tls = speaking_only(version)
    async with proxying(tmp_path, dialer=TargetDialer(machine), tls=tls) as rig:
        for token, command in viewers.items():
            rig.gate.allow(HandOverTarget(f"{machine.directory}/ctl"), token=token)
            file.write_text(rig.vv(token))
            more = ("-s", str(rig.port), "-w", token) if token == "spicy" else ()
            here = {
                "DISPLAY": screen,
                "NO_AT_BRIDGE": "1",
                "SSL_CERT_FILE": f"{rig.identity.ca_path}",
            }
            async with program(*command, *more, **here) as running:
                await rig.gate.heard(ChannelOpened, display_of(token))
                if token == "spicy":  # it takes its picture and ends
                    async with asyncio.timeout(SECONDS):
                        await running.wait()
            await rig.gate.heard(SessionClosed, session_of(token))
        assert (tmp_path / "screen.ppm").read_bytes().startswith(b"P6\n720 400")
        assert await machine.is_alive()


def disc(boot: bytes) -> bytes:
    """An ISO image from which a BIOS boots those 512 bytes (El Torito, no emulation)."""
    volume = b"\1CD001\1".ljust(2048, b"\0")
    record = b"\0CD001\1EL TORITO SPECIFICATION".ljust(0x47, b"\0") + struct.pack("<I", 18)
    check = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xAA))
    struct.pack_into("<H", check, 0x1C, -sum(struct.unpack("<16H", check)) & 0xFFFF)
    catalog = bytes(check) + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 19)
    sectors = (volume, record, catalog, boot, bytes(40 * 2048))
    return bytes(16 * 2048) + b"".join(sector.ljust(2048, b"\0") for sector in sectors)


@pytest.mark.skipif(not shutil.which("remote-viewer"), reason="remote-viewer is missing")
async def test_the_machine_boots_from_a_disc_that_remote_viewer_shares(
    machine: Qemu, rig: Rig, screen: str, broker_home: Path
) -> None:
    """spice-gtk's own USB device, spoken to by QEMU: nothing of it is refused."""
    (broker_home / "x.vv").write_text(rig.vv())
    word = demo.BANNER.replace(b"DEMO", b"DISC")
    (broker_home / "x.iso").write_bytes(disc(demo.image_bytes().replace(b"DEMO", b"DISC")))
    usb = {"command-line": "info usb"}
    async with program(
        *("remote-viewer", f"--spice-share-cd={broker_home}/x.iso"),
        *("--spice-usbredir-redirect-on-connect=-1,-1,-1,-1,1", str(broker_home / "x.vv")),
        DISPLAY=screen,
        NO_AT_BRIDGE="1",
    ):
        await rig.gate.heard(ChannelOpened, lambda opened: opened.channel == "usbredir.0")
        async with asyncio.timeout(SECONDS):
            while "480 Mb/s, Product USB Redirection" not in await machine.qmp(  # noqa: ASYNC110 - nobody tells
                "human-monitor-command", **usb
            ):
                await asyncio.sleep(0.05)
        await machine.qmp("system_reset")
        await machine.says(word)
    await assert_it_went_well(machine, rig, hasty=True)


async def white_rows(screen: str) -> int:
    """Rows of that display that hold a white run as wide as the guest's block."""
    process = await asyncio.create_subprocess_exec(
        *("import", "-display", screen, "-window", "root", "-depth", "8", "rgb:-"),
        stdout=asyncio.subprocess.PIPE,
    )
    pixels, _ = await process.communicate()
    rows = (pixels[start : start + 1024 * 3] for start in range(0, len(pixels), 1024 * 3))
    return sum(bytes(WHITE) * (RIGHT - LEFT) in row for row in rows)


@pytest.mark.skipif(not shutil.which("remote-viewer"), reason="remote-viewer is missing")
async def test_remote_viewer_shows_all_of_what_a_key_changed_at_once(
    machine: Qemu, rig: Rig, screen: str, broker_home: Path
) -> None:
    """The change comes as seven messages. spice-gtk would show the first and keep the others
    until something else happens, if they were all in one TLS record."""
    (broker_home / "x.vv").write_text(rig.vv())
    async with program(
        "remote-viewer", str(broker_home / "x.vv"), DISPLAY=screen, NO_AT_BRIDGE="1"
    ):
        await rig.gate.heard(ChannelOpened, lambda opened: opened.channel == "cursor.0")
        assert await white_rows(screen) == 0
        await machine.qmp("human-monitor-command", **{"command-line": "sendkey a"})
        await machine.says(b"K1\r\n")
        async with asyncio.timeout(SECONDS):
            while await white_rows(screen) != BOTTOM - TOP:  # noqa: ASYNC110 - a screen tells nobody
                await asyncio.sleep(0.05)
    await assert_it_went_well(machine, rig, hasty=True)
