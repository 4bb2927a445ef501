"""The interface in a browser with a real guest: seen and typed at, through the door and the tab."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pyte
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSMsgType

from broker.runtime import open_service
from tests.guests import logged, needs_qemu
from tui.web import Guarded, listen

pytestmark = [pytest.mark.qemu, needs_qemu, pytest.mark.timeout(600)]
PATIENCE = 90.0
SIZE = (100, 30)
LEADER = "\x1d"
KEYBOARD_OR_CLIPBOARD = re.compile(rb"\x1b\[[<>=][\d;]*u|\x1b\]52")
"""What only a terminal of one's own is to be told: kitty's keyboard, and OSC 52."""


class Tab:
    """A tab of a browser, as far as its terminal goes."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.heard = bytearray()
        self._socket = socket
        self._screen = pyte.Screen(*SIZE)
        self._stream = pyte.ByteStream(self._screen)

    async def type(self, text: str) -> None:
        await self._socket.send_json(["stdin", text])

    def text(self) -> str:
        return "\n".join(self._screen.display)

    async def until(self, wanted: str, *, gone: bool = False) -> None:
        """Wait for a text to be (not) there."""
        try:
            async with asyncio.timeout(PATIENCE):
                while (wanted in self.text()) is gone:
                    message = await self._socket.receive()
                    assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), self.text()
                    data = message.data
                    data = data if isinstance(data, bytes) else data.encode()
                    self.heard += data
                    self._stream.feed(data)
        except TimeoutError as exc:
            raise AssertionError(f"waited for {wanted!r}, saw:\n{self.text()}") from exc


@pytest.fixture
async def server(broker_home: Path) -> AsyncIterator[Guarded]:
    """Serving, with the demo guest in each tab; that is ended at the end."""
    stop = asyncio.Event()
    with listen(0) as sock:
        made = Guarded(sock, ("--demo",))
        async with asyncio.TaskGroup() as group:
            group.create_task(made.serve_until(stop))
            yield made
            stop.set()
    async with open_service() as service:
        for info in await service.consoles():
            await service.kill(info.machine.key)


async def test_a_guest_s_screen_and_serial_port_in_a_tab(
    server: Guarded, broker_home: Path
) -> None:
    async with (
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser,
        browser.get(server.address) as page,
        browser.ws_connect(
            f"{server.public_url}/ws?width={SIZE[0]}&height={SIZE[1]}", max_msg_size=0
        ) as socket,
    ):
        assert page.status == 200
        await use(Tab(socket), lambda: next(broker_home.glob("**/serial.log")))


async def use(tab: Tab, log: Callable[[], Path]) -> None:
    """Look, type, copy; then the serial port."""
    await tab.until("● running")
    await tab.until("● proxy")
    await tab.type("l")
    await tab.until("keyboard: guest")
    await tab.until("CONSOLE BROKER DEMO READY")
    await tab.type("a")
    await logged(log(), b"K1\r\n", timeout=PATIENCE)
    await tab.type(LEADER)
    await tab.until("Copy the screen's text")
    await tab.type("c")
    await tab.until("Not copied")
    await tab.type(LEADER)
    await tab.until("Copy the screen's text")
    await tab.type(".")
    await tab.until("1 Consoles")
    await tab.type("s")
    await tab.until("K1")
    assert "● running" in tab.text()
    await tab.type("b")
    await tab.until("K0")
    await tab.type(LEADER + ".")
    await tab.until("K0", gone=True)
    assert KEYBOARD_OR_CLIPBOARD.search(tab.heard) is None
