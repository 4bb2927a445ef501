"""Reaches a SPICE server, and makes sure that it is the right one.

A TLS leg is held to two things: its chain ends in the console's CA, and its certificate's subject
is the console's `host_subject`, every attribute in order, as viewers do it. Where no subject is
known the certificate must carry the host's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from dataclasses import replace

from broker import pki
from broker.dialing import DialPolicy
from broker.errors import NoConsole
from broker.model import GivenTarget, HandOverTarget, Target, TcpTarget, UnixTarget
from broker.proxy.gate import (
    BackendForbidden,
    BackendTls,
    BackendUnreachable,
    BackendUntrusted,
    Dialed,
    Give,
    HandOver,
)
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.reach import Address, ask_through, connect, first_to_answer, split_proxy
from broker.proxy.tls import StdlibEngine


class TargetDialer:
    """Dials every kind of target.

    Args:
        hand_over: Reaches local VMs that have no listener; None where there are none.
        give: Has the driver of a source hand a channel over; None where there are no drivers.
    """

    def __init__(self, hand_over: HandOver | None = None, give: Give | None = None) -> None:
        self._hand_over = hand_over
        self._give = give

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
                return Dialed(await connect(socket.AF_UNIX, path, path))
            case HandOverTarget(control_path):
                if self._hand_over is None:
                    raise NoConsole("This proxy does not reach VMs of this host")
                return Dialed(await self._hand_over.hand_over(control_path))
            case GivenTarget():
                if self._give is None:
                    raise NoConsole("This proxy does not ask sources to hand channels over")
                return Dialed(await self._give(target))


async def _dial_tcp(target: TcpTarget) -> Dialed:
    port = target.tls_port or target.port
    if port is None:
        raise NoConsole(f"The console on {target.host} has no port")
    tls = (
        BackendTls(pki.backend_context(target.ca_pem), target.host, target.host_subject)
        if target.tls_port
        else None
    )
    if target.proxy is None:
        addresses = await _addresses(target.address or target.host, port, "hypervisor")
        _see_that_it_may_be(addresses, port, target.policy)
        return Dialed(await first_to_answer(addresses, f"{target.host}:{port}"), tls)
    host, proxy_port = split_proxy(target.proxy)
    where = f"{target.host}:{port} behind {host}:{proxy_port}"
    addresses = await _addresses(host, proxy_port, "proxy")
    _see_that_it_may_be(addresses, proxy_port, target.policy)
    sock = await first_to_answer(addresses, where)
    there = f"[{target.host}]:{port}" if ":" in target.host else f"{target.host}:{port}"
    await ask_through(sock, target.tunnel or there, f"{host}:{proxy_port}", shown=there)
    return Dialed(sock, tls)


def _see_that_it_may_be(addresses: list[Address], port: int, policy: DialPolicy | None) -> None:
    """Hold where a source sends us to what may be dialled for it; a name that leads elsewhere too.

    Raises:
        BackendForbidden: One of the addresses may not be.
    """
    for _, address in addresses if policy is not None else ():
        assert policy is not None
        assert isinstance(address, tuple)
        if why := policy.refusal(str(address[0]), port):
            raise BackendForbidden(
                f"The source says that the console is at {address[0]} port {port}: {why}",
                reason="dial-policy",
                fix="If that is right, allow it: `dial_networks` and `dial_ports` of the source in "
                "sources.yaml",
            )


async def _addresses(host: str, port: int, option: str) -> list[Address]:
    if (family := _numeric(host)) is not None:
        return [(family, (host, port))]
    loop = asyncio.get_running_loop()
    try:
        resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise BackendUnreachable(
            f"{host} has no address ({exc.strerror})", fix=f"Check the console's {option}"
        ) from exc
    return [(family, address) for family, _, _, _, address in resolved]


@functools.lru_cache(256)
def _numeric(host: str) -> int | None:
    """The family of an address; None for a name: asking the resolver costs a thread's turn."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return family
    return None


def pinned(target: Target, sock: socket.socket) -> Target:
    """The same target, at the one address that MAIN's connection went to.

    A name may stand for several hosts, and a session belongs to one of them.
    """
    if not isinstance(target, TcpTarget) or target.proxy is not None:
        return target
    with contextlib.suppress(OSError):
        return replace(target, address=str(sock.getpeername()[0]))
    return target


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
            if "expired" in str(exc):
                raise BackendUntrusted(
                    f"The certificate of {tls.host} has expired",
                    fix="Renew it there; until then nobody can tell whether it is the right host",
                ) from exc
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
