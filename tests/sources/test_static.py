from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from broker.config.locations import Locations
from broker.config.sources_file import read_sources
from broker.driver import Driver, DriverContext, KeptConsoles, PowerControl
from broker.errors import ConfigError, NotFound
from broker.model import (
    Console,
    Machine,
    MachineId,
    MachineKey,
    SourceName,
    State,
    TcpTarget,
    UnixTarget,
)
from sources.reading import MOST_BYTES
from sources.static import StaticDriver

SECRET = "s3cr3t-ticket"
NAME = SourceName("debug")
UUID = "6f4e2c1a-0000-0000-0000-000000000001"

ENTRY: Mapping[str, object] = {
    "uuid": UUID,
    "name": "sextant",
    "hypervisor": "localhost",
    "hypervisor_ip": "127.0.0.1",
    "insecure_port": "5910",
    "ticket": SECRET,
}

KERBSIDE = f"""\
- source: my-static-source
  type: static
  consoles:
    - uuid: "{UUID}"
      name: "test-vm-1"
      hypervisor: "localhost"
      hypervisor_ip: "127.0.0.1"
      insecure_port: 5910
      ticket: "my-spice-password"
      secure_port: null
      host_subject: null
"""


@pytest.fixture
def context(locations: Locations) -> DriverContext:
    return DriverContext(locations.config_dir, locations.data_dir, locations.runtime_dir)


def entry(**changes: object) -> dict[str, object]:
    """ENTRY with changes; `...` takes a key out."""
    return {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}


def driver(context: DriverContext, *entries: Mapping[str, object]) -> StaticDriver:
    return StaticDriver.from_options(NAME, {"consoles": list(entries)}, context)


def mistake(context: DriverContext, options: Mapping[str, object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        StaticDriver.from_options(NAME, options, context)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


async def target_of(made: StaticDriver) -> Any:
    return (await made.console(MachineId(UUID))).target


async def test_a_console_is_a_machine_in_an_unknown_state(context: DriverContext) -> None:
    made = driver(context, entry())
    assert await made.machines() == [
        Machine(
            key=MachineKey(NAME, MachineId(UUID)),
            name="sextant",
            state=State.UNKNOWN,
            hypervisor="localhost",
            hypervisor_ip="127.0.0.1",
            target=TcpTarget("127.0.0.1", 5910),
        )
    ]
    assert await made.console(MachineId(UUID)) == Console(
        TcpTarget("127.0.0.1", 5910), ticket=SECRET
    )
    assert made.kept_tickets() == {UUID: SECRET}
    assert made.warnings == ()
    await made.aclose()


async def test_an_entry_written_for_kerbside_works_unchanged(
    locations: Locations, context: DriverContext
) -> None:
    locations.sources_yaml.write_text(KERBSIDE)
    found = read_sources(locations.sources_yaml).entries[0]
    made = StaticDriver.from_options(found.name, found.options, context)
    assert [machine.name for machine in await made.machines()] == ["test-vm-1"]
    assert made.kept_tickets() == {UUID: "my-spice-password"}


def test_it_keeps_the_drivers_contract(context: DriverContext) -> None:
    made: Driver = driver(context, entry())
    assert isinstance(made, KeptConsoles)
    assert not isinstance(made, PowerControl)


async def test_an_empty_list_is_no_mistake(context: DriverContext) -> None:
    assert await driver(context).machines() == []


async def test_numbers_given_as_such_are_read_as_text(context: DriverContext) -> None:
    made = driver(context, entry(uuid=17, name=5, ticket=12345, insecure_port=5910))
    (machine,) = await made.machines()
    assert (machine.key.uuid, machine.name) == ("17", "5")
    assert made.kept_tickets() == {"17": "12345"}


async def test_a_uuid_in_capitals_is_the_same(context: DriverContext) -> None:
    made = driver(context, entry(uuid=UUID.upper()))
    assert (await made.machines())[0].key.uuid == UUID
    assert (await made.console(MachineId(UUID.upper()))).ticket == SECRET


async def test_an_unknown_console_is_not_found(context: DriverContext) -> None:
    with pytest.raises(NotFound, match="debug has no console nobody"):
        await driver(context, entry()).console(MachineId("nobody"))


# -- where a console is


async def test_both_ports_ca_and_subject_make_a_tls_target(context: DriverContext) -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    made = driver(context, entry(secure_port="5911", host_subject="CN=node1", ca_cert=pem))
    assert await target_of(made) == TcpTarget("127.0.0.1", 5910, 5911, pem, "CN=node1")


async def test_a_proxy_may_stand_on_the_way(context: DriverContext) -> None:
    target = await target_of(driver(context, entry(proxy="http://gw.lab:3128")))
    assert target == TcpTarget("127.0.0.1", port=5910, proxy="http://gw.lab:3128")


@pytest.mark.parametrize(
    "proxy",
    [
        "gw",
        "https://gw:1",
        "http://me:secret@gw:3128",
        "http://gw",
        "http://gw:0",
        "http://gw:65536",
    ],
)
def test_what_is_no_proxy_is_said_without_its_secret(context: DriverContext, proxy: str) -> None:
    problem = mistake(context, {"consoles": [entry(proxy=proxy)]})
    assert "its proxy is not http://host:port" in problem.what
    assert "secret" not in str(problem)


async def test_a_ca_may_be_a_file_beside_sources_yaml(context: DriverContext) -> None:
    pem = "# Düsseldorf\n" + trustme.CA().cert_pem.bytes().decode()
    (context.config_dir / "ca.pem").write_text(pem)
    made = driver(context, entry(insecure_port=..., secure_port="5911", ca_cert="ca.pem"))
    assert (await target_of(made)).ca_pem == pem


async def test_a_unix_socket_stands_instead_of_ports_and_address(context: DriverContext) -> None:
    made = driver(
        context,
        entry(unix_path="x.sock", insecure_port=..., hypervisor=..., hypervisor_ip=...),
    )
    assert await target_of(made) == UnixTarget(str(context.config_dir / "x.sock"))
    assert (await made.machines())[0].hypervisor == "localhost"


async def test_an_absolute_path_stays(context: DriverContext) -> None:
    made = driver(context, entry(unix_path="/run/x.sock", insecure_port=...))
    assert await target_of(made) == UnixTarget("/run/x.sock")


# -- tickets


async def test_a_ticket_may_be_in_a_file_that_is_read_at_each_listing(
    context: DriverContext,
) -> None:
    path = context.config_dir / "ticket"
    path.write_text("one\n")
    path.chmod(0o600)
    made = driver(context, entry(ticket=..., ticket_file="ticket"))
    assert made.kept_tickets() == {UUID: "one"}
    path.write_text(" two \r\n")
    await made.machines()
    assert made.kept_tickets() == {UUID: " two "}
    assert made.warnings == ()


async def test_a_ticket_file_that_goes_missing_fails_the_listing_and_keeps_what_was_known(
    context: DriverContext,
) -> None:
    path = context.config_dir / "ticket"
    path.write_text("one")
    made = driver(context, entry(ticket=..., ticket_file="ticket"))
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await made.machines()
    assert made.kept_tickets() == {UUID: "one"}


def test_a_ticket_file_that_others_can_read_is_a_warning(context: DriverContext) -> None:
    path = context.config_dir / "ticket"
    path.write_text("one")
    path.chmod(0o644)
    (warning,) = driver(context, entry(ticket=..., ticket_file="ticket")).warnings
    assert f"chmod 600 {path}" in warning


def test_a_ticket_may_be_in_the_environment(
    context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEXTANT_TICKET", SECRET)
    made = driver(context, entry(ticket=..., ticket_env="SEXTANT_TICKET"))
    assert made.kept_tickets() == {UUID: SECRET}


def test_a_variable_that_is_no_text_is_said(
    context: DriverContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environb, b"SEXTANT_TICKET", b"s3cr3t-ticket\xff")
    problem = mistake(context, {"consoles": [entry(ticket=..., ticket_env="SEXTANT_TICKET")]})
    assert "SEXTANT_TICKET, which is no text" in problem.what


def test_a_pipe_that_nobody_writes_into_holds_nobody_up(context: DriverContext) -> None:
    os.mkfifo(context.config_dir / "ticket", 0o600)
    problem = mistake(context, {"consoles": [entry(ticket=..., ticket_file="ticket")]})
    assert "it is no file" in problem.what


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"x" * (MOST_BYTES + 1), "longer than 1.0 MB"), (b"s3cr3t-ticket\xff", "it is no text")],
    ids=["long", "binary"],
)
def test_a_file_that_is_no_ticket_is_said(context: DriverContext, content: bytes, why: str) -> None:
    (context.config_dir / "ticket").write_bytes(content)
    problem = mistake(context, {"consoles": [entry(ticket=..., ticket_file="ticket")]})
    assert why in problem.what


async def test_a_null_ticket_is_a_server_that_asks_for_none(context: DriverContext) -> None:
    made = driver(context, entry(ticket=None))
    assert made.kept_tickets() == {}
    assert (await made.console(MachineId(UUID))).ticket is None


def test_a_ticket_longer_than_spice_keeps_is_a_warning(context: DriverContext) -> None:
    (warning,) = driver(context, entry(ticket="x" * 60)).warnings
    assert "59 bytes" in warning
    assert driver(context, entry(ticket="x" * 59)).warnings == ()


def test_no_representation_holds_a_ticket(context: DriverContext) -> None:
    made = driver(context, entry())
    assert SECRET not in repr(made) + repr(made._consoles) + repr(made._resolved)


# -- what is odd


async def test_of_two_with_one_uuid_the_last_wins_and_both_are_named(
    context: DriverContext,
) -> None:
    made = driver(context, entry(name="alpha"), entry(name="beta", uuid=UUID.upper()))
    assert [machine.name for machine in await made.machines()] == ["beta"]
    (warning,) = made.warnings
    assert "alpha and beta have the same uuid" in warning


def test_a_ca_that_does_nothing_is_a_warning(context: DriverContext) -> None:
    pem = trustme.CA().cert_pem.bytes().decode()
    (warning,) = driver(context, entry(ca_cert=pem)).warnings
    assert "ca_cert does nothing without secure_port" in warning


# -- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uuid": ...}, "console 1 (sextant): its uuid is missing. Add `uuid: …`"),
        ({"uuid": ""}, "its uuid is missing"),
        ({"name": ...}, "console 1: its name is missing"),
        ({"hypervisor": ...}, "its hypervisor is missing"),
        ({"hypervisor_ip": ""}, "its hypervisor_ip is missing"),
        ({"ticket": ...}, "its ticket is missing. Add `ticket`, `ticket_file` or `ticket_env`"),
        ({"ticket": ""}, "its ticket is empty"),
        ({"ticket": ..., "ticket_env": ""}, "its ticket_env is empty"),
        ({"ticket_file": "x"}, "has ticket and ticket_file. Keep one of them"),
        ({"ticket": ..., "ticket_file": "none"}, "ticket_file names"),
        ({"ticket": ..., "ticket_env": "NOT_SET"}, "ticket_env names NOT_SET, which is not set"),
        ({"insecure_port": ...}, "says no port. Add `insecure_port`, `secure_port` or both"),
        ({"insecure_port": ""}, "says no port"),
        ({"insecure_port": "70000"}, "insecure_port is 70000; ports go from 1 to 65535"),
        ({"secure_port": "0"}, "secure_port is 0; ports go from 1 to 65535"),
        ({"insecure_port": SECRET}, "insecure_port is not a number"),
        ({"insecure_port": ["1"]}, "insecure_port is not a number"),
        ({"unix_path": "/x"}, "has unix_path and a port"),
        ({"name": ["a"]}, "name is not text"),
        ({"ticket": {"a": SECRET}}, "ticket is not text"),
        ({"insecure_prt": "1"}, "insecure_prt is not a setting. Did you mean insecure_port?"),
        ({"zzz": SECRET}, "zzz is not a setting. There are: uuid, name"),
        ({"secure_port": "1", "ca_cert": "nowhere.pem"}, "ca_cert names"),
        ({"secure_port": "1", "ca_cert": "-----BEGIN X"}, "ca_cert holds no certificate"),
        ({"ca_cert": "a\0b"}, "cannot be read"),
    ],
)
def test_a_mistake_names_source_and_console_and_the_way_out(
    context: DriverContext, changes: Mapping[str, object], message: str
) -> None:
    text = str(mistake(context, {"consoles": [entry(**changes)]}))
    assert text.startswith("sources.yaml: debug: ")
    assert message in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "consoles is missing"),
        ({"consoles": None}, "consoles is not a list"),
        ({"consoles": "x"}, "consoles is not a list"),
        ({"consoles": {"uuid": "x"}}, "consoles is not a list"),
        ({"consoles": ["x"]}, "console 1 is not an entry"),
        ({"console": []}, "console is not a setting of a static source. Did you mean consoles?"),
    ],
)
def test_a_mistake_around_the_consoles_is_named(
    context: DriverContext, options: Mapping[str, object], message: str
) -> None:
    assert message in str(mistake(context, options))


def test_the_third_entry_is_counted_as_such(context: DriverContext) -> None:
    problem = mistake(context, {"consoles": [entry(), entry(uuid="b"), entry(name="c", x="1")]})
    assert "console 3 (c)" in str(problem)


def test_an_empty_ticket_file_is_said(context: DriverContext) -> None:
    path: Path = context.config_dir / "ticket"
    path.write_text("\n")
    assert "is empty" in str(
        mistake(context, {"consoles": [entry(ticket=..., ticket_file="ticket")]})
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, {}),
        ({"insecure_port": "s3cret"}, {"insecure_port": "is not a whole number"}),
        ({"insecure_port": 0, "name": ...}, {"insecure_port": "greater", "name": "is needed"}),
        ({"insecure_port": ...}, {"": "says no port"}),
        ({"hypervisor_ip": ...}, {"hypervisor_ip": "is missing"}),
        ({"unix_path": "/x"}, {"": "unix_path and a port"}),
        ({"ticket": ...}, {"ticket": "is missing"}),
        ({"ticket_env": "X"}, {"": "ticket and ticket_env"}),
        ({"proxy": "ftp://x"}, {"proxy": "is not http://host:port"}),
    ],
)
def test_each_mistake_of_a_console_is_told_by_its_key(
    changes: dict[str, object], told: dict[str, str]
) -> None:
    found = StaticDriver.option_problems({"consoles": [entry(), entry(**changes)]})
    short = {key.removeprefix("consoles.1").lstrip("."): text for key, text in found.items()}
    assert short.keys() == told.keys()
    assert all(words in short[key] for key, words in told.items())
    assert SECRET not in str(found)


@pytest.mark.parametrize("odd", ["vm", None, 5, ["uuid"]])
def test_what_is_no_console_at_all_is_told_as_a_whole(odd: object) -> None:
    found = StaticDriver.option_problems({"consoles": [entry(), odd]})
    assert found == {"consoles.1": "is not an entry. Begin it with `- uuid: …`"}
