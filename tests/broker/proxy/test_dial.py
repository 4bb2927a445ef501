"""Reaching a server, and only the right one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from broker import pki
from broker.errors import ConfigError, NoConsole
from broker.model import HandOverTarget, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer, check_certificate, secured
from broker.proxy.gate import BackendTls, BackendUnreachable, BackendUntrusted, Dialed
from tests.broker.proxy.rig import listening
from tests.streams import serving


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


async def test_dials_tcp() -> None:
    with listening() as server:
        dialed = await TargetDialer().dial(TcpTarget("localhost", server.getsockname()[1]))
        with dialed.sock:
            assert not dialed.sock.getblocking()
            assert dialed.tls is None


async def test_dials_a_unix_socket(broker_home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(broker_home / "s"))
        server.listen()
        (await TargetDialer().dial(UnixTarget(str(broker_home / "s")))).sock.close()


async def test_a_local_vm_hands_over() -> None:
    class Hands:
        async def hand_over(self, control_path: str) -> socket.socket:
            assert control_path == "/run/ctl.sock"
            return ours

    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert await TargetDialer(Hands()).dial(HandOverTarget("/run/ctl.sock")) == Dialed(ours)


@pytest.mark.parametrize(
    "target", [HandOverTarget("/run/ctl.sock"), TcpTarget("localhost")], ids=["local", "no-port"]
)
async def test_some_consoles_cannot_be_dialled(target: HandOverTarget | TcpTarget) -> None:
    with pytest.raises(NoConsole):
        await TargetDialer().dial(target)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (UnixTarget("/nonexistent/s"), "/nonexistent/s cannot be reached"),
        (TcpTarget("127.0.0.1", 1), "127.0.0.1:1 cannot be reached"),
        (TcpTarget("name.invalid", 1), "name.invalid has no address"),
    ],
    ids=["unix", "tcp", "name"],
)
async def test_what_cannot_be_reached_is_named(target: UnixTarget | TcpTarget, said: str) -> None:
    with pytest.raises(BackendUnreachable, match=said):
        await TargetDialer().dial(target)


async def test_a_ca_that_is_none_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError):
        await TargetDialer().dial(TcpTarget("127.0.0.1", tls_port=1, ca_pem="nonsense"))


async def connect_tls(ca: trustme.CA, trusted: trustme.CA, host: str, subject: str | None) -> None:
    """Dial a TLS server whose certificate `ca` signed."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("node1.lab", organization_name="Lab", common_name="node1").configure_cert(
        server_tls
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(serve, tls=server_tls) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        context = pki.backend_context(trusted.cert_pem.bytes().decode())
        leg = await secured(Dialed(sock, BackendTls(context, host, subject)))
        await leg.finish(2.0)


async def test_a_certificate_for_the_host_will_do_where_no_subject_is_known(
    ca: trustme.CA,
) -> None:
    await connect_tls(ca, ca, "node1.lab", None)


async def test_a_certificate_for_another_host_will_not(ca: trustme.CA) -> None:
    with pytest.raises(BackendUntrusted, match="another host"):
        await connect_tls(ca, ca, "node2.lab", None)


async def test_a_certificate_with_another_subject_will_not(ca: trustme.CA) -> None:
    with pytest.raises(BackendUntrusted, match="expected O=Lab,CN=node2"):
        await connect_tls(ca, ca, "node1.lab", "O=Lab,CN=node2")


async def test_a_certificate_of_another_ca_will_not(ca: trustme.CA) -> None:
    with pytest.raises(BackendUntrusted, match="not from the console's CA"):
        await connect_tls(ca, trustme.CA(), "node1.lab", None)


async def test_a_server_without_tls_is_unreachable(ca: trustme.CA) -> None:
    with listening() as server:
        sock = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        with other:
            other.sendall(b"REDQ and so on, no TLS at all")
            context = pki.backend_context(ca.cert_pem.bytes().decode())
            with pytest.raises(BackendUnreachable, match="does not speak TLS"):
                await secured(Dialed(sock, BackendTls(context, "localhost")))


def test_no_certificate_is_no_machine() -> None:
    tls = BackendTls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "node1.lab")
    with pytest.raises(BackendUntrusted, match="no certificate"):
        check_certificate(tls, None)
