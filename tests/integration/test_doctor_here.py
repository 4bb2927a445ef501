"""The doctor on VMs of this host: every step broken for real, and told in words with its fix."""

from __future__ import annotations

import asyncio
import datetime
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from broker.findings import Finding, Mark
from broker.model import Machine, ProxyStatus, UnixTarget
from broker.runtime.wiring import open_service
from broker.service.embedded import EmbeddedService
from tests.broker.proxy.qemu import free_port
from tests.guests import Home, held, needs_qemu, qmp
from tests.hand import BARE, TICKET, ByHand, by_hand, certificates, short_directory
from tests.integration.cli import broker
from tests.stopping import hold

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@asynccontextmanager
async def adopted(
    place: Path, *arguments: str, ready: Path | int
) -> AsyncIterator[tuple[ByHand, EmbeddedService, Machine]]:
    """A QEMU by hand that was adopted, and a service to ask."""
    async with by_hand(place, *BARE, *arguments, ready=ready) as qemu, open_service() as service:
        yield qemu, service, await service.adopt(str(qemu.pid), name="vm")


async def steps(service: EmbeddedService, machine: Machine) -> dict[str, Finding]:
    return {step.name: step.finding async for step in service.diagnose(machine.key)}


async def first_broken(service: EmbeddedService, machine: Machine) -> tuple[str, str]:
    """The name of the last step, which is broken, and what is said of it."""
    taken = await steps(service, machine)
    name, finding = list(taken.items())[-1]
    assert finding.mark is Mark.FAIL, taken
    return name, f"{finding.words}. {finding.fix}"


def qmp_and(place: Path, *spice: str) -> tuple[str, ...]:
    return ("-qmp", f"unix:{place}/qmp,server=on,wait=off", *spice)


# --- of this host -------------------------------------------------------------------------------


async def test_one_that_works_passes_every_step_and_nothing_is_written_down(place: Path) -> None:
    arguments = qmp_and(place, "-spice", "port=0")
    async with adopted(place, *arguments, ready=place / "qmp") as (_, service, machine):
        before = await service.events()
        found = await steps(service, machine)
        assert [name for name, each in found.items() if each.mark is Mark.FAIL] == []
        assert list(found) == [
            "name", "source", "screen", "process", "QMP", "server", "connection", "certificate",
            "SPICE", "ticket", "proxy", "proxy TLS", ".vv file", "viewer",
        ]  # fmt: skip
        assert "answers: running" in found["QMP"].words
        assert await service.events() == before


async def test_a_monitor_that_another_program_holds_is_named(place: Path) -> None:
    arguments = qmp_and(place, "-spice", "port=0")
    async with adopted(place, *arguments, ready=place / "qmp") as (_, service, machine):
        async with held(place / "qmp"):
            name, said = await first_broken(service, machine)
        assert name == "QMP"
        assert "another program is at its monitor" in said
        assert f"grep {place}/qmp" in said


async def test_a_held_monitor_breaks_nothing_where_the_screen_has_a_port(place: Path) -> None:
    port = free_port()
    arguments = qmp_and(place, "-spice", f"port={port},password={TICKET}")
    async with adopted(place, *arguments, ready=port) as (_, service, machine):
        async with held(place / "qmp"):
            found = await steps(service, machine)
        assert found["QMP"].mark is Mark.WARN
        assert (found["SPICE"].mark, found["ticket"].words) == (Mark.OK, "accepted")


async def test_a_qemu_held_by_a_signal_is_told_how_to_go_on(place: Path) -> None:
    arguments = qmp_and(place, "-spice", "port=0")
    async with adopted(place, *arguments, ready=place / "qmp") as (qemu, service, machine):
        hold(qemu.pid)
        name, said = await first_broken(service, machine)
        assert (name, f"kill -CONT {qemu.pid}" in said) == ("process", True)


async def test_one_that_ended_since_it_was_listed_is_broken_at_its_process(place: Path) -> None:
    arguments = qmp_and(place, "-spice", "port=0")
    async with adopted(place, *arguments, ready=place / "qmp") as (qemu, service, machine):
        qemu.signalled(signal.SIGKILL)
        while qemu.lives:  # noqa: ASYNC110 - it is not our child, so nothing tells
            await asyncio.sleep(0.01)
        assert (await first_broken(service, machine))[0] == "process"
        await service.refresh()
        name, said = await first_broken(service, machine)
        assert (name, "stopped" in said or "ended" in said) == ("screen", True)


async def test_one_without_spice_is_told_what_to_start_it_with(place: Path) -> None:
    async with adopted(place, *qmp_and(place), ready=place / "qmp") as (_, service, machine):
        name, said = await first_broken(service, machine)
        assert name == "screen"
        assert "no SPICE" in said
        assert "-spice" in said


async def test_a_ticket_that_was_changed_since_is_refused(place: Path) -> None:
    port = free_port()
    arguments = qmp_and(place, "-spice", f"port={port},password={TICKET}")
    async with adopted(place, *arguments, ready=port) as (_, service, machine):
        new: dict[str, object] = {"protocol": "spice", "password": "another"}
        await qmp(place / "qmp", "set_password", new)
        name, said = await first_broken(service, machine)
        assert (name, "refuses our ticket" in said) == ("ticket", True)
        assert TICKET not in said


async def test_a_certificate_that_has_expired_is_told_as_just_that(place: Path) -> None:
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    certificates(place, not_before=now - 2 * day, not_after=now - day)
    port = free_port()
    spice = f"tls-port={port},x509-dir={place},password={TICKET}"
    async with adopted(place, "-spice", spice, ready=port) as (_, service, machine):
        name, said = await first_broken(service, machine)
        assert (name, "has expired" in said) == ("certificate", True)


async def test_another_ca_than_the_one_on_disk_is_found(place: Path) -> None:
    certificates(place)
    port = free_port()
    spice = f"tls-port={port},x509-dir={place},password={TICKET}"
    async with adopted(place, "-spice", spice, ready=port) as (_, service, machine):
        trustme.CA().cert_pem.write_to_path(str(place / "ca-cert.pem"))
        await service.refresh()
        name, said = await first_broken(service, machine)
        assert (name, "is not from the console's CA" in said) == ("certificate", True)


async def test_a_vm_of_ours_is_looked_at_all_the_same() -> None:
    assert (await asyncio.to_thread(broker, "run", "--demo", "--headless")).code == 0
    try:
        async with open_service() as service:
            machine = (await service.find("demo")).machine
            assert (await steps(service, machine))["QMP"].mark is Mark.OK
            assert machine.pid is not None
            hold(machine.pid)
            assert (await first_broken(service, machine))[0] == "process"
    finally:
        await asyncio.to_thread(broker, "vm", "kill", "demo")


async def test_one_that_speaks_vnc_is_looked_at_as_far_as_its_socket(home: Home) -> None:
    async with open_service() as service:
        spec = replace(home.spec(), vnc=True)
        machine = await service.start((await service.define(spec)).key)
        try:
            found = await steps(service, machine)
            assert [name for name, each in found.items() if each.mark is Mark.FAIL] == []
            assert found["SPICE"].words == "it answers as a VNC server"
            assert "export-vv" not in found["viewer"].fix
            assert isinstance(machine.target, UnixTarget)
            Path(machine.target.path).unlink()  # noqa: ASYNC240 - a socket of this test
            assert (await first_broken(service, machine))[0] == "connection"
        finally:
            await service.kill(machine.key)


# --- static consoles, and our own proxy -----------------------------------------------------------


@asynccontextmanager
async def static(broker_home: Path, port: int) -> AsyncIterator[tuple[EmbeddedService, Machine]]:
    """A console at a port of this host."""
    (broker_home / "config").mkdir(mode=0o700, exist_ok=True)
    (broker_home / "config" / "sources.yaml").write_text(
        "- source: lab\n  type: static\n  consoles:\n"
        "  - {uuid: 6f4e2c1a-0000-0000-0000-000000000001, name: web, hypervisor: node1,\n"
        f"     hypervisor_ip: 127.0.0.1, insecure_port: {port}, ticket: x}}\n"
    )
    async with open_service() as service:
        yield service, (await service.find("web")).machine


async def test_a_port_where_nobody_listens_is_found(broker_home: Path) -> None:
    async with static(broker_home, free_port()) as (service, machine):
        name, said = await first_broken(service, machine)
        assert (name, "Connection refused" in said) == ("connection", True)


async def test_a_port_that_speaks_something_else_is_found(broker_home: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 200)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with static(broker_home, port) as (service, machine):
            name, said = await first_broken(service, machine)
            assert (name, "does not speak SPICE" in said) == ("SPICE", True)


async def test_a_proxy_that_is_not_ours_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    arguments = qmp_and(place, "-spice", "port=0")
    async with server, adopted(place, *arguments, ready=place / "qmp") as (_, service, machine):
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(
            service._proxy,
            "status",
            lambda: ProxyStatus(serving=True, host="127.0.0.1", tls_port=port, pid=1),
        )
        name, said = await first_broken(service, machine)
        assert (name, "is not our proxy" in said) == ("proxy TLS", True)
