"""What only Shaken Fist does: namespaces, nodes by several names, and files for viewers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import jwt
import pytest

from broker.driver import DriverContext
from broker.errors import (
    ConfigError,
    NoConsole,
    NotFound,
    Refused,
    SourceDenied,
    SourceUnreachable,
    UsageError,
)
from broker.findings import Mark
from broker.model import Ability, MachineId, State, TcpTarget
from tests.fakes import http
from tests.fakes.http import Answer
from tests.fakes.lab import Lab
from tests.fakes.shakenfist import AUDIENCE, IDS, FakeShakenfist
from tests.sources.remote import Bench, benched

pytestmark = pytest.mark.qemu

DESK1, DESK2, VNC = (MachineId(each) for each in IDS[:3])


@pytest.fixture
async def bench(
    open_lab: Lab, driver_context: DriverContext, tmp_path: Path
) -> AsyncIterator[Bench]:
    async with benched("shakenfist", open_lab, tmp_path, driver_context) as bench:
        yield bench


def fake_of(bench: Bench) -> FakeShakenfist:
    return cast("FakeShakenfist", bench.fake)


async def target_of(bench: Bench, **changes: object) -> TcpTarget:
    target = (await bench.driver(**changes).console(DESK1)).target
    assert isinstance(target, TcpTarget)
    return target


@pytest.mark.parametrize("new", [True, False])
async def test_a_node_is_known_by_its_name_and_by_its_uuid(bench: Bench, new: bool) -> None:
    fake_of(bench).new = new
    machines = {machine.name: machine for machine in await bench.driver().machines()}
    assert machines["desk1"].hypervisor == "sf-1"
    assert machines["desk1"].hypervisor_ip == "127.0.0.1"


async def test_a_list_whose_nodes_are_all_unknown_is_an_error(bench: Bench) -> None:
    fake_of(bench).node_words = "known-by-no-list"
    with pytest.raises(SourceUnreachable, match="look odd: node"):
        await bench.driver().machines()


async def test_instances_that_are_not_made_yet_are_not_there(bench: Bench) -> None:
    bench.fake.guests[DESK1].more["state"] = "preflight"
    assert DESK1 not in {machine.key.uuid for machine in await bench.driver().machines()}


async def test_the_certificate_is_that_of_the_node_by_the_ca_of_the_cluster(bench: Bench) -> None:
    target = await target_of(bench)
    assert target == TcpTarget(
        "127.0.0.1",
        tls_port=bench.fake.lab.tls_port,
        ca_pem=bench.fake.lab.ca_pem.strip(),
        host_subject=bench.fake.lab.subject,
    )


async def test_an_older_cluster_has_its_subject_from_the_entry(bench: Bench) -> None:
    fake_of(bench).new = False
    assert (await target_of(bench)).host_subject is None
    assert (await target_of(bench, host_subject="O=Lab,CN={node}")).host_subject == "O=Lab,CN=sf-1"


async def test_a_cluster_without_a_ca_is_reached_without_tls(bench: Bench) -> None:
    fake_of(bench).has_ca = False
    target = await target_of(bench)
    assert (target.port, target.tls_port) == (bench.fake.lab.port, None)


async def test_another_namespace_reads_the_file_for_viewers(bench: Bench) -> None:
    fake_of(bench).namespace = "ci"
    driver = bench.driver(addresses={"sf-1": "127.0.0.1"}, host_subject=bench.fake.lab.subject)
    assert len(await driver.machines()) == 3
    console = await driver.console(DESK1)
    assert await bench.picture(console) == "picture"
    assert not bench.fake.server.asked(part="/nodes")


async def test_a_file_that_is_none_is_odd(bench: Bench) -> None:
    fake_of(bench).namespace = "ci"
    for body in (b"[virt-viewer]\nnonsense\n", b"", b"[virt-viewer]\ntype=spice\nport=x\n"):
        bench.fake.server.calm()
        bench.fake.server.upset(http.saying(Answer(200, body)), part="/vdiconsolehelper")
        with pytest.raises(SourceUnreachable, match="look odd: virt-viewer"):
            await bench.driver().console(DESK1)


async def test_a_namespace_that_is_not_told_addresses_is_warned(bench: Bench) -> None:
    fake_of(bench).namespace = "ci"
    step = (await bench.driver().check())[-1]
    assert (step.name, step.finding.mark) == ("rights", Mark.WARN)
    assert "addresses" in step.finding.fix
    step = (await bench.driver(addresses={"sf-1": "127.0.0.1"}).check())[-1]
    assert step.finding.mark is Mark.OK


async def test_an_unknown_namespace_is_told_with_the_clusters_words(bench: Bench) -> None:
    with pytest.raises(SourceDenied, match="namespace not found"):
        await bench.driver(namespace="nobody").machines()


async def test_a_route_that_a_release_lacks_is_no_missing_machine(bench: Bench) -> None:
    page = Answer(404, b"<html>not found</html>", headers={"Content-Type": "text/html"})
    bench.fake.server.upset(http.saying(page), "POST")
    bench.fake.server.upset(http.saying(page), part=DESK1)
    driver = bench.driver()
    await driver.http.aclose()
    with pytest.raises(SourceUnreachable):
        await driver.console(DESK1)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("initial", State.STARTING),
        ("crashed", State.CRASHED),
        ("paused", State.PAUSED),
        ("transition-to-on", State.BUSY),
        (None, State.UNKNOWN),
    ],
)
async def test_power_states_have_our_words(bench: Bench, word: str | None, state: State) -> None:
    bench.fake.guests[DESK1].more["power_state"] = word
    assert (await bench.driver().machine(DESK1)).state is state


async def test_an_instance_that_is_not_placed_has_no_screen(bench: Bench) -> None:
    bench.fake.guests[DESK1].more |= {"vdi_port": None, "vdi_tls_port": None}
    with pytest.raises(NoConsole, match="no screen at present"):
        await bench.driver().console(DESK1)


async def test_an_instance_that_was_deleted_is_gone(bench: Bench) -> None:
    bench.fake.guests[DESK1].more["state"] = "deleted"
    with pytest.raises(NotFound):
        await bench.driver().machine(DESK1)


async def test_a_guest_cannot_be_asked_to_go_off(bench: Bench) -> None:
    driver = bench.driver()
    assert "cannot ask" in driver.abilities()[Ability.SHUTDOWN]
    with pytest.raises(UsageError):
        await driver.switch(DESK1, Ability.SHUTDOWN)


# -- console tokens


async def test_a_console_token_names_its_instance_once(bench: Bench) -> None:
    fake = fake_of(bench)
    fake.signs("one")
    token = fake.console_token("one", DESK1.upper())
    driver = bench.driver(token_audience=AUDIENCE)
    assert await driver.machine_of_token(token) == DESK1
    for again in (driver, bench.driver(token_audience=AUDIENCE)):  # also in another process
        with pytest.raises(Refused, match="used before") as caught:
            await again.machine_of_token(token)
        assert token not in str(caught.value)
    assert await driver.machine_of_token(fake.console_token("one", DESK2)) == DESK2


async def test_a_console_token_that_is_not_for_us_opens_nothing(bench: Bench) -> None:
    fake = fake_of(bench)
    fake.signs("one")
    other = FakeShakenfist(fake.lab)
    other.signs("one")
    now = int(time.time())
    driver = bench.driver(token_audience=AUDIENCE)
    good = fake.console_token("one", DESK1)
    for token in (
        "28e2fdba-e2da-4082-858d-c6291da841fd",
        "eyJ.eyJ.eyJ",
        other.console_token("one", DESK1),
        fake.console_token("one", DESK1, aud="https://elsewhere.example"),
        fake.console_token("one", DESK1, aud=[AUDIENCE, "https://elsewhere.example"]),
        fake.console_token("one", DESK1, exp=now - 60),
        fake.console_token("one", DESK1, exp=now + 86400),
        fake.console_token("one", DESK1, exp="soon"),
        jwt.encode({"sub": DESK1}, "x" * 32, "HS256", headers={"kid": "one"}),
        good.rpartition(".")[0] + ".",
        "",
    ):
        with pytest.raises(NotFound):
            await driver.machine_of_token(token)
    assert await driver.machine_of_token(good) == DESK1
    with pytest.raises(ConfigError, match="not known here"):
        await bench.driver().machine_of_token(good)


async def test_keys_are_fetched_when_one_is_unknown_and_not_all_the_time(bench: Bench) -> None:
    fake = fake_of(bench)
    driver = bench.driver(token_audience=AUDIENCE)
    fake.signs("one")
    one = fake.console_token("one", DESK1)
    fake.signing.clear()
    with pytest.raises(NotFound):
        await driver.machine_of_token(one)  # it makes none
    fake.signs("two")
    for _ in range(3):
        with pytest.raises(NotFound):
            await driver.machine_of_token(fake.console_token("two", DESK1))
    assert fake.keys_told == 1
    assert await bench.driver().machines()  # which is no fault of the source
