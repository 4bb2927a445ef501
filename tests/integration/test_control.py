"""The control protocol: one suite, held against the real ryll and against `broker control`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import stat
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker import demo
from broker.model import HandOverTarget
from broker.proxy.dial import TargetDialer
from tests.broker.proxy.qemu import Qemu, running_qemu
from tests.broker.proxy.rig import SECONDS, proxying
from tests.guests import needs_qemu
from tests.integration.cli import BROKER, environment
from tests.integration.digest_guest import image
from tests.integration.moving import needs_nasm
from tests.integration.test_proxy_viewers import program

RYLL = Path(sys.executable).with_name("ryll")
SPACE = 0x39
AGENT = ("-chardev", "spicevmc,id=agent,name=vdagent", "-device", "isa-serial,chardev=agent")
"""An agent's port that is always open, so that one counts as connected."""

pytestmark = [pytest.mark.qemu, pytest.mark.viewer, needs_qemu]


class Wire:
    """A client that says what it is told to say, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[dict[str, Any]] = []
        self._reader, self._writer = reader, writer

    async def say(self, line: bytes) -> None:
        self._writer.write(line + b"\n")
        await self._writer.drain()

    async def hear(self) -> dict[str, Any]:
        """The next line; nothing when the other side has closed."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionResetError):
                if line := await self._reader.readline():
                    return dict(json.loads(line))
        return {}

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """A request's whole answer; events that come before it are kept."""
        await self.say(json.dumps({"id": method, "method": method, "params": params}).encode())
        while (said := await self.hear()).get("id") != method:
            if not said or "event" not in said:
                return said
            self.events.append(said)
        return said

    async def hello(self) -> dict[str, Any]:
        return await self.ask("hello", client_name="test", protocol_version="1.2")

    async def event(self, name: str) -> dict[str, Any]:
        """The data of the next event of that name."""
        while True:
            while self.events:
                said = self.events.pop(0)
                if said["event"] == name:
                    return dict(said["data"])
            said = await self.hear()
            assert said, "it has closed"
            self.events.append(said)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Viewer:
    """A headless viewer of another process, and the machine that it shows."""

    def __init__(self, path: Path, machine: Qemu) -> None:
        self.path = path
        self.machine = machine
        self._wires: list[Wire] = []

    async def wire(self) -> Wire:
        """A connection, as soon as it listens."""
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    opened = await asyncio.open_unix_connection(str(self.path), limit=1 << 24)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(0.02)
                else:
                    self._wires.append(Wire(*opened))
                    return self._wires[-1]

    async def ready(self) -> Wire:
        """A connection that has said hello, when there is a screen."""
        wire = await self.wire()
        assert (await wire.hello())["ok"]
        async with asyncio.timeout(SECONDS):
            while not (await wire.ask("status"))["result"]["surfaces"]:  # noqa: ASYNC110 - it has to be asked
                await asyncio.sleep(0.02)
        return wire

    async def close(self) -> None:
        for wire in self._wires:
            await wire.close()


@contextlib.asynccontextmanager
async def viewing(kind: str, home: Path, disk: Path | None = None) -> AsyncIterator[Viewer]:
    """One of that kind, at a machine that has started.

    Args:
        disk: The machine's; the demo guest's when None.
    """
    if kind == "ryll" and not RYLL.exists():
        pytest.skip("ryll is not installed")
    file, path = home / "x.vv", home / "c.sock"
    ryll = (str(RYLL), "--headless", "--file", str(file), "--control-socket", str(path),
            "--enable-paste-as-keystrokes")  # fmt: skip
    ours = (*BROKER, "control", "--file", str(file), "--socket", str(path))
    async with contextlib.AsyncExitStack() as stack:
        machine = await stack.enter_async_context(running_qemu("agent-mouse=on", *AGENT, disk=disk))
        dialer = TargetDialer(machine)
        async with proxying(home, dialer=dialer) as rig:
            rig.gate.allow(HandOverTarget(f"{machine.directory}/ctl"))
            file.write_text(rig.vv())
            async with program(*(ours if kind == "broker" else ryll), **environment()):
                viewer = Viewer(path, machine)
                try:
                    yield viewer
                finally:
                    await viewer.close()


@pytest.fixture(params=["broker", "ryll"])
async def viewer(request: pytest.FixtureRequest, broker_home: Path) -> AsyncIterator[Viewer]:
    async with viewing(request.param, broker_home) as viewer:
        yield viewer


def code(answer: dict[str, Any]) -> str:
    assert answer["ok"] is False
    return str(answer["error"]["code"])


async def test_hello_comes_first_and_says_what_there_is(viewer: Viewer) -> None:
    wire = await viewer.wire()
    assert stat.S_IMODE(viewer.path.stat().st_mode) == 0o600
    assert code(await wire.ask("status")) == "no_hello_yet"
    said = (await wire.hello())["result"]
    assert said["protocol_version"].startswith("1.")
    assert set(said["supported_methods"]) >= {
        "hello", "status", "send_key", "paste", "screenshot", "subscribe", "unsubscribe",
    }  # fmt: skip
    assert set(said["supported_events"]) >= {"latency", "agent_connected", "surface_drawn"}
    digests = [event for event in said["supported_events"] if event == "digest_updated"]
    wanted = await wire.ask("subscribe", events=["digest_updated"])
    assert wanted["result"]["subscribed"] == digests  # ryll has it as a build option
    assert code(await wire.ask("dance")) == "unknown_method"
    assert code(await wire.ask("send_key", scancode="x", state="press")) == "bad_params"


async def test_another_version_is_turned_away(viewer: Viewer) -> None:
    wire = await viewer.wire()
    said = await wire.ask("hello", client_name="test", protocol_version="2.0")
    assert code(said) == "protocol_version_mismatch"
    assert await wire.hear() == {}


async def test_one_client_at_a_time(viewer: Viewer) -> None:
    first = await viewer.ready()
    second = await viewer.wire()
    said = await second.hear()
    assert (code(said), "id" in said) == ("busy", False)
    assert await second.hear() == {}
    assert (await first.ask("status"))["ok"]


async def test_a_key_reaches_the_guest_and_its_drawing_is_told(viewer: Viewer) -> None:
    wire = await viewer.ready()
    status = (await wire.ask("status"))["result"]
    assert (status["spice_connected"], status["agent_connected"]) == (True, True)
    (surface,) = status["surfaces"]
    assert (surface["surface_id"], surface["width"], surface["height"]) == (0, 720, 400)
    wanted = await wire.ask("subscribe", events=["surface_drawn", "no_such_event"])
    assert wanted["result"]["subscribed"] == ["surface_drawn"]
    assert code(await wire.ask("send_key", scancode=SPACE, state="sideways")) == "bad_state"
    assert (await wire.ask("send_key", scancode=SPACE, state="press"))["result"] == {}
    await viewer.machine.says(demo.ANSWERS[1])
    drawn = await wire.event("surface_drawn")
    assert (drawn["display_channel_id"], drawn["surface_id"]) == (0, 0)
    assert drawn["wallclock_us"] > 1_700_000_000_000_000
    removed = await wire.ask("unsubscribe", events=["surface_drawn", "latency"])
    assert removed["result"]["unsubscribed"] == ["surface_drawn"]


async def test_pictures_in_both_forms_show_the_same(viewer: Viewer) -> None:
    wire = await viewer.ready()
    png = (await wire.ask("screenshot", format="png"))["result"]
    content = base64.b64decode(png["data_base64"])
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (png["width"], png["height"]) == (720, 400)
    rgba = (await wire.ask("screenshot", surface_id=0, format="rgba"))["result"]
    assert len(base64.b64decode(rgba["data_base64"])) == 720 * 400 * 4
    assert code(await wire.ask("screenshot", surface_id=77)) == "no_such_surface"
    assert code(await wire.ask("screenshot", format="bmp")) == "unsupported_format"


async def test_a_text_is_typed_and_its_end_told(viewer: Viewer) -> None:
    wire = await viewer.ready()
    await wire.ask("subscribe", events=["paste_completed", "paste_failed"])
    assert (await wire.ask("paste", text="a"))["result"] == {}
    await viewer.machine.says(demo.ANSWERS[1])
    done = await wire.event("paste_completed")
    assert (done["request_id"], done["chars_sent"]) == ("paste", 1)
    assert (await wire.ask("paste", text="ß", char_delay_ms=1))["ok"]
    assert (await wire.event("paste_failed"))["request_id"] == "paste"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nonsense", "bad_params"),
        (b"[]", "bad_params"),
        (b'{"id":true,"method":"hello","params":{}}', "bad_params"),
        (b'{"id":1,"method":"hello"}', "bad_params"),
        (b"[" * 100_000, "bad_params"),
        (b"\xff\xfe", "bad_params"),
    ],
    ids=["no json", "no object", "odd id", "no params", "deep", "no utf-8"],
)
async def test_nonsense_is_answered_and_ends_nothing(
    viewer: Viewer, line: bytes, says: str
) -> None:
    wire = await viewer.wire()
    await wire.say(line)
    assert code(await wire.hear()) == says
    assert (await wire.hello())["ok"]


def digest(frame: int, *events: bytes) -> bytes:
    """As Sextant draws it."""
    hashes = b"".join(struct.pack("<BBI", tag, 4, 0) for tag in range(0x11, 0x19))
    head = struct.pack("<4sBIB", b"SXDG", 2, frame, 8 + len(events))
    return head + hashes + b"".join(events) + struct.pack("<I", 0xEFBE0000 + frame)


@needs_nasm
@pytest.mark.parametrize("kind", ["broker", "ryll"])
async def test_digests_on_the_screen_are_told_where_they_can_be_read(
    kind: str, broker_home: Path
) -> None:
    event = struct.pack("<BBQHH", 1, 12, 138550, ord("\r"), 28)
    disk = image(broker_home / "digest.img", [digest(281), digest(282, event)])
    async with viewing(kind, broker_home, disk) as viewer:
        wire = await viewer.ready()
        wanted = await wire.ask("subscribe", events=["digest_updated"])
        if not wanted["result"]["subscribed"]:
            assert kind == "ryll"
            pytest.skip("this ryll was built without digest-decode")
        first = await wire.event("digest_updated")
        assert (first["frame_counter"], first["events"]) == (281, [])
        assert first["framebuffer_hash"] == 0xEFBE0000 + 281
        assert first["wallclock_us"] > 1_700_000_000_000_000
        await wire.ask("send_key", scancode=SPACE, state="press")
        second = await wire.event("digest_updated")
        assert second["frame_counter"] == 282
        (told,) = second["events"]
        assert told == {"keypress": {"unicode": "\r", "scancode": 28, "timestamp_ms": 138550}}
