"""Walks from a console's name to its picture for `broker doctor NAME`, harming nothing on the way.

Nobody is thrown off the screen, and no VM is put at risk: see `knocking`.
"""

from __future__ import annotations

import asyncio
from shlex import quote
from typing import TYPE_CHECKING

from broker import vv
from broker.driver import AskedEachTime, Driver, ForOneViewer, SelfExamining
from broker.errors import BrokerError, NoConsole, ViewerMissing
from broker.findings import Finding, broken, fine, odd
from broker.model import GivenTarget, HandOverTarget, Health, Protocol, State, TcpTarget, UnixTarget
from broker.proxy.dial import TargetDialer, secured
from broker.proxy.gate import Dialed
from broker.runtime.knocking import DIAL_SECONDS, Knock
from broker.service.naming import unmistakable
from broker.service.port import ConsoleInfo, ExportRequest
from broker.service.viewer import find_viewer, from_elsewhere, has_display
from broker.spice.constants import ChannelType
from broker.within import within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.service.consoles import Certificate
    from broker.service.port import Service

NOT_HERE = "not of this host, so not looked at"


class ConsolePath:
    """The path to one console.

    Args:
        driver: Of its source.
        viewer: The setting `viewer.command`.
        certificate: What our .vv files say of our proxy's certificate; blocks.
    """

    def __init__(
        self,
        service: Service,
        info: ConsoleInfo,
        driver: Driver,
        *,
        viewer: Sequence[str] | None,
        certificate: Callable[[], Certificate],
    ) -> None:
        self._service = service
        self._info = info
        self._machine = info.machine
        self._driver = driver
        self._viewer = viewer
        self._certificate = certificate
        self._proxy_shows: Finding | None = None

    async def known(self) -> Finding:
        """The name is that of one console."""
        return fine(f"{self._machine.full_name}, {self._machine.key.uuid}")

    async def source(self) -> Finding:
        """Its source was read without an error."""
        name = self._machine.key.source
        for status in await self._service.sources():
            if status.name == name and status.health is Health.FAILED:
                return odd(f"{name}: {status.problem}; what was known before is used", status.fix)
            if status.name == name and status.warnings:
                return odd(f"{name}: {'; '.join(status.warnings)}", "See: broker sources")
        if self._info.stale:
            return odd(f"{name} does not show it any more", "See: broker sources --refresh")
        return fine(f"{name} is fine")

    async def screen(self) -> Finding:
        """The machine runs and has a screen."""
        machine = self._machine
        if machine.protocol is Protocol.NONE:
            why = machine.reason if machine.adopted else ""
            return broken(
                why or "it has no graphical console",
                "Start it with: -spice and -qmp unix:PATH,server=on,wait=off"
                if machine.adopted
                else "Give the machine a SPICE display",
            )
        if machine.state in (State.STOPPED, State.SHUTDOWN, State.CRASHED):
            called = quote(await unmistakable(self._service, machine))
            fix = f"Start it: broker vm start {called}" if machine.defined else "Start it"
            return broken(f"the machine is {machine.state.value}", fix)
        if machine.protocol is Protocol.VNC and not isinstance(self._driver, ForOneViewer):
            return broken("it speaks VNC, which the proxy does not", "Give it a SPICE display")
        match machine.target:
            case TcpTarget() as target:
                return fine(f"{machine.state.value}, at {target.host}:{_port(target)}")
            case UnixTarget(path):
                return fine(f"{machine.state.value}, at {path}")
            case HandOverTarget():
                return fine(f"{machine.state.value}, handed over by QEMU")
            case GivenTarget(source):
                return fine(f"{machine.state.value}, handed over by {source}")
            case None:
                return odd("its source tells where it is only to a viewer", "Nothing to do")

    async def process(self) -> Finding:
        """Its QEMU lives, where it is of this host."""
        if not isinstance(self._driver, SelfExamining):
            return fine(NOT_HERE)
        return await self._driver.examine_process(self._machine.key.uuid)

    async def monitor(self) -> Finding:
        """Its monitor answers."""
        if not isinstance(self._driver, SelfExamining):
            return fine(NOT_HERE)
        return await self._driver.examine_monitor(self._machine.key.uuid)

    async def server(self) -> Finding:
        """Its SPICE server is on."""
        if not isinstance(self._driver, SelfExamining):
            return fine(NOT_HERE)
        return await self._driver.examine_server(self._machine.key.uuid)

    async def reach(self) -> Finding:
        """Something accepts a connection there."""
        if self._machine.target is None:
            return odd("cannot be tried from here", "Open it: a viewer tells more")
        await self._knock.reach()
        return fine("accepted")

    async def certificate(self) -> Finding:
        """It is the right machine, where TLS is spoken."""
        target = self._machine.target
        if not isinstance(target, TcpTarget) or not target.tls_port:
            return fine("no TLS on this leg, so none to check")
        (await self._knock.leg()).close()
        return fine(f"verified{f': {target.host_subject}' if target.host_subject else ''}")

    async def link(self) -> Finding:
        """It speaks SPICE."""
        if self._machine.target is None:
            return odd("cannot be tried from here", "Open it: a viewer tells more")
        leg, _, _ = await self._knock.offered(ChannelType.MAIN)
        leg.close()
        return fine("it answers as a SPICE server")

    async def ticket(self) -> Finding:
        """It takes our ticket."""
        target = self._machine.target
        if target is None or isinstance(target, HandOverTarget):
            return fine("none is needed" if target else "it is asked of the source by the proxy")
        driver = self._driver
        if isinstance(driver, AskedEachTime) and self._machine.key.uuid in driver.asked_each_time():
            return fine("a new one is set by the monitor for each session")
        try:
            direct = await self._service.export_vv(self._machine.key, ExportRequest(direct=True))
        except NoConsole:
            return odd("it is asked of the source by the proxy", "Open it: a viewer tells more")
        if not await self._knock.takes(vv.parse(direct.text).password):
            return broken(
                "the SPICE server refuses our ticket",
                f"Correct `ticket` of {self._machine.name} in its source, or set it anew in QEMU",
            )
        return fine("accepted")

    async def proxy(self) -> Finding:
        """A proxy serves."""
        status = await self._service.proxy_status()
        if not status.serving:
            return odd("no proxy is serving", "Start one: broker serve (broker open hosts its own)")
        ours = await asyncio.to_thread(self._certificate)
        target = TcpTarget(
            _dialable(status.host),
            tls_port=status.tls_port,
            ca_pem=ours.ca_pem,
            host_subject=ours.host_subject,
        )
        try:
            async with within(DIAL_SECONDS):
                dialed = await TargetDialer().dial(target)
        except (BrokerError, TimeoutError) as exc:
            why = exc.what if isinstance(exc, BrokerError) else "it does not accept a connection"
            return broken(
                f"the proxy at {status.host}:{status.tls_port} does not answer: {why}",
                "Look at: broker status, and at proxy.public_host",
            )
        self._proxy_shows = await _shown(dialed, target)
        return fine(f"serving on {status.host}:{status.tls_port}")

    async def proxy_certificate(self) -> Finding:
        """It shows the certificate that .vv files name.

        It did so to the step before: each knock is one more line in the proxy's audit log.
        """
        if self._proxy_shows is not None:
            return self._proxy_shows
        ours = await asyncio.to_thread(self._certificate)
        return fine(f"{ours.host_subject}, once a proxy serves")

    async def file(self) -> Finding:
        """A .vv file can be made, and read again."""
        made = await self._service.export_vv(self._machine.key, ExportRequest(draft=True))
        parsed = vv.parse(made.text)
        if not (parsed.host and parsed.tls_port and parsed.password and parsed.ca):
            return broken("it lacks its host, port, token or CA", "Look at: broker config show")
        return fine(f"names {parsed.host}:{parsed.tls_port}")

    async def viewer(self) -> Finding:
        """A viewer can be shown here."""
        called = await unmistakable(self._service, self._machine)
        elsewhere = from_elsewhere(called, self._machine.protocol)
        try:
            found = find_viewer(self._viewer)
        except ViewerMissing as exc:
            return odd(exc.what, f"{exc.fix}. {elsewhere}")
        if not has_display():
            return odd("there is no display here", elsewhere)
        return fine(found[0])

    # -- the connection

    @property
    def _knock(self) -> Knock:
        assert self._machine.target is not None
        return Knock(self._machine.target)


async def _shown(dialed: Dialed, target: TcpTarget) -> Finding:
    """Whether our proxy is at the other end, by its certificate; closes the connection."""
    try:
        async with within(DIAL_SECONDS):
            (await secured(dialed)).close()
    except (BrokerError, TimeoutError) as exc:
        why = exc.what if isinstance(exc, BrokerError) else "it says nothing"
        return broken(
            f"what answers at {target.host}:{target.tls_port} is not our proxy: {why}",
            "Start it anew, which renews its certificate: broker serve",
        )
    return fine(target.host_subject or "")


def _port(target: TcpTarget) -> int | None:
    return target.tls_port or target.port


def _dialable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced, not bound
