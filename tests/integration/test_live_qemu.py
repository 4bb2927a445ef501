"""A real guest's screen as the live view gets it: both ways to it, and its letters."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from broker import demo
from broker.config.locations import Locations
from broker.errors import Occupied, Unreachable
from broker.model import Machine, MachineId
from broker.runtime import open_service
from broker.service.port import Service
from broker.view import Spoken, View, Way
from tests.guests import needs_qemu
from tui.live.letters import CP437, Page, Reader

pytestmark = [pytest.mark.qemu, needs_qemu]

PATIENCE = 60.0
ALL_GLYPHS = bytes.fromhex("b80300cd10b401b90020cd10b800b88ec031ffb80007abfec075fbf4ebfd")
"""Boots, hides the cursor, and writes all 256 signs to the text screen, grey on black."""


@pytest.fixture
async def service(broker_home: Path) -> AsyncIterator[Service]:
    """The port over a home of its own."""
    async with open_service() as opened:
        yield opened


async def started(service: Service, image: Path, name: str = "vm") -> Machine:
    uuid = MachineId("6f4e2c1a-0000-4000-8000-0000000000aa")
    spec = demo.machine_spec(image, name=name, uuid=uuid)
    machine = await service.define(spec)
    return await service.start(machine.key)


async def shown(view: View, holds: Callable[[Page], bool]) -> Page:
    """The first page of text for which that holds."""
    reader = Reader()
    async with asyncio.timeout(PATIENCE):
        while True:
            page = reader.read(await view.frame())
            if page is not None and holds(page):
                return page


async def to_the_end(view: View) -> None:
    """Look on until it is gone, which raises."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await view.frame()


@pytest.fixture
def image(broker_home: Path) -> Path:
    """The demo guest's."""
    path = broker_home / "demo.img"
    path.write_bytes(demo.image_bytes())
    return path


def says_ready(page: Page) -> bool:
    return "CONSOLE BROKER DEMO READY" in page.text


def block(page: Page) -> int:
    """The colour in the middle of the demo guest's screen."""
    return page.rows[12][40] & 0xFFFFFF


async def test_the_monitor_shows_it_hears_keys_and_takes_no_place(
    service: Service, image: Path
) -> None:
    machine = await started(service, image)
    try:
        async with service.view(machine.key, Way.WATCH) as view:
            before = block(await shown(view, says_ready))
            await view.press(["ctrl-a"])
            await shown(view, lambda page: block(page) != before)
            await view.type("a")
            await shown(view, lambda page: block(page) == before)
            assert view.via == "monitor"
            assert await service.sessions() == []
    finally:
        await service.kill(machine.key)


async def test_through_the_proxy_it_is_a_session_and_nobody_is_thrown_out(
    service: Service, image: Path
) -> None:
    machine = await started(service, image)
    await service.host_proxy()
    try:
        async with service.view(machine.key) as view:
            before = block(await shown(view, says_ready))
            await view.type("a")
            await shown(view, lambda page: block(page) != before)
            await view.press(["f1"])
            await shown(view, lambda page: block(page) == before)
            assert (view.via, view.whole) == ("spice", True)
            async with asyncio.timeout(PATIENCE):
                while not (there := await service.sessions()):  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.05)
            told = [(session.label, session.client) for session in there]
            assert told == [("live view", "127.0.0.1:0")]  # by the private socket, without TLS
            with pytest.raises(Occupied):
                await service.view(machine.key).__aenter__()
            async with service.view(machine.key, Way.WATCH) as looking:
                await shown(looking, says_ready)
            async with service.view(machine.key, Way.TAKE_OVER) as taken:
                await shown(taken, says_ready)
                with pytest.raises(Unreachable):
                    await to_the_end(view)
    finally:
        await service.kill(machine.key)


async def test_a_proxy_without_a_private_socket_is_reached_over_tls(
    service: Service, image: Path, locations: Locations
) -> None:
    machine = await started(service, image)
    await service.host_proxy()
    locations.proxy_sock.unlink()
    try:
        async with service.view(machine.key) as view, asyncio.timeout(PATIENCE):
            await shown(view, says_ready)
            while not (there := await service.sessions()):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.05)
            assert there[0].client.startswith("127.0.0.1:")
            assert not there[0].client.endswith(":0")
    finally:
        await service.kill(machine.key)


async def test_what_is_said_to_a_session_is_the_first_its_view_hears(
    service: Service, image: Path
) -> None:
    machine = await started(service, image)
    await service.host_proxy()
    try:
        async with service.view(machine.key) as view, asyncio.timeout(PATIENCE):
            assert isinstance(view, Spoken)
            await shown(view, says_ready)
            while not (there := await service.sessions()):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.05)
            await service.message(there[0].id, "Back at five")
            assert await view.said() == "Back at five"
    finally:
        await service.kill(machine.key)


async def test_who_comes_back_at_once_does_not_meet_themselves(
    service: Service, image: Path
) -> None:
    machine = await started(service, image)
    await service.host_proxy()
    try:
        for _ in range(3):
            async with service.view(machine.key) as view:
                await shown(view, says_ready)
    finally:
        await service.kill(machine.key)


@pytest.mark.parametrize("way", [Way.WATCH, Way.USE], ids=["monitor", "spice"])
async def test_a_qemu_that_is_killed_ends_the_view_with_a_reason(
    service: Service, image: Path, way: Way
) -> None:
    machine = await started(service, image)
    try:
        if way is Way.USE:
            await service.host_proxy()
        async with service.view(machine.key, way) as view:
            await shown(view, says_ready)
            assert machine.pid is not None
            os.kill(machine.pid, signal.SIGKILL)
            with pytest.raises(Unreachable) as gone:
                await to_the_end(view)
            assert gone.value.what
            with pytest.raises(Unreachable):
                await view.key("a", down=True)
    finally:
        await service.kill(machine.key)


async def test_every_sign_that_qemu_draws_is_read(service: Service, broker_home: Path) -> None:
    image = broker_home / "glyphs.img"
    boot = ALL_GLYPHS.ljust(510, b"\0") + b"\x55\xaa"
    image.write_bytes(boot.ljust(demo.IMAGE_BYTES, b"\0"))
    machine = await started(service, image)
    try:
        async with service.view(machine.key, Way.WATCH) as view:
            page = await shown(view, lambda page: "≡±≥≤⌠⌡÷≈" in page.text)  # it has come to the end
        read = "".join(chr(cell >> 48) for row in page.rows[:4] for cell in row)[:256]
        expected = " " + CP437[1:255] + " "
        odd = [(a, b) for a, b in zip(read, expected, strict=True) if a != b]
        # The same pictures with their colours swapped.
        assert set(odd) <= {(" ", "█"), ("▀", "▄"), ("▌", "▐")}, odd
        assert {cell & 0xFFFFFFFFFFFF for cell in page.rows[1]} == {0xA8A8A8000000}
    finally:
        await service.kill(machine.key)
