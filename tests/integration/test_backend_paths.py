"""Ways to a real machine: behind an HTTP proxy, and by a name with several addresses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.model import TcpTarget
from broker.proxy.gate import SessionClosed
from broker.spice.client import SurfaceCreated
from broker.spice.constants import ChannelType
from tests.broker.proxy.connect_proxy import connect_proxy
from tests.broker.proxy.qemu import PASSWORD
from tests.broker.proxy.rig import proxying
from tests.integration.test_proxy_qemu import tcp

pytestmark = pytest.mark.qemu


async def test_a_viewer_sees_a_machine_behind_an_http_proxy(tmp_path: Path) -> None:
    async with tcp(tmp_path) as machine, connect_proxy() as proxy, proxying(tmp_path) as rig:
        assert isinstance(machine.target, TcpTarget)
        port = machine.target.port
        rig.gate.allow(TcpTarget("127.0.0.1", port, proxy=proxy.url), PASSWORD)
        main, session = await rig.open_main()
        display = await rig.open(ChannelType.DISPLAY, connection_id=session)
        await display.until(SurfaceCreated)
        assert proxy.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"] * 2
        await main.close()
        await rig.gate.heard(SessionClosed)
        assert await machine.qemu.is_alive()


async def test_a_proxy_that_dies_ends_the_session_and_it_is_not_made_again(tmp_path: Path) -> None:
    async with tcp(tmp_path) as machine, proxying(tmp_path) as rig:
        async with connect_proxy() as proxy:
            assert isinstance(machine.target, TcpTarget)
            rig.gate.allow(TcpTarget("127.0.0.1", machine.target.port, proxy=proxy.url), PASSWORD)
            main, _ = await rig.open_main()
        await main.closed()
        closed = await rig.gate.heard(SessionClosed)
        assert closed.reason.startswith("backend")
        await asyncio.sleep(0.3)
        assert len(proxy.asked) == 1
        assert await machine.qemu.is_alive()


async def test_every_channel_goes_where_main_went(tmp_path: Path) -> None:
    async with tcp(tmp_path) as machine, proxying(tmp_path) as rig:
        assert isinstance(machine.target, TcpTarget)
        rig.gate.allow(TcpTarget("localhost", machine.target.port), PASSWORD)
        _, session = await rig.open_main()
        (live,) = rig.proxy._sessions.all()
        assert isinstance(live.admission.target, TcpTarget)
        assert live.admission.target.address == "127.0.0.1"
        display = await rig.open(ChannelType.DISPLAY, connection_id=session)
        await display.until(SurfaceCreated)
