"""`broker doctor NAME` against real SPICE servers: the step that breaks, and no harm done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker import pki
from broker.config.locations import Locations
from broker.spice.client import ChannelClient, MainReady
from broker.spice.constants import ChannelType
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.guests import needs_qemu
from tests.integration.cli import Said, broker

pytestmark = [pytest.mark.qemu, needs_qemu]

SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")


def configure(locations: Locations, **fields: object) -> None:
    """A static source with one console, at 127.0.0.1."""
    console = {
        "uuid": "6f4e2c1a-0000-0000-0000-000000000001",
        "name": "web",
        "hypervisor": "node1",
        "hypervisor_ip": "127.0.0.1",
        "ticket": PASSWORD,
        **fields,
    }
    entry = {"source": "lab", "type": "static", "consoles": [console]}
    locations.sources_yaml.write_text(yaml.safe_dump([entry]))


async def doctor() -> tuple[Said, dict[str, str]]:
    """What it says, and the mark of every step it took."""
    said = await asyncio.to_thread(broker, "doctor", "web", "--json")
    return said, {step["name"]: step["mark"] for step in json.loads(said.out)["steps"]}


@pytest.fixture
async def plain(locations: Locations) -> AsyncIterator[Qemu]:
    port = free_port()
    configure(locations, insecure_port=port)
    async with running_qemu(f"addr=127.0.0.1,port={port},password-secret=pw", *SECRET) as qemu:
        yield qemu


@asynccontextmanager
async def secure(locations: Locations, directory: Path, **fields: object) -> AsyncIterator[Qemu]:
    """A QEMU with TLS, its certificate for O=Lab, CN=node1."""
    ca = trustme.CA()
    leaf = ca.issue_cert("node1.lab", organization_name="Lab", common_name="node1")
    ca.cert_pem.write_to_path(str(directory / "ca-cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "server-key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "server-cert.pem"))
    port = free_port()
    console = {"secure_port": port, "ca_cert": str(directory / "ca-cert.pem"), **fields}
    configure(locations, **console)
    spice = f"addr=127.0.0.1,tls-port={port},x509-dir={directory},password-secret=pw"
    async with running_qemu(spice, *SECRET) as qemu:
        yield qemu


async def test_a_console_that_works_passes_every_step(plain: Qemu) -> None:
    said, marks = await doctor()
    assert said.code == 0
    assert "fail" not in marks.values()
    assert marks["ticket"] == marks["SPICE"] == "ok"
    assert await plain.is_alive()


async def test_a_wrong_ticket_is_found_without_a_viewer(plain: Qemu, locations: Locations) -> None:
    text = locations.sources_yaml.read_text().replace(PASSWORD, "open")
    await asyncio.to_thread(locations.sources_yaml.write_text, text)
    said, marks = await doctor()
    assert (said.code, marks["ticket"]) == (5, "fail")
    assert "proxy" not in marks
    assert "open" not in said.err
    assert await plain.is_alive()


async def test_somebody_on_the_screen_stays_on_it(plain: Qemu, locations: Locations) -> None:
    port = yaml.safe_load(locations.sources_yaml.read_text())[0]["consoles"][0]["insecure_port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = ChannelClient(ChannelType.MAIN, PASSWORD.encode())
    seen: list[object] = []
    while not any(isinstance(event, MainReady) for event in seen):
        writer.write(client.data_to_send())
        seen += client.receive_data(await reader.read(65536))
        writer.write(client.data_to_send())
    said, _ = await doctor()
    assert said.code == 0
    channels = (await plain.qmp("query-spice"))["channels"]
    assert [one["channel-type"] for one in channels].count(1) == 1
    assert not reader.at_eof()
    writer.close()


async def test_tls_with_the_right_subject_passes(locations: Locations, tmp_path: Path) -> None:
    async with secure(locations, tmp_path, host_subject=None) as qemu:
        pem = (tmp_path / "server-cert.pem").read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        text = locations.sources_yaml.read_text()
        subject = json.dumps(pki.subject_of(der))
        named = text.replace("host_subject: null", f"host_subject: {subject}")
        await asyncio.to_thread(locations.sources_yaml.write_text, named)
        said, marks = await doctor()
        assert await qemu.is_alive()
    assert (said.code, marks["certificate"], marks["ticket"]) == (0, "ok", "ok")


async def test_a_wrong_subject_is_found(locations: Locations, tmp_path: Path) -> None:
    async with secure(locations, tmp_path, host_subject="O=Lab,CN=node2") as qemu:
        said, marks = await doctor()
        assert await qemu.is_alive()
    assert (said.code, marks["certificate"]) == (5, "fail")
    assert "node1" in said.out
    assert "SPICE" not in marks


async def test_a_certificate_of_another_ca_is_found(locations: Locations, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with secure(locations, tmp_path, ca_cert=str(other)):
        said, marks = await doctor()
    assert (said.code, marks["certificate"]) == (5, "fail")
    assert "ca_cert" in said.out


async def test_a_plain_port_that_wants_tls_says_so(locations: Locations, tmp_path: Path) -> None:
    port = free_port()
    async with secure(locations, tmp_path):
        pass
    configure(locations, insecure_port=port)
    spice = (
        f"addr=127.0.0.1,port={port},tls-port={free_port()},x509-dir={tmp_path},"
        "tls-channel=default,password-secret=pw"
    )
    async with running_qemu(spice, *SECRET):
        said, marks = await doctor()
    assert (said.code, marks["SPICE"]) == (4, "fail")
    assert "secure_port" in said.out
