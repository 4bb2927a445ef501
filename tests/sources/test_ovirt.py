"""What only oVirt does: tickets whose end is asked for, old engines, and who else is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from broker.driver import DriverContext
from broker.errors import (
    ConfigError,
    Refused,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
    UsageError,
)
from broker.model import Ability, MachineId, Protocol, SourceName, State, TcpTarget
from sources.ovirt import OvirtDriver
from tests.fakes import http
from tests.fakes.http import Answer
from tests.fakes.lab import Lab
from tests.fakes.ovirt import IDS, FakeOvirt
from tests.sources.remote import Bench, benched

pytestmark = pytest.mark.qemu

DESK1, DESK2, EL9 = (MachineId(each) for each in IDS[:3])


@pytest.fixture
async def bench(lab: Lab, driver_context: DriverContext, tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched("ovirt", lab, tmp_path, driver_context) as bench:
        yield bench


def fake_of(bench: Bench) -> FakeOvirt:
    return cast("FakeOvirt", bench.fake)


async def test_the_end_of_a_ticket_is_always_asked_for(bench: Bench) -> None:
    driver = bench.driver(ticket_seconds="90")
    console = await driver.console(DESK1)
    assert fake_of(bench).asked_expiry == ["90"]
    assert console.expires_at is not None
    left = console.expires_at - bench.context.clock.now()
    assert timedelta(0) < left <= timedelta(seconds=90)


async def test_tls_is_used_where_there_is_a_port_for_it(bench: Bench) -> None:
    target = (await bench.driver().console(DESK1)).target
    assert target == TcpTarget(
        "127.0.0.1",
        tls_port=bench.fake.lab.tls_port,
        ca_pem=bench.fake.lab.ca_pem,
        host_subject=bench.fake.lab.subject,
    )


async def test_a_list_is_one_request_and_knows_the_host_by_its_certificate(bench: Bench) -> None:
    driver = bench.driver(url=bench.fake.server.url)
    machines = {machine.name: machine for machine in await driver.machines()}
    assert len(bench.fake.server.asked("GET")) == 1
    assert machines["desk1"].hypervisor == "pve1.lab.example"
    assert machines["el9"].protocol is Protocol.VNC


async def test_an_engine_without_machines_is_empty(bench: Bench) -> None:
    bench.fake.guests.clear()
    assert await bench.driver().machines() == []


async def test_an_older_engine_is_asked_for_the_address_by_itself(bench: Bench) -> None:
    fake_of(bench).old = True
    driver = bench.driver()
    assert len(await driver.machines()) == 3
    assert await bench.picture(await driver.console(DESK1)) == "picture"
    assert len(bench.fake.server.asked("GET", "/graphicsconsoles")) == 1


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("powering_up", State.STARTING),
        ("paused", State.PAUSED),
        ("not_responding", State.UNRESPONSIVE),
        ("image_locked", State.BUSY),
        ("something_new", State.UNKNOWN),
    ],
)
async def test_states_have_our_words_and_new_ones_are_told(
    bench: Bench, word: str, state: State
) -> None:
    bench.fake.guests[DESK1].state = word
    machine = await bench.driver().machine(DESK1)
    assert machine.state is state
    assert (machine.reason == word) is (state is State.UNKNOWN)


async def test_a_console_in_use_is_tried_once_more(bench: Bench) -> None:
    fake_of(bench).busy = 1
    driver = bench.driver()
    assert (await driver.console(DESK1)).ticket
    assert bench.waits == [1.0]
    fake_of(bench).busy = 2
    with pytest.raises(Refused, match="in use by another user") as caught:
        await driver.console(DESK1)
    assert caught.value.reason == "busy"


async def test_a_missing_right_is_called_as_ovirt_does(bench: Bench) -> None:
    bench.fake.may_not = {"CONNECT_TO_VM"}
    with pytest.raises(RightMissing, match="CONNECT_TO_VM is missing") as caught:
        await bench.driver().console(DESK1)
    assert caught.value.right == "CONNECT_TO_VM"


async def test_an_account_without_a_role_of_administrators_sees_its_own(bench: Bench) -> None:
    await bench.driver(filter="true").machines()
    await bench.driver().machines()
    assert fake_of(bench).filtered == [True, False]


async def test_a_wrong_password_answers_400_and_is_told_as_what_it_is(bench: Bench) -> None:
    with pytest.raises(SourceDenied, match="username or password is incorrect"):
        await bench.driver(password="wrong").machines()
    assert bench.fake.logins == 1


async def test_our_session_is_ended_when_we_go(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    await driver.aclose()
    assert fake_of(bench)._tokens == set()


async def test_an_engine_that_does_not_listen_keeps_nobody_from_going(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    bench.fake.server.upset(http.reset, part="sso-logout")
    await driver.aclose()
    assert len(fake_of(bench)._tokens) == 1


async def test_a_fault_inside_an_action_is_a_fault(bench: Bench) -> None:
    fault = {"status": "failed", "fault": {"reason": "Operation Failed", "detail": "[No space]"}}
    bench.fake.server.upset(http.saying(Answer(200, fault)), "POST", "/start")
    with pytest.raises(UsageError, match="No space"):
        await bench.driver().switch(DESK2, Ability.START)


async def test_machines_may_be_called_what_a_fault_is_called(bench: Bench) -> None:
    bench.fake.guests[DESK1].name, bench.fake.guests[DESK2].name = "failed", "fault"
    assert {"failed", "fault"} <= {machine.name for machine in await bench.driver().machines()}


@pytest.mark.parametrize("part", ["/sso/oauth/token", "/api/vms"])
async def test_an_address_that_is_no_engine_is_no_missing_machine(bench: Bench, part: str) -> None:
    page = Answer(404, b"<html>not found</html>", headers={"Content-Type": "text/html"})
    bench.fake.server.upset(http.saying(page), part=part)
    with pytest.raises(SourceUnreachable, match=f"{part} with 404"):
        await bench.driver().machines()


async def test_the_engines_own_file_is_never_asked_for(bench: Bench) -> None:
    await bench.driver().console(DESK1)
    assert not bench.fake.server.asked(part="remoteviewerconnectionfile")
    assert not [r for r in bench.fake.server.requests if "virt-viewer" in r.headers["accept"]]


async def test_a_page_in_place_of_an_error_is_not_repeated(bench: Bench) -> None:
    page = Answer(503, b"<html><b>maintenance</b></html>", headers={"Content-Type": "text/html"})
    bench.fake.server.upset(http.saying(page), part="/api/vms")
    with pytest.raises(SourceUnreachable) as caught:
        await bench.driver().machines()
    assert "<" not in caught.value.what


@pytest.mark.parametrize(
    "wrong", ["10.0.0.1:3128", "http://host", "http://me:x@host:1", "http://[:1"]
)
def test_a_proxy_on_the_way_to_hosts_is_one(wrong: str, driver_context: DriverContext) -> None:
    options = {"url": "https://x", "username": "u", "password": "p", "spice_proxy": wrong}
    with pytest.raises(ConfigError, match="has a spice_proxy"):
        OvirtDriver.from_options(SourceName("lab"), options, driver_context)
