"""The proxy against a real QEMU, by our own headless client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker import pki
from broker.model import HandOverTarget, SessionId, Target, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import (
    ChannelClosed,
    ChannelOpened,
    ConnectionRefused,
    Policy,
    SessionClosed,
    Traffic,
)
from broker.proxy.limits import Limits
from broker.spice.client import (
    ChannelClient,
    ChannelsListed,
    Linked,
    MainReady,
    MessageReceived,
    SurfaceCreated,
)
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType
from broker.spice.ticket import seal
from broker.spice.wire import LinkMess, LinkReply
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import SECONDS, TOKEN, Connection, Rig, proxying

pytestmark = pytest.mark.qemu

SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")


@dataclass
class Machine:
    """A QEMU, and how the proxy gets to it."""

    qemu: Qemu
    target: Target
    ticket: str = PASSWORD
    dialer: TargetDialer | None = None


@contextlib.asynccontextmanager
async def tcp(directory: Path) -> AsyncIterator[Machine]:
    port = free_port()
    async with running_qemu(f"addr=127.0.0.1,port={port},password-secret=pw", *SECRET) as qemu:
        yield Machine(qemu, TcpTarget("127.0.0.1", port=port))


@contextlib.asynccontextmanager
async def unix(directory: Path) -> AsyncIterator[Machine]:
    path = f"{directory}/s"
    async with running_qemu(f"unix=on,addr={path},password-secret=pw", *SECRET) as qemu:
        yield Machine(qemu, UnixTarget(path))


@contextlib.asynccontextmanager
async def hand_over(directory: Path) -> AsyncIterator[Machine]:
    async with running_qemu("agent-mouse=on") as qemu:
        yield Machine(qemu, HandOverTarget(f"{qemu.directory}/ctl"), "", TargetDialer(qemu))


SUBJECT = "O=Lab,CN=node1"


def certify_hypervisor(directory: Path) -> str:
    """QEMU's x509 directory; the CA's PEM text."""
    ca = trustme.CA()
    leaf = ca.issue_cert("node1.lab", organization_name="Lab", common_name="node1")
    ca.cert_pem.write_to_path(str(directory / "ca-cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "server-key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "server-cert.pem"))
    return ca.cert_pem.bytes().decode()


@contextlib.asynccontextmanager
async def tls(directory: Path, subject: str | None = None) -> AsyncIterator[Machine]:
    ca_pem = certify_hypervisor(directory)
    port = free_port()
    spice = f"addr=127.0.0.1,tls-port={port},x509-dir={directory},password-secret=pw"
    async with running_qemu(spice, *SECRET) as qemu:
        subject = subject or subject_in(directory)
        target = TcpTarget("127.0.0.1", tls_port=port, ca_pem=ca_pem, host_subject=subject)
        yield Machine(qemu, target)


def subject_in(directory: Path) -> str:
    pem = (directory / "server-cert.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    return pki.subject_of(certificate.public_bytes(Encoding.DER))


Backend = Callable[[Path], contextlib.AbstractAsyncContextManager[Machine]]
EVERY_BACKEND = pytest.mark.parametrize("backend", [tcp, unix, hand_over, tls])


@contextlib.asynccontextmanager
async def standing(backend: Backend, directory: Path) -> AsyncIterator[tuple[Machine, Rig]]:
    """A machine, and a proxy that lets `TOKEN` in to it."""
    async with (
        backend(directory) as machine,
        proxying(directory, dialer=machine.dialer) as rig,
    ):
        rig.gate.allow(machine.target, machine.ticket)
        yield machine, rig


async def picture(rig: Rig, session: int) -> Connection:
    display = await rig.open(ChannelType.DISPLAY, connection_id=session)
    await display.until(SurfaceCreated, lambda event: event.surface.width == 720)
    await display.until(MessageReceived, lambda event: event.type == 304)
    return display


async def nobody_is_at(machine: Machine) -> None:
    """Wait until QEMU has heard of it: a thread of spice-server's tells its main loop."""
    async with asyncio.timeout(SECONDS):
        while (await machine.qemu.qmp("query-spice"))["channels"]:  # noqa: ASYNC110 - it has to be asked
            await asyncio.sleep(0.05)


async def assert_cannot_connect(rig: Rig) -> None:
    """The viewer shows a plain failure: closed, and not asked for a password."""
    main = await rig.open(ChannelType.MAIN)
    with pytest.raises(ConnectionError):
        await main.until(MainReady)
    assert main.client.refusal is None


async def assert_a_fresh_viewer_gets_a_picture(machine: Machine, rig: Rig) -> None:
    """Once those before are gone: this gate lets two in at one machine, which serves the later."""
    async with asyncio.timeout(SECONDS):
        await rig.proxy.drained()
    assert await machine.qemu.is_alive()
    token = rig.gate.allow(machine.target, machine.ticket, token="a-fresh-one")
    main, session = await rig.open_main(token)
    display = await rig.open(ChannelType.DISPLAY, connection_id=session, ticket=token)
    await display.until(SurfaceCreated)
    await main.close()
    await rig.gate.heard(SessionClosed, lambda closed: closed.session == f"s-{token}")


@EVERY_BACKEND
async def test_a_viewer_sees_the_screen_and_types(backend: Backend, tmp_path: Path) -> None:
    async with standing(backend, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        await main.until(ChannelsListed)
        await picture(rig, session)
        inputs = await rig.open(ChannelType.INPUTS, connection_id=session)
        await inputs.until(Linked)
        await inputs.press(0x1E)
        await machine.qemu.says(b"K1\r\n")
        assert rig.gate.joined == ["display.0", "inputs.0"]
        await main.close()
        closed = await rig.gate.heard(SessionClosed)
        assert (closed.reason, closed.established) == ("client-closed", True)
        assert await machine.qemu.is_alive()


async def test_the_viewers_session_id_is_not_the_servers(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        _, session = await rig.open_main()
        (channel,) = (await machine.qemu.qmp("query-spice"))["channels"]
        assert channel["connection-id"] & 0xFFFFFFFF != session


async def test_what_happened_is_told(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (_, rig):
        main, session = await rig.open_main()
        display = await picture(rig, session)
        await rig.gate.heard(Traffic, lambda traffic: traffic.channel == "display.0")
        await display.close()
        closed = await rig.gate.heard(ChannelClosed)
        assert (closed.channel, closed.reason) == ("display.0", "client-closed")
        assert closed.bytes_to_client > 1000
        assert closed.bytes_to_server > 6
        await main.close()
        await rig.gate.heard(SessionClosed)
        opened = [n.channel for n in rig.gate.notices if isinstance(n, ChannelOpened)]
        assert opened == ["main", "display.0"]


@EVERY_BACKEND
async def test_disconnect_ends_every_channel_and_leaves_the_machine(
    backend: Backend, tmp_path: Path
) -> None:
    async with standing(backend, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        display = await picture(rig, session)
        assert rig.proxy.end_session(SessionId(f"s-{TOKEN}"))
        await main.closed()
        await display.closed()
        closed = await rig.gate.heard(SessionClosed)
        assert closed.reason == "disconnected"
        assert rig.proxy.session_count == 0
        await nobody_is_at(machine)
        await assert_a_fresh_viewer_gets_a_picture(machine, rig)


async def test_a_token_opens_one_session(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (_, rig):
        await rig.open_main()
        again = await rig.open(ChannelType.MAIN)
        assert await again.until(LinkRefused) == LinkRefused(7, ticket_judged=True)
        refused = await rig.gate.heard(ConnectionRefused)
        assert (refused.reason, refused.channel) == ("token-unknown", "main")


async def test_a_later_channel_must_show_the_same_token(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        _, session = await rig.open_main()
        thief = await rig.open(ChannelType.DISPLAY, connection_id=session, ticket="another")
        assert await thief.until(LinkRefused) == LinkRefused(7, ticket_judged=True)
        assert (await rig.gate.heard(ConnectionRefused)).reason == "token-wrong"
        await picture(rig, session)
        assert await machine.qemu.is_alive()


async def test_a_channel_opens_once(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (_, rig):
        _, session = await rig.open_main()
        await picture(rig, session)
        twin = await rig.open(ChannelType.DISPLAY, connection_id=session)
        assert (await twin.until(LinkRefused)).error == 9


async def test_a_channel_the_gate_refuses_stays_closed(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (_, rig):
        _, session = await rig.open_main()
        cursor = await rig.open(ChannelType.CURSOR, connection_id=session, channel_id=9)
        assert await cursor.until(LinkRefused) == LinkRefused(7, ticket_judged=False)


async def test_a_channel_the_machine_lacks_is_not_available(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (_, rig):
        _, session = await rig.open_main()
        port = await rig.open(ChannelType.PORT, connection_id=session)
        assert await port.until(LinkRefused) == LinkRefused(9, ticket_judged=False)


async def test_hidden_channels_are_neither_listed_nor_opened(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        policy = Policy(hidden=frozenset({ChannelType.CURSOR}))
        token = rig.gate.allow(machine.target, machine.ticket, "hiding", policy)
        main, session = await rig.open_main(token)
        listed = (await main.until(ChannelsListed)).channels
        assert {kind for kind, _ in listed} == {ChannelType.DISPLAY, ChannelType.INPUTS}
        cursor = await rig.open(ChannelType.CURSOR, connection_id=session, ticket=token)
        assert await cursor.until(LinkRefused) == LinkRefused(7, ticket_judged=False)


async def test_who_only_looks_on_cannot_type(tmp_path: Path) -> None:
    async with standing(hand_over, tmp_path) as (machine, rig):
        looks = rig.gate.allow(machine.target, "", "looks-on", Policy(view_only=True))
        main, session = await rig.open_main(looks)
        inputs = await rig.open(ChannelType.INPUTS, connection_id=session, ticket=looks)
        await inputs.until(Linked)
        await inputs.press(0x1E)
        await inputs.close()
        closed = await rig.gate.heard(ChannelClosed)
        assert (closed.channel, closed.bytes_to_server) == ("inputs.0", 0)
        await main.close()
        await rig.gate.heard(SessionClosed)
        _, session = await rig.open_main()
        inputs = await rig.open(ChannelType.INPUTS, connection_id=session)
        await inputs.until(Linked)
        await inputs.press(0x1E)
        await machine.qemu.says(b"K1\r\n")  # the first key that arrived


async def test_a_wrong_hypervisor_ticket_is_a_plain_failure(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        rig.gate.allow(machine.target, "not-it")
        await assert_cannot_connect(rig)
        closed = await rig.gate.heard(SessionClosed)
        assert (closed.reason, closed.established) == ("backend-ticket", False)


@pytest.mark.parametrize("subject", ["O=Lab,CN=node2", "CN=node1,O=Lab", "CN=node1"])
async def test_a_hypervisor_with_another_subject_is_refused(tmp_path: Path, subject: str) -> None:
    async with (
        tls(tmp_path, subject) as machine,
        proxying(tmp_path) as rig,
    ):
        rig.gate.allow(machine.target, machine.ticket)
        await assert_cannot_connect(rig)
        assert (await rig.gate.heard(SessionClosed)).reason == "backend-untrusted"


async def test_a_hypervisor_of_another_ca_is_refused(tmp_path: Path) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    async with tls(tmp_path) as machine, proxying(tmp_path) as rig:
        assert isinstance(machine.target, TcpTarget)
        target = TcpTarget(
            "127.0.0.1",
            tls_port=machine.target.tls_port,
            ca_pem=other,
            host_subject=machine.target.host_subject,
        )
        rig.gate.allow(target, machine.ticket)
        await assert_cannot_connect(rig)
        assert (await rig.gate.heard(SessionClosed)).reason == "backend-untrusted"


async def test_a_display_that_begins_with_harm_never_reaches_the_machine(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        _, session = await rig.open_main()
        display = await rig.open(ChannelType.DISPLAY, connection_id=session)
        sent = display.client.data_to_send
        display.client.data_to_send = (  # type: ignore[method-assign]
            lambda: sent().replace(b"\x65\0\x0e\0\0\0\1" + bytes(8) + b"\1" + bytes(4),
                                   b"\x65\0\x0e\0\0\0\1" + bytes(8) + b"\1\xff\xff\xff\x7f")
        )  # fmt: skip
        with pytest.raises(ConnectionError):
            await display.until(SurfaceCreated)
        assert (await rig.gate.heard(ConnectionRefused)).reason == "display-init"
        await picture(rig, session)
        assert await machine.qemu.is_alive()


@pytest.mark.parametrize(
    ("kind", "body"),
    [(4, b""), (101, b"\1" + bytes(8) + b"\1" + bytes(4)), (999, b""), (2, b"x")],
    ids=["flush-mark", "second-init", "unknown", "fat-ack"],
)
async def test_a_message_that_kills_ends_the_channel_and_not_the_machine(
    tmp_path: Path, kind: int, body: bytes
) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        display = await picture(rig, session)
        display.client.send(kind, body)
        await display.flush()
        await display.closed()
        closed = await rig.gate.heard(ChannelClosed)
        assert (closed.channel, closed.reason) == ("display.0", "firewall")
        await picture(rig, session)
        await main.close()
        await rig.gate.heard(SessionClosed)
        await assert_a_fresh_viewer_gets_a_picture(machine, rig)


async def test_stopping_the_proxy_leaves_the_machine(tmp_path: Path) -> None:
    async with tcp(tmp_path) as machine:
        async with proxying(tmp_path) as rig:
            rig.gate.allow(machine.target, machine.ticket)
            main, session = await rig.open_main()
            await picture(rig, session)
            # the display of another viewer is in the window at this very moment
            rig.gate.allow(machine.target, machine.ticket, "other")
        assert (await rig.gate.heard(SessionClosed)).reason == "proxy-stopped"
        await main.closed()
        assert await machine.qemu.is_alive()
        await nobody_is_at(machine)


async def test_a_machine_that_dies_ends_the_session(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        display = await picture(rig, session)
        machine.qemu.process.kill()
        await main.closed()
        await display.closed()
        assert (await rig.gate.heard(SessionClosed)).reason in ("backend-closed", "backend-reset")


async def test_another_viewer_on_the_port_of_the_machine_ends_the_session(tmp_path: Path) -> None:
    async with standing(tcp, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        await picture(rig, session)
        rig.gate.allow(machine.target, machine.ticket, "second")
        await rig.open_main("second")
        await main.closed()
        closed = await rig.gate.heard(SessionClosed)
        assert (closed.session, closed.reason) == (f"s-{TOKEN}", "backend-closed")
        assert await machine.qemu.is_alive()


CUTS = ["connected", "requested", "ticket", "init", "surface"]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("cut", CUTS)
@EVERY_BACKEND
async def test_a_display_that_vanishes_at_any_step_leaves_the_machine(
    backend: Backend, cut: str, how: str, tmp_path: Path
) -> None:
    async with standing(backend, tmp_path) as (machine, rig):
        main, session = await rig.open_main()
        display = await rig.open(ChannelType.DISPLAY, connection_id=session)
        await _as_far_as(display, cut)
        if how == "reset":
            display.reset()
            main.reset()
        else:
            await display.close()
            await main.close()
        await rig.gate.heard(SessionClosed)
        await assert_a_fresh_viewer_gets_a_picture(machine, rig)


async def _as_far_as(display: Connection, cut: str) -> None:
    """Play a viewer's part up to a step."""
    client, reader = display.client, display.reader
    if cut == "requested":
        await reader.read(100)
    elif cut in ("ticket", "init"):
        client.receive_data(await reader.readexactly(16 + 178 + 8))
        await display.flush()
        if cut == "init":
            client.receive_data(await reader.readexactly(4))
            await display.flush()
    elif cut == "surface":
        await display.until(SurfaceCreated)


async def test_a_frozen_machine_is_told_within_the_time_out(tmp_path: Path) -> None:
    async with (
        tcp(tmp_path) as machine,
        proxying(tmp_path, limits=Limits(backend_seconds=0.3, close_seconds=0.3)) as rig,
    ):
        machine.qemu.process.send_signal(19)
        try:
            rig.gate.allow(machine.target, machine.ticket)
            await assert_cannot_connect(rig)
            assert (await rig.gate.heard(SessionClosed)).reason == "backend-unreachable"
        finally:
            machine.qemu.process.send_signal(18)
        assert await machine.qemu.is_alive()


async def test_a_port_where_nobody_listens_is_a_plain_failure(tmp_path: Path) -> None:
    async with proxying(tmp_path) as rig:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            rig.gate.allow(TcpTarget("127.0.0.1", port=taken.getsockname()[1]))
            await assert_cannot_connect(rig)
        closed = await rig.gate.heard(SessionClosed)
        assert (closed.reason, closed.established) == ("backend-unreachable", False)
        assert "127.0.0.1" in closed.text


@EVERY_BACKEND
async def test_a_paused_machine_shows_its_last_picture(backend: Backend, tmp_path: Path) -> None:
    async with standing(backend, tmp_path) as (machine, rig):
        await machine.qemu.qmp("stop")
        main, session = await rig.open_main()
        display = await rig.open(ChannelType.DISPLAY, connection_id=session)
        await display.until(SurfaceCreated)
        await display.close()
        await main.close()
        await rig.gate.heard(SessionClosed)
        await machine.qemu.qmp("cont")
        assert await machine.qemu.is_alive()


@EVERY_BACKEND
async def test_main_may_vanish_at_every_step(backend: Backend, tmp_path: Path) -> None:
    async with standing(backend, tmp_path) as (machine, rig):
        said = 16 + 18 + 8 + 132
        for cut in range(0, said + 1, 6):
            token = rig.gate.allow(machine.target, machine.ticket, f"main-{cut}")
            reader, writer = await rig.raw()
            mess = LinkMess(0, ChannelType.MAIN, 0, 0x0B, 0x06).encode()
            writer.write(mess[:cut])
            if cut > len(mess):
                reply = LinkReply.decode((await reader.readexactly(16 + 178 + 8))[16:])
                sealed = b"\1\0\0\0" + seal(token.encode(), reply.public_key)
                writer.write(sealed[: cut - len(mess)])
            await writer.drain()
            Connection(ChannelClient(ChannelType.MAIN, b""), reader, writer).reset()
        await assert_a_fresh_viewer_gets_a_picture(machine, rig)
