"""Reaches a SPICE server, and makes sure that it is the right one.

A TLS leg is held to two things: its chain ends in the console's CA, and its certificate's subject
is the console's `host_subject`, every attribute in order, as viewers do it. Where no subject is
known the certificate must carry the host's name.
"""

from __future__ import annotations

import asyncio
import os
import socket

from broker import pki
from broker.errors import NoConsole
from broker.model import HandOverTarget, Target, TcpTarget, UnixTarget
from broker.proxy.gate import (
    BackendTls,
    BackendUnreachable,
    BackendUntrusted,
    Dialed,
    HandOver,
)
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.tls import StdlibEngine


class TargetDialer:
    """Dials every kind of target.

    Args:
        hand_over: Reaches local VMs that have no listener; None where there are none.
    """

    def __init__(self, hand_over: HandOver | None = None) -> None:
        self._hand_over = hand_over

    async def dial(self, target: Target) -> Dialed:
        """Connect; the caller sets the time-out.

        Raises:
            Unreachable: It does not answer.
            NoConsole: The machine is off, or nobody here can reach it.
            ConfigError: Its CA is no certificate.
        """
        match target:
            case TcpTarget():
                return await _dial_tcp(target)
            case UnixTarget(path):
                return Dialed(await _connect(socket.AF_UNIX, path, path))
            case HandOverTarget(control_path):
                if self._hand_over is None:
                    raise NoConsole("This proxy does not reach VMs of this host")
                return Dialed(await self._hand_over.hand_over(control_path))


async def _dial_tcp(target: TcpTarget) -> Dialed:
    port = target.tls_port or target.port
    if port is None:
        raise NoConsole(f"The console on {target.host} has no port")
    where = f"{target.host}:{port}"
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise BackendUnreachable(
            f"{target.host} has no address ({exc.strerror})", fix="Check the console's hypervisor"
        ) from exc
    tls = (
        BackendTls(pki.backend_context(target.ca_pem), target.host, target.host_subject)
        if target.tls_port
        else None
    )
    failure: BackendUnreachable | None = None
    for family, _, _, _, address in addresses:
        try:
            return Dialed(await _connect(family, address, where), tls)
        except BackendUnreachable as exc:
            failure = exc
    raise failure or BackendUnreachable(f"{target.host} has no address")


async def _connect(family: int, address: object, where: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]  # as getaddrinfo gave it, or a path
    except OSError as exc:
        sock.close()
        # asyncio puts the address where the kernel's words belong
        words = os.strerror(exc.errno) if exc.errno else str(exc)
        raise BackendUnreachable(
            f"The SPICE server at {where} cannot be reached ({words})",
            fix="Check that the machine runs and that its console's address is right",
        ) from exc
    except BaseException:
        sock.close()
        raise
    return sock


async def secured(dialed: Dialed) -> Leg:
    """A leg on that socket, TLS up and the certificate checked where TLS is asked for.

    Takes the socket over: it is closed when this fails.

    Raises:
        BackendUnreachable: The server is gone, or speaks no TLS.
        BackendUntrusted: Its certificate is not the one expected.
    """
    tls = dialed.tls
    if tls is None:
        return Leg(dialed.sock)
    engine = StdlibEngine(tls.context, server_side=False, server_hostname=tls.host)
    leg = Leg(dialed.sock, engine)
    try:
        await leg.handshake()
        check_certificate(tls, engine.peer_certificate())
    except LegClosed as exc:
        leg.close()
        if exc.reason == "tls" and "CERTIFICATE" in str(exc).upper():
            raise BackendUntrusted(
                f"The certificate of {tls.host} is not from the console's CA ({exc})",
                fix="Set the console's ca_cert to the CA that signed it",
            ) from exc
        raise BackendUnreachable(f"{tls.host} does not speak TLS on this port ({exc})") from exc
    except BaseException:
        leg.close()
        raise
    return leg


def check_certificate(tls: BackendTls, certificate: bytes | None) -> None:
    """Whether it is the machine we want.

    Raises:
        BackendUntrusted: It is another one.
    """
    if certificate is None:
        raise BackendUntrusted(f"{tls.host} showed no certificate")
    if tls.host_subject is None:
        if not pki.name_matches(certificate, tls.host):
            raise BackendUntrusted(
                f"The certificate of {tls.host} is for another host",
                fix="Set the console's host_subject to the subject of its certificate",
            )
    elif not pki.subject_matches(certificate, tls.host_subject):
        raise BackendUntrusted(
            f"The certificate of {tls.host} is for {pki.subject_of(certificate)}, "
            f"expected {tls.host_subject}",
            fix="Set the console's host_subject to the subject of its certificate",
        )
