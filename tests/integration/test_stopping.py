"""SIGTERM and SIGHUP to whoever serves, while somebody is at a real machine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl

import pytest

from broker import pki
from broker.config.locations import Locations
from broker.spice.client import Linked, MainReady
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType
from tests.broker.proxy.rig import SECONDS
from tests.integration.house import House, Viewer, house, reasons
from tests.integration.test_serving import gone

__all__ = ["house"]
pytestmark = pytest.mark.qemu


async def press(house: House, viewer: Viewer) -> None:
    await viewer.inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")


async def nobody_new(house: House) -> None:
    """Wait until whoever comes is told that it ends."""
    async with asyncio.timeout(SECONDS):
        while True:
            late = await house.open(ChannelType.MAIN, "whatever")
            if await late.until(LinkRefused) == LinkRefused(1, ticket_judged=False):
                return
            await late.close()  # only so many may be half open


async def test_sessions_go_on_for_a_while_and_nobody_new_is_let_in(house: House) -> None:
    token = await house.token()
    main = await house.open(ChannelType.MAIN, token)
    session = (await main.until(MainReady)).init.session_id
    status = house.status
    os.kill(status.pid or 0, signal.SIGTERM)
    await nobody_new(house)
    inputs = await house.open(ChannelType.INPUTS, token, session=session)
    await inputs.until(Linked)
    await inputs.press(0x1E)
    await house.qemu.says(b"K1\r\n")
    await main.close()
    for pid in (status.pid or 0, *status.workers):
        await gone(pid)
    assert await house.qemu.is_alive()
    assert reasons() == ["client-closed"]


async def test_the_second_signal_ends_them(house: House) -> None:
    viewer = await house.viewer()
    status = house.status
    os.kill(status.pid or 0, signal.SIGTERM)
    await nobody_new(house)  # before that, two signals may be one
    await press(house, viewer)
    os.kill(status.pid or 0, signal.SIGTERM)
    await viewer.closed()
    await gone(status.pid or 0)
    assert await house.qemu.is_alive()
    assert reasons() == ["proxy-stopped"]


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PROXY_DRAIN_GRACE", "0.5")


async def test_what_is_left_after_the_grace_is_ended(
    short_grace: None, house: House, locations: Locations
) -> None:
    viewer = await house.viewer()
    status = house.status
    os.kill(status.pid or 0, signal.SIGTERM)
    await viewer.closed()
    await gone(status.pid or 0)
    assert "1 session may go on for 0.5 s" in (locations.logs_dir / "proxy.log").read_text()
    assert await house.qemu.is_alive()
    assert reasons() == ["proxy-stopped"]


def names_shown(port: int, ca_pem: str) -> set[str]:
    """The host names in the certificate that the proxy shows."""
    context = ssl.create_default_context(cadata=ca_pem)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=90) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        found = secured.getpeercert() or {}
    return {str(each[1]) for each in found["subjectAltName"]}


async def test_a_new_certificate_is_shown_and_nobody_is_dropped(
    house: House, locations: Locations
) -> None:
    viewer = await house.viewer()
    status = house.status
    locations.broker_yaml.write_text("proxy:\n  certificate_names: [new.example]\n")
    os.kill(status.pid or 0, signal.SIGHUP)
    identity = pki.read_identity(locations.pki_dir)
    assert identity is not None
    async with asyncio.timeout(60):
        for _ in range(2):  # whichever of the two workers accepts
            while "new.example" not in await asyncio.to_thread(  # noqa: ASYNC110 - another process
                names_shown, status.tls_port or 0, identity.ca_pem
            ):
                await asyncio.sleep(0.05)
    await press(house, viewer)
    assert house.status == status
