"""Walks to the picture of a VM that speaks VNC: to its socket, and round the proxy, to a viewer."""

from __future__ import annotations

from typing import Final

from broker.findings import Finding, broken, fine
from broker.proxy.leg import LegClosed
from broker.runtime.console_path import ConsolePath
from broker.runtime.knocking import DIAL_SECONDS
from broker.within import within

GREETING: Final = b"RFB "
"""What every VNC server says first. Source: RFC 6143, 7.1.1."""
ROUND: Final = "not needed: VNC does not go through the proxy"


class VncPath(ConsolePath):
    """The path to a console that is opened by a door for one viewer."""

    async def server(self) -> Finding:
        """It was started with VNC."""
        return fine("VNC in place of SPICE")

    async def link(self) -> Finding:
        """It greets as a VNC server does; nobody who is at it is disturbed by hanging up then."""
        leg = await self._knock.leg()
        try:
            async with within(DIAL_SECONDS):
                said = await leg.receive(len(GREETING))
        except (TimeoutError, LegClosed):
            said = b""
        finally:
            leg.close()
        if not said.startswith(GREETING[: len(said) or 1]):
            return broken("it does not greet as a VNC server", "Look at the machine's own log")
        return fine("it answers as a VNC server")

    async def ticket(self) -> Finding:
        """Its socket asks for none; the door to it does."""
        return fine("a password is made for each viewer")

    async def proxy(self) -> Finding:
        """None stands on this way."""
        return fine(ROUND)

    async def proxy_certificate(self) -> Finding:
        """None stands on this way."""
        return fine(ROUND)

    async def file(self) -> Finding:
        """It is made when a viewer is started, and names a port that lives for that one."""
        return fine("made by broker open, for one viewer")
