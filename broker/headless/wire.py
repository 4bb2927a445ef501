"""Connections for a headless session: by a .vv file, or by a target."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from broker.errors import Unreachable, UsageError
from broker.headless.inbox import Inbox
from broker.model import Target, TcpTarget, UnixTarget
from broker.proxy import private
from broker.proxy.dial import TargetDialer, check_certificate
from broker.proxy.gate import HandOver
from broker.vv import ANEW, VvFile
from broker.within import within

DIAL_SECONDS: Final = 10.0


Dial = Callable[[], Awaitable[Inbox]]
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
        raise UsageError(
            f"This .vv file is for {file.type}, not for SPICE",
            fix="Open it with a viewer: remote-viewer FILE",
        )
    if file.unix_path is not None:
        return UnixTarget(file.unix_path)
    if not file.host or not (file.tls_port or file.port):
        raise UsageError("This .vv file names no host and port", fix=ANEW)
    return TcpTarget(
        file.host, file.port, file.tls_port, ca_pem=file.ca, host_subject=file.host_subject
    )


def dialer(target: Target, hand_over: HandOver | None = None) -> Dial:
    """Connections to a target, TLS up and the certificate checked where it has one."""
    if isinstance(target, TcpTarget):
        target = replace(target, host=_dialable(target.host))
    ways = TargetDialer(hand_over)

    async def dial() -> Inbox:
        try:
            async with within(DIAL_SECONDS):
                return await _dialed(ways, target)
        except TimeoutError as exc:
            raise Unreachable(
                f"It does not answer within {DIAL_SECONDS:g} seconds",
                fix="Check its address and the firewalls between",
            ) from exc

    return dial


def by_door(door: Path, otherwise: Dial) -> Dial:
    """Connections to the proxy of our own user on this host, by its private socket (ADR 18).

    Args:
        door: Where that socket is.
        otherwise: Taken where nobody of us listens there: a proxy of an older version has none.
    """

    async def dial() -> Inbox:
        sock = private.connected(door)
        if sock is None:
            return await otherwise()
        try:
            _, wire = await asyncio.get_running_loop().create_connection(Inbox, sock=sock)
        except BaseException:
            sock.close()
            raise
        return wire

    return dial


async def _dialed(ways: TargetDialer, target: Target) -> Inbox:
    dialed = await ways.dial(target)
    tls = dialed.tls
    if dialed.sock.family != socket.AF_UNIX:
        # asyncio does so only for sockets that were made with the protocol's number
        dialed.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    loop = asyncio.get_running_loop()
    try:
        _, wire = await loop.create_connection(
            Inbox,
            sock=dialed.sock,
            ssl=None if tls is None else tls.context,
            server_hostname=None if tls is None else tls.host,
        )
    except (OSError, ssl.SSLError) as exc:
        dialed.sock.close()
        raise Unreachable(
            f"The connection cannot be made secure ({exc})",
            fix="See what its certificate says: broker doctor NAME",
        ) from exc
    except BaseException:
        dialed.sock.close()
        raise
    try:
        if tls is not None:
            spoken = wire.tls
            check_certificate(tls, spoken.getpeercert(binary_form=True) if spoken else None)
    except BaseException:
        wire.abort()
        raise
    return wire


def _dialable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced, not bound
