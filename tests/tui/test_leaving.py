"""The service's life: a proxy of our own, and what becomes of it and of sessions at the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from broker.errors import StoreError, Unreachable
from broker.model import MachineSpec, ProxyStatus, State
from tests.fakes.service import FakeService, session
from tests.tui.conftest import Drive, settle, text_of, until
from tui import life
from tui.app import BrokerApp


@pytest.fixture
def watched(service: FakeService) -> FakeService:
    """Somebody is connected."""
    service.live = [session(service.named("demo"), "k3f9a0b1c2d1", "192.0.2.10:51344")]
    return service


async def test_a_proxy_is_hosted_in_the_background_and_shown(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service) as pilot:
        assert "proxy :5443" in text_of(pilot)
    assert service.asked[0] == ("host_proxy",)


async def test_a_proxy_that_cannot_be_hosted_is_said_and_the_app_goes_on(
    drive: Drive, service: FakeService
) -> None:
    service.failing["host_proxy"] = Unreachable(
        "Port 5443 is taken", fix="Set proxy.tls_port, or end the other program"
    )
    async with drive(service) as pilot:
        shown = text_of(pilot)
        assert "no proxy" in shown
        assert "Port 5443 is taken" in shown
        assert "win11-desktop" in shown


async def test_quitting_without_sessions_asks_nothing(drive: Drive, service: FakeService) -> None:
    async with drive(service) as pilot:
        await pilot.press("q")
        await settle(pilot)
        assert not pilot.app.is_running
    assert service.asked[-1] == ("leave_proxy", True)
    assert service.closed


@pytest.mark.parametrize(("key", "keep"), [("k", True), ("enter", True), ("e", False)])
async def test_quitting_with_sessions_keeps_or_ends_them(
    drive: Drive, watched: FakeService, key: str, keep: bool
) -> None:
    async with drive(watched) as pilot:
        await pilot.press("q")
        await settle(pilot)
        assert "Quit with 1 session running?" in text_of(pilot)
        assert "192.0.2.10:51344" in text_of(pilot)
        await pilot.press(key)
        await settle(pilot)
        assert not pilot.app.is_running
        assert isinstance(pilot.app, BrokerApp)
        assert ("kept" in pilot.app.farewell) is keep
    assert watched.asked[-1] == ("leave_proxy", keep)


async def test_quitting_can_be_taken_back(drive: Drive, watched: FakeService) -> None:
    async with drive(watched) as pilot:
        await pilot.press("q", "escape")
        await settle(pilot)
        assert pilot.app.is_running
        assert "Quit with" not in text_of(pilot)
    assert "leave_proxy" not in [verb for verb, *_ in watched.asked]


async def test_sessions_of_a_proxy_that_others_host_are_no_reason_to_ask(
    drive: Drive, watched: FakeService
) -> None:
    async with drive(watched) as pilot:
        watched.proxy = replace(watched.proxy, ours=False)
        watched.changed()
        await settle(pilot)
        await pilot.press("q")
        await settle(pilot)
        assert not pilot.app.is_running
    assert watched.asked[-1] == ("leave_proxy", True)


async def test_a_second_q_does_not_wait_for_a_slow_farewell(
    drive: Drive, service: FakeService
) -> None:
    service.slow["leave_proxy"] = asyncio.Event()
    async with drive(service) as pilot:
        await pilot.press("q")
        await settle(pilot)
        assert pilot.app.is_running
        assert "Leaving" in text_of(pilot)
        await pilot.press("q")
        await settle(pilot)
        assert not pilot.app.is_running


async def test_what_leaving_cuts_short_is_said_and_mere_looks_are_not(
    drive: Drive, service: FakeService
) -> None:
    service.slow["start"] = service.slow["machine_log"] = asyncio.Event()
    async with drive(service) as pilot:
        await pilot.press("j", "u", "L")
        await until(pilot, "QEMU's output")
        await pilot.press("escape")
        await until(pilot, "1 Consoles")
        await pilot.press("q")
        await settle(pilot)
        assert not pilot.app.is_running
        assert isinstance(pilot.app, BrokerApp)
        assert pilot.app.farewell == "cut short: Starting db-01"


async def test_a_service_that_does_not_open_is_said_and_the_first_list_stays(
    drive: Drive, service: FakeService
) -> None:
    service.failing["open"] = StoreError("broker.db cannot be read", fix="Move it away")
    async with drive(service, initial=service.rows) as pilot:
        shown = text_of(pilot)
        assert "broker.db cannot be read" in shown
        assert "win11-desktop" in shown
        assert "no proxy" in shown
        await pilot.press("enter", "q")
        await settle(pilot)
        assert not pilot.app.is_running


async def test_the_demo_guest_is_defined_once_and_started(
    drive: Drive, service: FakeService, demo: MachineSpec
) -> None:
    service.rows = []
    for _ in range(2):
        async with drive(service, demo=demo, start_demo=True) as pilot:
            await settle(pilot)
    assert [verb for verb, *_ in service.asked if verb in ("define", "start")] == [
        "define",
        "start",
    ]
    assert service.named("demo").machine.state is State.RUNNING


async def test_a_proxy_that_went_away_is_hosted_again(
    drive: Drive, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "REHOST_SECONDS", 0.1)
    async with drive(service) as pilot:
        again = service.slow["host_proxy"] = asyncio.Event()
        service.proxy = ProxyStatus(serving=False)
        service.changed()
        await until(pilot, gone=("proxy :5443",))
        again.set()
        await until(pilot, "proxy :5443")
    assert service.asked == [("host_proxy",), ("host_proxy",)]
