"""Every driver of an HTTP API against its fake and a real SPICE server: what must hold of all."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trustme

from broker.driver import SingleLook
from broker.errors import (
    BrokerError,
    ConfigError,
    NoConsole,
    NotFound,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
)
from broker.findings import Mark
from broker.hypervisor import Checkable, Described, Dialing, Offering, Short, Switching
from broker.model import Ability, MachineId, Protocol, State
from tests.fakes import http
from tests.fakes.http import Answer
from tests.sources.remote import TICKETED, Bench

pytestmark = pytest.mark.qemu

UPSETS = {
    "hanging": http.hanging,
    "half-sent": http.half_sent,
    "half-json": http.half_json,
    "web-page": http.web_page,
    "reset": http.reset,
    "502": http.saying(Answer(502, b"<html>Bad gateway</html>")),
}


def off_by(driver: Any) -> Ability:
    """What it switches a machine off by."""
    return next(one for one in (Ability.STOP, Ability.SHUTDOWN) if not driver.abilities()[one])


# -- what is there


async def test_all_machines_are_listed_as_they_are(bench: Bench) -> None:
    driver = bench.driver()
    machines = {machine.key.uuid: machine for machine in await driver.machines()}
    known = bench.fake.guests.values()
    shown = {guest.id: guest for guest in known if not guest.more.get("template")}
    assert set(machines) == set(shown)
    for uuid, machine in machines.items():
        assert machine.key.source == "lab"
        assert machine.name == shown[uuid].name
        assert machine.state is State(shown[uuid].state)
        assert not machine.defined
    assert machines[bench.running].protocol is Protocol.SPICE
    assert machines[bench.running].hypervisor
    assert driver.warnings == ()
    assert driver.shortcomings == ()


async def test_it_offers_what_the_contract_knows(bench: Bench) -> None:
    driver = bench.driver()
    for ability in (SingleLook, Offering, Switching, Dialing, Short, Checkable, Described):
        assert isinstance(driver, ability)
    assert driver.type == bench.fake.type


async def test_one_machine_is_looked_at_alone(bench: Bench) -> None:
    driver = bench.driver()
    machine = await driver.machine(bench.running)
    assert (machine.key.uuid, machine.state) == (bench.running, State.RUNNING)
    assert (await driver.machine(bench.stopped)).state is State.STOPPED
    with pytest.raises(NotFound):
        await driver.machine(MachineId("999"))


async def test_five_thousand_machines_are_listed(bench: Bench) -> None:
    for number in range(5000):
        bench.fake.add(bench.fake.another_id(number), f"vm-{number}")
    machines = await bench.driver(timeout=60).machines()
    assert len(machines) >= 5000
    assert len({machine.key for machine in machines}) == len(machines)


async def test_an_id_that_stands_twice_is_told_and_counts_once(bench: Bench) -> None:
    bench.fake.twice = [bench.running]
    driver = bench.driver()
    ids = [machine.key.uuid for machine in await driver.machines()]
    assert len(ids) == len(set(ids))
    assert any(f"lists {bench.running} twice" in warning for warning in driver.warnings)
    bench.fake.twice = []
    await driver.machines()
    assert driver.warnings == ()


# -- being let in


async def test_wrong_credentials_are_refused_and_not_shown_again(bench: Bench) -> None:
    driver = bench.driver()
    right, bench.fake.password = bench.fake.password, "another"
    with pytest.raises(SourceDenied) as caught:
        await driver.machines()
    assert right not in str(caught.value)
    asked = len(bench.fake.server.requests)
    with pytest.raises(SourceDenied, match="not tried again"):
        await driver.machines()
    assert len(bench.fake.server.requests) == asked


async def test_a_slow_no_is_a_no_and_no_time_out(bench: Bench) -> None:
    bench.fake.slow_no = 0.5
    driver = bench.driver()
    bench.fake.password = "another"
    with pytest.raises(SourceDenied):
        await driver.machines()


async def test_a_token_that_ends_between_two_listings_is_got_anew(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    bench.fake.expire_tokens()
    assert await driver.machines()
    bench.fake.expire_tokens()
    assert await driver.console(bench.running)


async def test_a_secret_comes_by_file_and_by_variable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = bench.fake.options()
    (key,) = [key for key, value in options.items() if value == bench.fake.password]
    path = bench.context.config_dir / "secret"
    driver = bench.driver(**{key: ..., f"{key}_file": "secret"})
    with pytest.raises(ConfigError, match="cannot be read"):
        await driver.machines()
    path.write_text(bench.fake.password + "\n")
    path.chmod(0o600)
    assert await driver.machines()
    monkeypatch.setenv("LAB_SECRET", bench.fake.password)
    assert await bench.driver(**{key: ..., f"{key}_env": "LAB_SECRET"}).machines()


async def test_a_check_walks_to_the_end_and_says_who_we_are(bench: Bench) -> None:
    steps = await bench.driver().check()
    assert [step.name for step in steps] == ["reach", "log in", "list", "rights"]
    assert [step.finding.mark for step in steps] == [Mark.OK] * 4
    right = bench.fake.password
    key = next(key for key, value in bench.fake.options().items() if value == right)
    steps = await bench.driver(**{key: "not-" + right}).check()
    assert steps[-1].name == "log in"
    assert steps[-1].finding.mark is Mark.FAIL


# -- a screen


async def test_a_viewer_sees_the_machine_through_the_proxy(bench: Bench) -> None:
    driver = bench.driver()
    console = await driver.console(bench.running)
    assert await bench.picture(console) == "picture"
    assert await bench.fake.lab.is_alive()


@pytest.mark.parametrize("bench", TICKETED, indirect=True)
async def test_a_new_ticket_leaves_who_is_in_alone(bench: Bench) -> None:
    driver = bench.driver()
    first = await driver.console(bench.running)
    second = await driver.console(bench.running)
    assert first.superseding
    assert first.ticket != second.ticket
    assert first.expires_at is not None
    assert await bench.picture(first) == "backend-ticket"
    assert await bench.picture(second) == "picture"


@pytest.mark.parametrize("bench", TICKETED, indirect=True)
async def test_a_ticket_that_has_ended_is_refused_with_its_reason(bench: Bench) -> None:
    console = await bench.driver().console(bench.running)
    await bench.fake.lab.set_password(console.ticket or "", seconds=0)
    assert await bench.picture(console) == "backend-ticket"


async def test_another_certificate_is_not_believed(bench: Bench) -> None:
    bench.fake.wrong_subject = "O=Lab,CN=elsewhere"
    console = await bench.driver(**bench.fake.pins()).console(bench.running)
    assert await bench.picture(console) == "backend-untrusted"


async def test_another_ca_is_not_believed(bench: Bench) -> None:
    bench.fake.wrong_ca = trustme.CA().cert_pem.bytes().decode()
    console = await bench.driver(**bench.fake.pins()).console(bench.running)
    assert await bench.picture(console) == "backend-untrusted"


async def test_a_machine_that_is_off_has_no_screen_and_says_what_to_do(bench: Bench) -> None:
    with pytest.raises(NoConsole) as caught:
        await bench.driver().console(bench.stopped)
    assert caught.value.fix


async def test_what_is_advised_to_be_typed_is_no_other_command_by_a_machines_name(
    bench: Bench,
) -> None:
    bench.fake.guests[bench.stopped].name = name = "db; reboot"
    with pytest.raises(NoConsole) as caught:
        await bench.driver().console(bench.stopped)
    assert name not in caught.value.fix.replace(f"'{name}'", "")


async def test_a_machine_without_spice_has_none_for_us(bench: Bench) -> None:
    (plain,) = [guest.id for guest in bench.fake.guests.values() if not guest.spice]
    with pytest.raises(NoConsole):
        await bench.driver().console(MachineId(plain))


async def test_a_machine_that_went_between_list_and_viewer_is_told(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    gone = bench.running
    del bench.fake.guests[gone]
    with pytest.raises(NotFound):
        await driver.console(gone)


async def test_a_machine_that_stopped_between_list_and_viewer_is_told(bench: Bench) -> None:
    driver = bench.driver()
    await driver.machines()
    bench.fake.guests[bench.running].state = "stopped"
    with pytest.raises(NoConsole):
        await driver.console(bench.running)


async def test_consoles_are_refused_at_the_loopback_unless_allowed(bench: Bench) -> None:
    assert "this host itself" in bench.driver(dial_networks=...).dial_policy().refusal(
        "127.0.0.1", 5900
    )
    allowed = bench.driver(dial_networks="127.0.0.0/8").dial_policy()
    assert allowed.refusal("127.0.0.1", 5900) == ""


# -- what goes wrong on the way


@pytest.mark.parametrize("upset", UPSETS)
async def test_a_list_is_whole_or_an_error_and_recovers(bench: Bench, upset: str) -> None:
    driver = bench.driver()
    before = await driver.machines()
    if upset == "hanging":
        driver.http.seconds = 0.2
    bench.fake.server.upset(UPSETS[upset], part=bench.fake.list_part)
    with pytest.raises(SourceUnreachable) as caught:
        await driver.machines()
    assert caught.value.fix
    bench.fake.server.calm()
    driver.http.seconds = 30.0
    assert await driver.machines() == before


@pytest.mark.parametrize("upset", UPSETS)
async def test_the_way_to_a_screen_is_asked_for_once(bench: Bench, upset: str) -> None:
    driver = bench.driver()
    await driver.machines()
    if upset == "hanging":
        driver.http.seconds = 0.2
    bench.fake.server.upset(UPSETS[upset], "POST", bench.fake.screen_part)
    if bench.fake.type == "shakenfist":
        bench.fake.server.upset(UPSETS[upset], "GET", bench.fake.screen_part)
    with pytest.raises(SourceUnreachable):
        await driver.console(bench.running)
    assert len(bench.fake.server.asked("POST", bench.fake.screen_part)) <= 1


async def test_a_login_in_the_middle_of_a_listing_ends_once(bench: Bench) -> None:
    driver = bench.driver()
    bench.fake.server.upset(http.saying(Answer(401, b"", "No ticket")), part=bench.fake.list_part)
    with pytest.raises(SourceDenied):
        await driver.machines()
    assert len(bench.fake.server.asked(part=bench.fake.list_part)) <= 2


async def test_another_ca_of_the_api_is_named_as_what_is_wrong(bench: Bench) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    with pytest.raises(SourceUnreachable, match="certificate") as caught:
        await bench.driver(ca_cert=other).machines()
    assert "ca_cert" in caught.value.fix


async def test_nothing_secret_is_logged_or_shown(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    driver = bench.driver()
    with caplog.at_level(logging.DEBUG):
        await driver.machines()
        console = await driver.console(bench.running)
    shown = caplog.text + repr(driver.options) + repr(console) + repr(driver)
    assert bench.fake.password not in shown
    assert bench.fake.given
    for secret in bench.fake.given:
        assert secret not in shown


async def test_a_secret_that_no_header_can_carry_is_an_error_without_it(bench: Bench) -> None:
    right = bench.fake.password
    key = next(key for key, value in bench.fake.options().items() if value == right)
    for odd in ("geh€im-one", "two\nlines"):
        with pytest.raises(BrokerError) as caught:
            await bench.driver(**{key: odd}).machines()
        assert odd not in str(caught.value)


# -- power


@pytest.mark.parametrize("ability", [Ability.STOP, Ability.SHUTDOWN, Ability.PAUSE, Ability.RESET])
async def test_what_is_offered_is_done(bench: Bench, ability: Ability) -> None:
    driver = bench.driver()
    if driver.abilities().get(ability):
        with pytest.raises(BrokerError):
            await driver.switch(bench.running, ability)
        return
    await driver.switch(bench.running, ability)
    assert [who for who, _ in bench.fake.switched] == [bench.running]
    if ability in (Ability.STOP, Ability.SHUTDOWN):
        assert (await driver.machine(bench.running)).state is State.STOPPED


async def test_what_already_is_is_no_error(bench: Bench) -> None:
    driver = bench.driver()
    await driver.switch(bench.running, Ability.START)
    await driver.switch(bench.stopped, off_by(driver))
    assert bench.fake.switched == []
    await driver.switch(bench.stopped, Ability.START)
    assert len(bench.fake.switched) == 1


async def test_a_right_that_is_missing_is_named_and_remembered(bench: Bench) -> None:
    bench.fake.may_not = {bench.fake.power_right}
    driver = bench.driver()
    with pytest.raises(RightMissing) as caught:
        await driver.switch(bench.running, off_by(driver))
    assert caught.value.right
    assert driver.abilities()[off_by(bench.driver())]
    assert driver.shortcomings


# -- options


async def test_a_wrong_option_offers_the_right_one(bench: Bench) -> None:
    with pytest.raises(ConfigError) as caught:
        bench.driver(ca_crt="x")
    assert "ca_crt is not a setting" in caught.value.what
    assert caught.value.fix == "Did you mean ca_cert?"
    with pytest.raises(ConfigError, match="its url is missing"):
        bench.driver(url=...)
    for wrong in ("https://me:secret@host", "https://host:secret", "https://[secret", "secret"):
        with pytest.raises(ConfigError, match="has a url") as refused:
            bench.driver(url=wrong)
        assert "secret" not in str(refused.value)


async def test_making_a_driver_asks_nobody_and_reads_nothing(bench: Bench) -> None:
    bench.driver(ca_cert="no-such-file.pem")
    assert bench.fake.server.requests == []
    with pytest.raises(ConfigError, match="ca_cert names"):
        await bench.made[-1].machines()


def test_its_options_are_described(bench: Bench) -> None:
    schema = bench.driver_class.options_schema()
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert all(told.get("description") for told in properties.values())
