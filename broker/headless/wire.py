"""Connections for a headless session: by a .vv file, or by a target."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from broker.errors import Unreachable, UsageError
from broker.model import Target, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer, check_certificate
from broker.proxy.gate import HandOver
from broker.vv import VvFile

DIAL_SECONDS: Final = 10.0
READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection; `tls` is the version spoken, empty on a plain one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: str = ""

    async def close(self) -> None:
        """Close it; what the other side makes of that does not matter."""
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.writer.wait_closed()


Dial = Callable[[], Awaitable[Wire]]
"""Makes one more connection to the same SPICE server.

Raises:
    Unreachable: It does not answer, or is not the one it should be.
"""


def target_of(file: VvFile) -> Target:
    """Where a .vv file leads.

    Raises:
        UsageError: It is for another protocol, or names no port.
    """
    if file.type != "spice":
        raise UsageError(f"This .vv file is for {file.type}, not for SPICE")
    if file.unix_path is not None:
        return UnixTarget(file.unix_path)
    if not file.host or not (file.tls_port or file.port):
        raise UsageError("This .vv file names no host and port")
    return TcpTarget(
        file.host, file.port, file.tls_port, ca_pem=file.ca, host_subject=file.host_subject
    )


def dialer(target: Target, hand_over: HandOver | None = None) -> Dial:
    """Connections to a target, TLS up and the certificate checked where it has one."""
    if isinstance(target, TcpTarget):
        target = replace(target, host=_dialable(target.host))
    ways = TargetDialer(hand_over)

    async def dial() -> Wire:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await _dialed(ways, target)
        except TimeoutError as exc:
            raise Unreachable(
                f"It does not answer within {DIAL_SECONDS:g} seconds",
                fix="Check its address and the firewalls between",
            ) from exc

    return dial


async def _dialed(ways: TargetDialer, target: Target) -> Wire:
    dialed = await ways.dial(target)
    tls = dialed.tls
    if dialed.sock.family != socket.AF_UNIX:
        # asyncio does so only for sockets that were made with the protocol's number
        dialed.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if tls is None:
            return Wire(*await asyncio.open_connection(sock=dialed.sock, limit=READ_BYTES))
        reader, writer = await asyncio.open_connection(
            sock=dialed.sock, limit=READ_BYTES, ssl=tls.context, server_hostname=tls.host
        )
    except (OSError, ssl.SSLError) as exc:
        dialed.sock.close()
        raise Unreachable(f"The connection cannot be made secure ({exc})") from exc
    except BaseException:
        dialed.sock.close()
        raise
    wire: ssl.SSLObject = writer.get_extra_info("ssl_object")
    try:
        check_certificate(tls, wire.getpeercert(binary_form=True))
    except BaseException:
        writer.close()
        raise
    return Wire(reader, writer, wire.version() or "")


def _dialable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced, not bound
