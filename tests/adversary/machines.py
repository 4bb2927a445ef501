"""What is attacked: a demo guest with every kind of channel, and every way a proxy reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.relay import kerbside
from broker import pki
from broker.model import HandOverTarget, Target, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import Policy
from broker.proxy.limits import Limits
from broker.spice.client import ChannelClient, MessageReceived, SurfaceCreated
from broker.spice.constants import ChannelType, Display
from broker.vm.handover import hand_over
from tests.adversary.link import Direct, Through, Way, assault, plain_relay
from tests.broker.proxy.qemu import PASSWORD, Qemu, free_port, running_qemu
from tests.broker.proxy.rig import Connection, Rig, proxying

KINDS = ("hand-over", "tcp", "tls", "unix")
"""How the proxy reaches a machine."""
PRIVATE = {"private": "hand-over", "private-tls": "tls"}
"""How it does for viewers that come by its private socket (ADR 18), as our own do."""
WAYS = (*KINDS, *PRIVATE)
"""Every way through us."""
OTHERS = ("relay", "kerbside")
"""What else can stand in front of one: a relay that looks at nothing, and kerbside's proxy."""
OUT = Path(__file__).parents[2] / "bench" / "out" / "relay"
"""Where the bench of the relay has kerbside's."""
ANSWER_SECONDS = 20.0
"""The longest that QEMU may take to answer its monitor; a frozen one takes thirty."""

SECRET = ("-object", f"secret,id=pw,data={PASSWORD}")
CHANNELS = (
    *("-device", "usb-tablet"),
    *("-chardev", "spicevmc,id=usb,name=usbredir", "-device", "usb-redir,chardev=usb,bootindex=0"),
    # a serial port opens its chardev at once: an agent, a port and a folder without a driver
    *("-chardev", "spicevmc,id=agent,name=vdagent", "-device", "isa-serial,chardev=agent"),
    *("-chardev", "spiceport,id=port,name=org.example.0", "-device", "isa-serial,chardev=port"),
    *("-chardev", "spiceport,id=dav,name=org.spice-space.webdav.0"),
    *("-device", "isa-serial,chardev=dav"),
    *("-audiodev", "spice,id=sound", "-device", "intel-hda"),
    *("-device", "hda-duplex,audiodev=sound"),
)


@dataclass
class Machine:
    """A QEMU, and how a proxy gets to it."""

    qemu: Qemu
    target: Target
    ticket: str = PASSWORD
    port: int = 0
    """Its own SPICE port, for an adversary without a proxy between."""
    slowest: float = 0.0
    """The longest that it took to answer so far, in seconds."""

    async def harm(self) -> str:
        """What became of it; empty while it answers in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.qemu.qmp("query-status")
                self.slowest = max(self.slowest, loop.time() - began)
                return ""
        except TimeoutError:
            if self.qemu.process.returncode is None:
                return f"froze for more than {ANSWER_SECONDS:g} s"
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass  # it went while we asked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):  # a dead process is told when its core is written
                await self.qemu.process.wait()
        code = self.qemu.process.returncode
        return "its monitor is silent" if code is None else f"died of signal {-code}"


@contextlib.asynccontextmanager
async def machine(
    kind: str, directory: Path, *more: str, controller: str = "qemu-xhci"
) -> AsyncIterator[Machine]:
    """A machine with every channel, reached in one of the ways of `KINDS`.

    Args:
        controller: What its USB devices are plugged into.
    """
    port = free_port()
    match kind:
        case "tcp":
            spice = f"addr=127.0.0.1,port={port},password-secret=pw"
            target: Target = TcpTarget("127.0.0.1", port=port)
        case "tls":
            spice = f"addr=127.0.0.1,tls-port={port},x509-dir={directory},password-secret=pw"
            ca_pem, subject = _certified(directory)
            target = TcpTarget("127.0.0.1", tls_port=port, ca_pem=ca_pem, host_subject=subject)
        case "unix":
            spice = f"unix=on,addr={directory}/s,password-secret=pw"
            target = UnixTarget(f"{directory}/s")
        case _:
            spice, target = "agent-mouse=on", HandOverTarget("")
    usb = ("-device", controller)
    async with running_qemu(spice, *SECRET, *usb, *CHANNELS, *more) as qemu:
        if kind == "hand-over":
            yield Machine(qemu, HandOverTarget(f"{qemu.directory}/ctl"), "")
        else:
            yield Machine(qemu, target, PASSWORD, port)


def _certified(directory: Path) -> tuple[str, str]:
    """QEMU's x509 directory; the CA and the subject to expect."""
    ca = trustme.CA()
    leaf = ca.issue_cert("node1.lab", organization_name="Lab", common_name="node1")
    ca.cert_pem.write_to_path(str(directory / "ca-cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "server-key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "server-cert.pem"))
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    subject = pki.subject_of(certificate.public_bytes(Encoding.DER))
    return ca.cert_pem.bytes().decode(), subject


class Ours:
    """The real hand-over, as the relay worker has it."""

    async def hand_over(self, control_path: str) -> socket.socket:
        return await hand_over(control_path)


class Field(Protocol):
    """A machine, and how viewers come to it."""

    machine: Machine

    def way(self) -> Way:
        """For one more viewer."""
        ...

    def is_quiet(self) -> bool:
        """Whether nothing is left of the viewers that came."""
        ...


@dataclass
class Bare:
    """A machine with nothing in front, or something that is not ours."""

    machine: Machine
    port: int
    tls: bool = False

    def way(self) -> Way:
        return Direct(self.port, self.machine.ticket, self.tls)

    def is_quiet(self) -> bool:
        return True


@dataclass
class Guarded:
    """A machine behind a proxy, with a token for whoever asks."""

    machine: Machine
    rig: Rig
    policy: Policy = field(default_factory=Policy)
    """How everybody's link is held."""
    _tokens: itertools.count[int] = field(default_factory=itertools.count)

    def way(self) -> Way:
        token = self.rig.gate.allow(
            self.machine.target,
            self.machine.ticket,
            f"adversary{next(self._tokens)}",
            self.policy,
        )
        return Through(self.rig, token, self.way)

    def is_quiet(self) -> bool:
        return not self.rig.proxy.connection_count


@contextlib.asynccontextmanager
async def kerbside_proxy(made: Machine, directory: Path) -> AsyncIterator[Bare]:
    """kerbside's proxy in front of a machine, fetched when it is not here yet.

    Raises:
        NotToBeHad: It cannot be fetched.
    """
    home = await asyncio.to_thread(kerbside.fetch, OUT)
    proxy = kerbside.proxy(made.port, directory, home, ticket=made.ticket)
    contender = await asyncio.to_thread(proxy.__enter__)
    try:
        yield Bare(made, contender.port, tls=True)
    finally:
        await asyncio.to_thread(proxy.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def field_of(
    how: str,
    directory: Path,
    *more: str,
    policy: Policy | None = None,
    warns: bool = False,
    controller: str = "qemu-xhci",
) -> AsyncIterator[Field]:
    """A machine: `bare`, behind something in `OTHERS`, or behind us in one of `WAYS`."""
    if how == "kerbside":
        async with (
            machine("tcp", directory, *more, controller=controller) as made,
            kerbside_proxy(made, directory) as there,
        ):
            yield there
        return
    if how not in WAYS:
        async with (
            machine("tcp", directory, *more, controller=controller) as made,
            plain_relay(made.port) as port,
        ):
            yield Bare(made, made.port if how == "bare" else port)
        return
    kind = PRIVATE.get(how, how)
    async with machine(kind, directory, *more, controller=controller) as made:
        limits = Limits(half_open_per_address=200, close_seconds=2.0, firewall_warns=warns)
        async with proxying(directory, dialer=TargetDialer(Ours()), limits=limits) as rig:
            rig.by_private = how in PRIVATE
            yield Guarded(made, rig, policy or Policy())


async def sees_a_picture(way: Way) -> None:
    """A fresh viewer gets one.

    Raises:
        Exception: It does not, for whatever reason.
    """
    async with assault(way) as honest:
        _, session = await honest.main()
        link = await honest.connect()
        client = ChannelClient(ChannelType.DISPLAY, way.ticket.encode(), connection_id=session)
        display = Connection(client, link.reader, link.writer)
        await display.flush()
        await display.until(SurfaceCreated)
        await display.until(MessageReceived, lambda event: event.type == Display.DRAW_COPY)
