"""What only Proxmox VE does: its tickets, its tunnel, its tasks, and guests that move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from broker.driver import DriverContext
from broker.errors import (
    ConfigError,
    NoConsole,
    SourceDenied,
    SourceUnreachable,
    UsageError,
    VmStartFailed,
)
from broker.findings import Mark
from broker.model import Ability, MachineId, Protocol, State, TcpTarget
from tests.fakes.lab import Lab
from tests.fakes.proxmox import FakeProxmox
from tests.sources.remote import Bench, benched

pytestmark = pytest.mark.qemu

DESK1, DESK2, ROUTER, CONTAINER = (MachineId(text) for text in ("100", "101", "102", "104"))


@pytest.fixture
async def bench(lab: Lab, driver_context: DriverContext, tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched("proxmox", lab, tmp_path, driver_context) as bench:
        yield bench


def fake_of(bench: Bench) -> FakeProxmox:
    return cast("FakeProxmox", bench.fake)


def with_password(bench: Bench) -> dict[str, object]:
    return {"token_id": ..., "token": ..., **fake_of(bench).options_with_password()}


async def test_a_ticket_logs_in_once_and_writes_with_its_csrf_token(bench: Bench) -> None:
    driver = bench.driver(**with_password(bench))
    await driver.machines()
    assert await bench.picture(await driver.console(DESK1)) == "picture"
    assert bench.fake.logins == 1
    bench.fake.expire_tokens()
    await driver.machines()
    assert bench.fake.logins == 2


async def test_an_account_with_a_second_factor_is_told_to_use_a_token(bench: Bench) -> None:
    fake_of(bench).second_factor = True
    with pytest.raises(SourceDenied, match="second factor") as caught:
        await bench.driver(**with_password(bench)).machines()
    assert "token_id" in caught.value.fix


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": ...}, "its token is missing"),
        ({"token": ..., "token_id": ...}, "says nothing to log in with"),
        ({"spice_proxy": "host:nothing"}, "has a spice_proxy"),
        ({"username": "root@pam", "password": "x"}, "says too much to log in with"),
    ],
)
async def test_a_login_is_whole_and_one(
    bench: Bench, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        bench.driver(**changes)


async def test_the_tunnel_begins_where_we_reach_the_node(bench: Bench) -> None:
    console = await bench.driver().console(DESK1)
    target = console.target
    assert isinstance(target, TcpTarget)
    assert target.host == "pve1"
    assert target.proxy == f"http://localhost:{fake_of(bench)._tunnel}"
    assert target.tunnel is not None
    assert target.tunnel.endswith(f":{target.tls_port}")
    assert target.tunnel not in repr(console)
    assert await bench.picture(console) == "picture"
    assert len(fake_of(bench).connects) >= 2
    other = (await bench.driver(spice_proxy="10.0.0.7:3129").console(DESK1)).target
    assert isinstance(other, TcpTarget)
    assert other.proxy == "http://10.0.0.7:3129"


async def test_a_tunnel_that_comes_too_late_is_not_opened(bench: Bench) -> None:
    console = await bench.driver().console(DESK1)
    fake_of(bench).skew = 41
    assert await bench.picture(console) == "backend-unreachable"


async def test_a_guest_that_moved_is_found_where_it_is_now(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    fake_of(bench).nodes["100"] = "pve2"
    target = (await driver.console(DESK1)).target
    assert isinstance(target, TcpTarget)
    assert target.host == "pve2"


async def test_a_node_that_is_away_is_named(bench: Bench) -> None:
    fake_of(bench).away = {"pve1"}
    driver = bench.driver()
    with pytest.raises(SourceUnreachable, match=r"does not reach pve1 \(595 No route to host\)"):
        await driver.console(DESK1)
    with pytest.raises(SourceUnreachable, match="does not reach pve1"):
        await driver.machine(DESK1)
    fake_of(bench).nodes["100"] = "pve2"  # it was started elsewhere
    assert (await driver.console(DESK1)).ticket


async def test_a_guest_without_spice_is_known_for_it_from_then_on(bench: Bench) -> None:
    driver = bench.driver()
    assert (await driver.machine(ROUTER)).protocol is Protocol.VNC
    listed = {machine.key.uuid: machine.protocol for machine in await driver.machines()}
    assert listed[ROUTER] is Protocol.VNC
    assert listed[DESK1] is Protocol.SPICE
    bench.fake.guests["102"].spice = True  # another display, after a cold start
    assert (await driver.machine(ROUTER)).protocol is Protocol.SPICE


async def test_a_lock_and_its_reason_are_told(bench: Bench) -> None:
    bench.fake.guests["100"].more["lock"] = "migrate"
    driver = bench.driver()
    states = {machine.key.uuid: machine.state for machine in await driver.machines()}
    assert states[DESK1] is State.MIGRATING
    with pytest.raises(UsageError, match=r"VM is locked \(migrate\)"):
        await driver.console(DESK1)


async def test_a_container_has_a_screen_and_no_reset_button(bench: Bench) -> None:
    driver = bench.driver()
    assert (await driver.console(CONTAINER)).ticket
    with pytest.raises(UsageError, match="no reset button"):
        await driver.switch(CONTAINER, Ability.RESET)


async def test_a_task_is_followed_to_its_end(bench: Bench) -> None:
    driver = bench.driver()
    await driver.switch(DESK2, Ability.START)
    assert bench.waits == [1.0]
    fake_of(bench).task_ends = "start failed: out of memory"
    bench.fake.guests["101"].state = "stopped"
    with pytest.raises(VmStartFailed, match="desk2: start failed: out of memory"):
        await driver.switch(DESK2, Ability.START)
    with pytest.raises(UsageError, match="out of memory"):
        await driver.switch(DESK1, Ability.STOP)


async def test_nobody_waits_for_a_guest_to_go_off(bench: Bench) -> None:
    await bench.driver().switch(DESK1, Ability.SHUTDOWN)
    assert bench.fake.server.asked(part="/tasks/") == []


@pytest.mark.parametrize("right", ["VM.Console", "VM.PowerMgmt"])
async def test_a_check_names_the_right_that_is_missing(bench: Bench, right: str) -> None:
    bench.fake.may_not = {right}
    step = (await bench.driver().check())[-1]
    assert (step.name, step.finding.mark) == ("rights", Mark.WARN)
    assert right in step.finding.words


async def test_a_missing_console_right_is_named_with_its_path(bench: Bench) -> None:
    bench.fake.may_not = {"VM.Console"}
    with pytest.raises(SourceDenied, match=r"VM\.Console on /vms/100 is missing"):
        await bench.driver().console(DESK1)


async def test_a_guest_that_is_off_is_called_by_its_name(bench: Bench) -> None:
    bench.fake.guests["100"].state = "stopped"
    with pytest.raises(NoConsole, match="desk1 is not running"):
        await bench.driver().console(DESK1)
