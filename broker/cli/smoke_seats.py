"""Who sits at the console in `broker smoke`: our own client, ryll or remote-viewer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Protocol

from broker.cli import commands
from broker.cli.headless import by_file, read_file
from broker.cli.smoke_programs import LOOK_SECONDS, ended, program, running, screen, still
from broker.errors import Unreachable, UsageError
from broker.headless.control_client import ControlClient, controlling
from broker.headless.session import Session
from broker.spice.constants import ChannelType
from broker.spice.pixels import Pixels

SEATS: Final = commands.CHOICES["--client"]
KEY_A: Final = 0x1E
Picture = tuple[int, int, bytes]
"""Width, height, and red, green and blue of each pixel."""


class Seat(Protocol):
    """A viewer on the file that a person would open. All raise Unreachable."""

    async def connected(self) -> str:
        """Be connected, in the viewer's own view; a word on how."""
        ...

    async def picture(self, other_than: Picture | None = None) -> Picture:
        """What it shows, once something is on it and it is another than before."""
        ...

    async def press(self) -> None:
        """Press the key A."""
        ...

    def missing(self) -> dict[str, int]:
        """What it could not draw, and how often."""
        ...


def needed(name: str) -> None:
    """See that a viewer can be used here.

    Raises:
        UsageError: It is not installed, or what drives it.
    """
    tools = {"ours": (), "ryll": ("ryll",), "remote-viewer": ("remote-viewer", "xdotool", "import")}
    lacking = [tool for tool in tools[name] if program(tool) is None]
    if name == "remote-viewer" and not os.environ.get("DISPLAY") and program("Xvfb") is None:
        lacking.append("Xvfb (or a DISPLAY)")
    if lacking:
        raise UsageError(
            f"--client {name} needs {', '.join(lacking)}",
            fix="pip install ryll"
            if name == "ryll"
            else "apt install virt-viewer xdotool imagemagick xvfb",
        )


def seat(name: str, file: Path, kept: Path, stack: AsyncExitStack) -> Seat:
    """A viewer of that name, not started; the stack ends it."""
    kinds: dict[str, Callable[[], Seat]] = {
        "ours": lambda: Ours(file, stack),
        "ryll": lambda: Ryll(file, kept, stack),
        "remote-viewer": lambda: RemoteViewer(file, kept, stack),
    }
    return kinds[name]()


class Ours:
    """Our own client."""

    def __init__(self, file: Path, stack: AsyncExitStack) -> None:
        self._file, self._stack = file, stack
        self._session: Session | None = None

    @property
    def _seen(self) -> Session:
        assert self._session is not None
        return self._session

    async def connected(self) -> str:
        """See `Seat`."""
        file = await asyncio.to_thread(read_file, str(self._file))
        self._session = await self._stack.enter_async_context(by_file(file))
        return f"{self._session.tls}, {', '.join(sorted(map(_name, self._session.offered)))}"

    async def picture(self, other_than: Picture | None = None) -> Picture:
        """See `Seat`."""
        found = await self._seen.picture()
        while _shape(found) == other_than:
            found = await self._seen.picture(other_than=found)
        return _shape(found)

    async def press(self) -> None:
        """See `Seat`."""
        await self._seen.press(KEY_A)

    def missing(self) -> dict[str, int]:
        """See `Seat`."""
        return dict(self._seen.screen.undrawn)


class Ryll:
    """ryll without a window, by its control socket."""

    def __init__(self, file: Path, kept: Path, stack: AsyncExitStack) -> None:
        self._file, self._kept, self._stack = file, kept, stack
        self._control: ControlClient | None = None

    @property
    def _asked(self) -> ControlClient:
        assert self._control is not None
        return self._control

    async def connected(self) -> str:
        """See `Seat`."""
        path = self._file.with_name("ryll.sock")
        words = ["--headless", "--file", str(self._file), "--control-socket", str(path)]
        process = await self._stack.enter_async_context(
            running(program("ryll") or "ryll", *words, log=self._kept / "viewer.log")
        )
        while self._control is None:
            with contextlib.suppress(Unreachable):
                control = controlling(path, name="broker smoke")
                self._control = await self._stack.enter_async_context(control)
            await still(process)
        while True:
            status = await self._asked.ask("status")
            surfaces = status.get("surfaces")
            if status.get("spice_connected") and surfaces:
                return f"{self._asked.server}, {surfaces}"
            await still(process)

    async def picture(self, other_than: Picture | None = None) -> Picture:
        """See `Seat`."""
        while True:
            shot = await self._asked.ask("screenshot", format="rgba")
            rgba = base64.b64decode(str(shot["data_base64"]))
            rgb = bytearray(len(rgba) // 4 * 3)
            for place in range(3):
                rgb[place::3] = rgba[place::4]
            found = (int(str(shot["width"])), int(str(shot["height"])), bytes(rgb))
            if any(rgb) and found != other_than:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    async def press(self) -> None:
        """See `Seat`."""
        await self._asked.ask("send_key", scancode=KEY_A, state="press")

    def missing(self) -> dict[str, int]:
        """Nothing that it would tell."""
        return {}


class RemoteViewer:
    """remote-viewer on this display, or on one of its own."""

    def __init__(self, file: Path, kept: Path, stack: AsyncExitStack) -> None:
        self._file, self._kept, self._stack = file, kept, stack
        self._display = os.environ.get("DISPLAY", "")
        self._window = ""

    async def connected(self) -> str:
        """See `Seat`."""
        if not self._display:
            self._display = await self._stack.enter_async_context(screen())
        log = self._kept / "viewer.log"
        viewer = running("remote-viewer", str(self._file), log=log, DISPLAY=self._display)
        process = await self._stack.enter_async_context(viewer)
        pid = str(process.pid)
        while not self._window:
            found = await self._told("xdotool", "search", "--onlyvisible", "--pid", pid)
            self._window = found.decode().strip().rpartition("\n")[2]
            await still(process)
        return f"its window is on display {self._display}"

    async def picture(self, other_than: Picture | None = None) -> Picture:
        """See `Seat`; of the whole display, which is what a person would see."""
        while True:
            ppm = await self._told("import", "-window", "root", "-depth", "8", "ppm:-")
            found = _of_ppm(ppm)
            if found is not None and len(set(found[2])) > 1 and found != other_than:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    async def press(self) -> None:
        """See `Seat`."""
        await self._told("xdotool", "windowfocus", self._window, "key", "a")

    def missing(self) -> dict[str, int]:
        """Nothing that it would tell."""
        return {}

    async def _told(self, *command: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "DISPLAY": self._display},
        )
        try:
            return (await process.communicate())[0]
        finally:
            await ended(process)


def _of_ppm(ppm: bytes) -> Picture | None:
    words = ppm.split(maxsplit=3)
    if len(words) < 4 or words[0] != b"P6":
        return None
    width, height = int(words[1]), int(words[2])
    return width, height, ppm[-width * height * 3 :]


def _shape(picture: Pixels) -> Picture:
    return picture.width, picture.height, picture.rgb()


def _name(channel: tuple[int, int]) -> str:
    kind = channel[0]
    return ChannelType(kind).name.lower() if kind in set(ChannelType) else str(kind)
