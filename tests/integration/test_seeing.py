"""What can be seen of real sessions: latency with channels in two workers, and who was refused."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections import defaultdict
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.events import Event
from broker.model import Session
from broker.spice.client import ChannelsListed, Linked, MainReady, SurfaceCreated
from broker.spice.constants import ChannelType
from tests.broker.proxy.rig import SECONDS
from tests.integration.cli import broker
from tests.integration.house import House, Viewer, house, stopped

pytestmark = pytest.mark.qemu

__all__ = ["house"]

HISTOGRAMS = ("ping", "key_to_draw", "relay")


@pytest.fixture(autouse=True)
def metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PROXY_METRICS_PORT", "0")


def scraped(port: int | None) -> dict[str, float]:
    """Samples by name, those of one name together, as Prometheus reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
        text = answer.read().decode()
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


async def spread(house: House) -> Viewer:
    """MAIN and the display in one worker, the inputs in the other."""
    one, two = house.status.workers
    token = await house.token()
    with stopped(two):
        main = await house.open(ChannelType.MAIN, token)
        session = (await main.until(MainReady)).init.session_id
        await main.until(ChannelsListed)
        display = await house.open(ChannelType.DISPLAY, token, session=session)
        await display.until(SurfaceCreated)
    with stopped(one):
        inputs = await house.open(ChannelType.INPUTS, token, session=session)
    await inputs.until(Linked)
    assert [house.holder(each) for each in (main, display, inputs)] == [one, one, two]
    return Viewer(main, display, inputs)


def is_known(session: Session) -> bool:
    """Whether all that is timed was, at each of its three channels."""
    of = {each.name: each.timing for each in session.channels}
    whole = session.timing
    return (
        len(of) == 3
        and all(each.client and each.server for each in of.values())
        and bool(of["main"].ping and whole.draw and whole.proxy)
    )


async def test_latency_of_a_session_is_seen_wherever_its_channels_are(house: House) -> None:
    viewer = await spread(house)
    reading = [asyncio.ensure_future(each.closed()) for each in (viewer.main, viewer.display)]
    try:
        async with asyncio.timeout(2 * SECONDS):
            while True:
                await viewer.inputs.press(0x1E)  # the guest's block turns white, then black
                await asyncio.sleep(0.1)
                (session,) = await house.live()
                if is_known(session):
                    break
        said = await asyncio.to_thread(broker, "sessions", "--json")
        row: dict[str, Any] = said.rows[0]
        whole = await asyncio.to_thread(broker, "sessions", session.id[:6])
        once = await asyncio.to_thread(broker, "top", "--once")
        async with asyncio.timeout(SECONDS):
            while True:  # counters are written once a second
                told = await asyncio.to_thread(scraped, house.status.metrics_port)
                if all(told[f"broker_{name}_seconds_count"] for name in HISTOGRAMS):
                    break
                await asyncio.sleep(0.1)
    finally:
        for each in reading:
            each.cancel()
        for each in reading:
            with contextlib.suppress(asyncio.CancelledError):
                await each
    for name in ("ping", "draw", "proxy"):
        shares = row["latency_ms"][name]
        assert shares["count"] >= 1
        assert 0 < shares["p50"] <= shares["p95"]
    assert row["latency_ms"]["draw"]["p95"] <= 2500  # what takes longer than 2 s is no answer
    assert all(row["split_ms"][part] > 0 for part in ("network", "proxy", "guest", "server"))
    by_name = {each["name"]: each for each in row["channel_details"]}
    assert set(by_name) == {"main", "display.0", "inputs.0"}
    assert all(each["client_tcp"]["rtt_ms"] > 0 for each in by_name.values())
    assert by_name["main"]["ping_ms"]["count"] >= 1
    assert "key to drawing" in whole.out
    assert "felt" in whole.out
    assert session.id in once.out
    assert (told["broker_sessions"], told["broker_channels"]) == (1, 3)
    assert told["broker_sessions_opened_total"] == 1
    assert told["broker_bytes_total"] >= row["bytes_to_client"]
    assert told["broker_process_open_fds"] > 10


async def test_who_came_to_a_console_in_use_is_in_the_log_with_the_machine(house: House) -> None:
    await house.viewer()
    late = await house.open(ChannelType.MAIN, await house.token())
    await late.closed()

    async def refused() -> Event | None:
        return next((e for e in await house.service.events() if e.reason == "occupied"), None)

    async with asyncio.timeout(SECONDS):
        while (event := await refused()) is None:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    (console,) = await house.service.consoles()
    assert (event.verdict, event.key, event.console) == ("refused", console.machine.key, "vm")
