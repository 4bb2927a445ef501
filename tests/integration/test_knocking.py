"""What is found where a console is said to be: real servers, and everything but."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from broker.clock import SystemClock
from broker.findings import Mark, Step
from broker.model import Console, Target, TcpTarget, UnixTarget
from broker.runtime import knocking
from broker.runtime.knocking import look_at
from tests.broker.proxy.qemu import PASSWORD
from tests.integration.test_proxy_qemu import tcp, tls, unix


async def found(target: Target, ticket: str | None = PASSWORD) -> list[tuple[str, str, str]]:
    """Name, mark and words of each step."""
    steps: Sequence[Step] = await look_at(Console(target, ticket=ticket), SystemClock())
    return [(step.name, step.finding.mark.value, step.finding.words) for step in steps]


@asynccontextmanager
async def saying(text: bytes) -> AsyncIterator[int]:
    """A server that says this to whoever comes, and holds the line; its port."""
    loop, held = asyncio.get_running_loop(), list[socket.socket]()

    async def serve(listener: socket.socket) -> None:
        while True:
            held.append((await loop.sock_accept(listener))[0])
            await loop.sock_sendall(held[-1], text)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        serving = asyncio.create_task(serve(listener))
        try:
            yield listener.getsockname()[1]
        finally:
            serving.cancel()
            await asyncio.wait([serving])
            for each in held:
                each.close()


async def test_a_port_that_nobody_listens_on_is_said_and_the_other_is_looked_at() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            nobody = taken.getsockname()[1]
            steps = await found(TcpTarget("127.0.0.1", nobody, port, ca_pem=None))
    where = f"The SPICE server at 127.0.0.1:{nobody} cannot be reached (Connection refused)"
    assert steps == [
        (f"port {nobody}", "fail", where),
        (f"TLS port {port}", "ok", "accepts connections"),
        ("certificate", "fail", "It accepts connections, but speaks no TLS on this port"),
    ]


async def test_what_speaks_something_else_is_no_spice_server() -> None:
    async with saying(b"SSH-2.0-OpenSSH_9.2p1 and so on\r\n") as port:
        steps = await found(TcpTarget("127.0.0.1", port))
    assert [step[:2] for step in steps] == [(f"port {port}", "ok"), ("SPICE", "fail")]
    assert "It does not speak SPICE" in steps[-1][2]


async def test_what_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocking, "ANSWER_SECONDS", 0.3)
    async with saying(b"") as port:
        steps = await found(TcpTarget("127.0.0.1", port))
    assert steps[-1][0] == "SPICE"
    assert "says nothing for 0.3 seconds" in steps[-1][2]


async def test_a_socket_that_is_not_there_is_said(tmp_path: Path) -> None:
    steps = await found(UnixTarget(str(tmp_path / "none")))
    assert [step[:2] for step in steps] == [("socket", "fail")]
    assert "No such file" in steps[0][2]


@pytest.mark.qemu
async def test_a_spice_server_is_known_and_its_ticket_tried(tmp_path: Path) -> None:
    async with tcp(tmp_path) as machine:
        for ticket, said in (
            (PASSWORD, "accepted"),
            ("wrong", "it refuses this ticket"),
            ("x" * 60, "it refuses this ticket"),
            (None, "it asks for a ticket"),
        ):
            steps = await found(machine.target, ticket)
            assert [step[0] for step in steps][1:] == ["SPICE", "ticket"]
            assert steps[1] == ("SPICE", "ok", "answers as a SPICE server")
            assert steps[2][2] == said
        assert await machine.qemu.is_alive()


@pytest.mark.qemu
async def test_a_certificate_is_shown_whether_it_is_trusted_or_not(tmp_path: Path) -> None:
    async with tls(tmp_path) as machine:
        target = machine.target
        assert isinstance(target, TcpTarget)
        steps = await found(target)
        assert [step[:2] for step in steps] == [
            (f"TLS port {target.tls_port}", "ok"),
            ("certificate", "ok"),
            ("SPICE", "ok"),
            ("ticket", "ok"),
        ]
        subject = target.host_subject
        assert steps[1][2].startswith(f"verified: {subject}, SHA-256 ")
        fingerprint = steps[1][2].rpartition(" ")[2]
        assert fingerprint.count(":") == 31
        strange = trustme.CA().cert_pem.bytes().decode()
        for other, why in (
            (replace(target, ca_pem=strange), "is not from the console's CA"),
            (replace(target, host_subject="O=Lab,CN=node2"), f"is for {subject}"),
        ):
            steps = await found(other)
            assert [step[1] for step in steps] == ["ok", "fail"]
            assert why in steps[1][2]
            assert steps[1][2].endswith(f"it shows {subject}, SHA-256 {fingerprint}")
        assert await machine.qemu.is_alive()


@pytest.mark.qemu
async def test_a_socket_is_looked_at_too(tmp_path: Path) -> None:
    async with unix(tmp_path) as machine:
        steps = await found(machine.target)
        assert [step[:2] for step in steps] == [
            (name, Mark.OK.value) for name in ("socket", "SPICE", "ticket")
        ]
