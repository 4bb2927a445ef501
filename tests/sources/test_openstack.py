"""What only OpenStack does: versions, pages, roles, and tokens that lead to consoles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from broker.driver import DriverContext
from broker.errors import (
    NoConsole,
    NotFound,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
    UsageError,
)
from broker.findings import Mark
from broker.model import Ability, MachineId, State, TcpTarget
from tests.fakes import http
from tests.fakes.http import Answer
from tests.fakes.lab import Lab
from tests.fakes.openstack import IDS, READ_TOKENS, FakeOpenstack
from tests.sources.remote import Bench, benched

pytestmark = pytest.mark.qemu

DESK1, DESK2, VNC = (MachineId(each) for each in IDS[:3])


@pytest.fixture
async def bench(
    open_lab: Lab, driver_context: DriverContext, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with benched("openstack", open_lab, tmp_path, driver_context) as bench:
        yield bench


def fake_of(bench: Bench) -> FakeOpenstack:
    return cast("FakeOpenstack", bench.fake)


async def test_servers_are_read_page_by_page_and_never_where_a_link_leads(bench: Bench) -> None:
    fake_of(bench).page = 2
    assert len(await bench.driver().machines()) == 3
    marks = [r.query.get("marker") for r in bench.fake.server.asked("GET", "/servers/detail")]
    assert marks == [None, IDS[1]]


async def test_a_page_that_is_missing_fails_the_list(bench: Bench) -> None:
    fake_of(bench).page = 1
    driver = bench.driver()
    bench.fake.server.upset(http.half_json, part="/servers/detail", skip=1)
    with pytest.raises(SourceUnreachable):
        await driver.machines()


async def test_a_token_that_ends_between_two_pages_is_got_anew(bench: Bench) -> None:
    fake_of(bench).page = 1
    driver = bench.driver()
    unauthorized = Answer(401, {"error": {"code": 401, "message": "expired"}})
    bench.fake.server.upset(http.saying(unauthorized), part="/servers/detail", skip=1, times=1)
    assert len(await driver.machines()) == 3
    assert bench.fake.logins == 2


async def test_pages_without_end_are_odd(bench: Bench) -> None:
    row = {"id": DESK1, "name": "again", "status": "ACTIVE"}
    endless = Answer(200, {"servers": [row], "servers_links": [{"rel": "next", "href": "/"}]})
    bench.fake.server.upset(http.saying(endless), part="/servers/detail")
    with pytest.raises(SourceUnreachable, match="look odd: servers_links"):
        await bench.driver().machines()


async def test_an_application_credential_logs_in(bench: Bench) -> None:
    driver = bench.driver(**fake_of(bench).options_with_credential())
    assert await bench.picture(await driver.console(DESK1)) == "picture"


async def test_a_credential_that_is_limited_lacks_what_is_not_in_its_rules(bench: Bench) -> None:
    fake_of(bench).allowed = ("/servers/detail",)
    driver = bench.driver(**fake_of(bench).options_with_credential())
    assert len(await driver.machines()) == 3
    with pytest.raises(RightMissing, match="but not for POST"):
        await driver.switch(DESK1, Ability.SHUTDOWN)
    assert len(await driver.machines()) == 3  # and the source goes on
    assert driver.abilities()[Ability.SHUTDOWN]


async def test_a_member_sees_its_own_project_and_is_told_what_it_lacks(bench: Bench) -> None:
    fake_of(bench).admin = False
    driver = bench.driver()
    assert len(await driver.machines()) == 3
    assert "its own project only" in driver.shortcomings[0]
    await driver.machines()
    with_all = [r for r in bench.fake.server.requests if "all_tenants" in r.query]
    assert len(with_all) == 1
    with pytest.raises(RightMissing) as caught:
        await driver.console(DESK1)
    assert caught.value.right == READ_TOKENS
    assert "openstack.md" in caught.value.fix
    assert any(READ_TOKENS in told for told in driver.shortcomings)


async def test_a_check_says_that_tokens_cannot_be_read(bench: Bench) -> None:
    bench.fake.may_not = {READ_TOKENS}
    step = (await bench.driver().check())[-1]
    assert (step.name, step.finding.mark) == ("rights", Mark.WARN)
    assert READ_TOKENS in step.finding.words
    assert not bench.fake.server.asked("POST", "/remote-consoles")


async def test_an_older_nova_is_listed_and_says_what_it_lacks(bench: Bench) -> None:
    fake_of(bench).version = 96
    driver = bench.driver()
    assert len(await driver.machines()) == 3
    assert "SPICE consoles need 2.99" in driver.shortcomings[0]
    with pytest.raises(NoConsole, match=r"speaks version 2\.96") as caught:
        await driver.console(DESK1)
    assert "2025.1" in caught.value.fix


async def test_a_nova_that_got_older_meanwhile_is_asked_anew(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    fake_of(bench).version = 96
    assert len(await driver.machines()) == 3
    fake_of(bench).version = 99
    bench.fake.server.upset(http.saying(Answer(406)), part="/servers/detail", times=1)
    assert len(await driver.machines()) == 3
    assert driver.shortcomings == ()


async def test_a_token_is_made_for_each_viewer(bench: Bench) -> None:
    driver = bench.driver()
    await driver.console(DESK1)
    fake_of(bench).port_of[DESK1] = 5907  # stopped and started meanwhile
    target = (await driver.console(DESK1)).target
    assert isinstance(target, TcpTarget)
    assert target.tls_port == 5907
    assert len(fake_of(bench).consoles) == 2


async def test_the_subject_is_made_of_the_name_of_the_node(bench: Bench) -> None:
    console = await bench.driver().console(DESK1)
    assert isinstance(console.target, TcpTarget)
    assert console.target.host_subject == bench.fake.lab.subject
    assert (console.ticket, console.expires_at, console.superseding) == (None, None, False)


async def test_without_a_pin_the_plain_port_is_taken_and_that_is_told(bench: Bench) -> None:
    driver = bench.driver(spice_ca_cert=..., host_subject=...)
    target = (await driver.console(DESK1)).target
    assert isinstance(target, TcpTarget)
    assert (target.port, target.tls_port) == (bench.fake.lab.port, None)
    assert "without TLS" in driver.warnings[0]


async def test_the_loopback_of_a_node_is_named_as_what_it_is(bench: Bench) -> None:
    with pytest.raises(NoConsole, match="at 127") as caught:
        await bench.driver(dial_networks=...).console(DESK1)
    assert "server_proxyclient_address" in caught.value.fix


async def test_a_token_that_ended_before_it_was_read_is_told(bench: Bench) -> None:
    driver = bench.driver()
    gone = Answer(404, {"itemNotFound": {"code": 404, "message": "Token not found"}})
    bench.fake.server.upset(http.saying(gone), part="/os-console-auth-tokens")
    with pytest.raises(NotFound, match="that console token") as caught:
        await driver.console(DESK1)
    assert not any(token in str(caught.value) for token in fake_of(bench).consoles)


async def test_a_token_of_novas_leads_to_its_server(bench: Bench) -> None:
    driver = bench.driver()
    await driver.console(DESK1)
    (token,) = fake_of(bench).consoles
    assert await driver.machine_of_token(token) == DESK1
    with pytest.raises(NotFound):
        await driver.machine_of_token("another")


async def test_a_token_is_renewed_before_it_ends(bench: Bench) -> None:
    fake_of(bench).token_life = timedelta(seconds=-1)
    driver = bench.driver()
    await driver.machines()
    logins = bench.fake.logins
    await driver.machines()
    assert bench.fake.logins > logins
    fake_of(bench).token_life = timedelta(hours=1)
    await driver.machines()
    logins = bench.fake.logins
    await driver.machines()
    assert bench.fake.logins == logins


@pytest.mark.parametrize("change", [{"region": "RegionTwo"}, {"interface": "admin"}])
async def test_a_cloud_without_nova_there_is_told(bench: Bench, change: dict[str, object]) -> None:
    with pytest.raises(SourceUnreachable, match=r"no .* address of Nova") as caught:
        await bench.driver(**change).machines()
    assert "region" in caught.value.fix


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("BUILD", State.STARTING),
        ("ERROR", State.ERROR),
        ("SHELVED_OFFLOADED", State.STOPPED),
        ("NEW_WORD", State.UNKNOWN),
    ],
)
async def test_states_have_our_words(bench: Bench, word: str, state: State) -> None:
    bench.fake.guests[DESK1].state = word
    assert (await bench.driver().machine(DESK1)).state is state


async def test_deleted_servers_are_not_there_and_migrating_ones_are(bench: Bench) -> None:
    bench.fake.guests[DESK1].state = "DELETED"
    bench.fake.guests[VNC].more["task"] = "migrating"
    states = {machine.key.uuid: machine.state for machine in await bench.driver().machines()}
    assert states == {DESK2: State.STOPPED, VNC: State.MIGRATING}


async def test_the_power_is_not_cut_and_why_is_told(bench: Bench) -> None:
    with pytest.raises(UsageError, match="cannot stop"):
        await bench.driver().switch(DESK1, Ability.STOP)


async def test_what_cannot_be_done_now_is_said_in_novas_words(bench: Bench) -> None:
    driver = bench.driver()
    broken = Answer(200, {"server": {"id": DESK1, "status": "ERROR"}})
    bench.fake.server.upset(http.saying(broken), "GET", DESK1)
    with pytest.raises(UsageError, match="Cannot 'os-start' instance"):
        await driver.switch(DESK1, Ability.START)


async def test_a_wrong_password_is_refused_with_keystones_words(bench: Bench) -> None:
    with pytest.raises(SourceDenied, match="requires authentication"):
        await bench.driver(password="wrong").machines()
