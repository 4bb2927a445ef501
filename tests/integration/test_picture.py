"""The picture that our client keeps, held against QEMU's own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model import Display
from broker.spice.client import ChannelClient, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from broker.spice.screen import Screen
from broker.vm.handover import hand_over
from tests.broker.proxy.rig import SECONDS, Connection
from tests.guests import Guest, Home, needs_qemu, qmp, running_guest
from tests.integration.moving import SIZES, moving, needs_nasm

pytestmark = [pytest.mark.qemu, needs_qemu]


async def connected(guest: Guest, client: ChannelClient) -> Connection:
    channel = await hand_over(str(guest.paths.ctl))
    connection = Connection(client, *await asyncio.open_connection(sock=channel))
    await connection.flush()
    return connection


def shown(screen: Screen) -> tuple[int, int, bytes]:
    """Its picture as width, height and R, G, B of each pixel."""
    picture = screen.picture()
    return (0, 0, b"") if picture is None else (picture.width, picture.height, picture.rgb())


async def dumped(guest: Guest, file: Path) -> tuple[int, int, bytes]:
    """QEMU's own picture, in the same shape."""
    await qmp(guest.paths.qmp, "screendump", {"filename": str(file)})
    content = await asyncio.to_thread(file.read_bytes)
    found = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", content)
    assert found is not None
    return int(found[1]), int(found[2]), content[found.end() :]


async def more(display: Connection) -> None:
    """Have the next of what comes on the screen, be it a drawing or a new surface."""
    async with asyncio.timeout(SECONDS):
        data = await display.reader.read(65536)
    assert data, "it was closed"
    display.client.receive_data(data)
    assert display.client.failure is None
    await display.flush()


async def agree(guest: Guest, display: Connection, screen: Screen, file: Path) -> None:
    """Take what is drawn until both show the same; a hang fails."""
    while shown(screen) != await dumped(guest, file):
        await more(display)


@asynccontextmanager
async def looking(guest: Guest) -> AsyncIterator[tuple[Connection, Screen]]:
    """A display of a session with a guest, and what it shows."""
    main = await connected(guest, ChannelClient(ChannelType.MAIN, b""))
    session = (await main.until(MainReady)).init.session_id
    screen = Screen()
    client = ChannelClient(ChannelType.DISPLAY, b"", connection_id=session, screen=screen)
    display = await connected(guest, client)
    await display.until(SurfaceCreated)
    try:
        yield display, screen
        assert not screen.undrawn
    finally:
        await display.close()
        await main.close()


KINDS = pytest.mark.parametrize("kind", [Display.STD, Display.QXL, Display.VIRTIO])


@KINDS
async def test_our_picture_is_qemus_to_the_pixel(home: Home, kind: Display, tmp_path: Path) -> None:
    async with (
        running_guest(home, replace(home.spec(), display=kind)) as guest,
        looking(guest) as (display, screen),
    ):
        await agree(guest, display, screen, tmp_path / "before.ppm")
        before = shown(screen)
        await guest.press_key()
        while shown(screen) == before:
            await more(display)
        await agree(guest, display, screen, tmp_path / "after.ppm")
        assert shown(screen) != before


@needs_nasm
@KINDS
async def test_so_it_is_while_the_picture_changes_in_text_and_in_graphics(
    home: Home, kind: Display, tmp_path: Path
) -> None:
    """The guest rests for each look: what it had just drawn is on its way then."""
    async with moving(home, kind) as guest, looking(guest) as (display, screen):
        for mode, size in enumerate(SIZES):
            if mode:
                await guest.press_key()
                await guest.serial.until(b"M%d\n" % mode)
            await until_it_moves(display, screen, size)
            seen = []
            for look in range(3):
                await guest.serial.send(b".")
                await guest.serial.until(b"R\n")
                await agree(guest, display, screen, tmp_path / f"{mode}-{look}.ppm")
                seen.append(shown(screen))
                await guest.serial.send(b".")
                await guest.serial.until(b"G\n")
                await until_it_moves(display, screen, size, seen[-1])
            assert len(set(seen)) == len(seen)


async def until_it_moves(
    display: Connection,
    screen: Screen,
    size: tuple[int, int],
    seen: tuple[int, int, bytes] | None = None,
) -> None:
    """Until a picture of that size is there, another than the one that was seen."""
    while screen.size != size or shown(screen) == seen:
        await more(display)
