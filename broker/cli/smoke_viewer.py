"""A viewer without a window for `broker smoke`: the sans-IO client on real TLS connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TypeVar

from broker import pki
from broker.errors import BrokerError, Refused, Unreachable
from broker.spice.client import (
    ChannelClient,
    ChannelsListed,
    Drawn,
    Linked,
    MainReady,
    SurfaceCreated,
)
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType
from broker.spice.pixels import Pixels
from broker.spice.screen import Screen
from broker.vv import VvFile

ANSWER_SECONDS = 10.0
"""How long the other side may take for one answer."""
SETTLE_SECONDS = 0.15
"""Five of the 30 ms between a server's looks at what has changed."""

_READ_BYTES = 65536
T = TypeVar("T")


class Channel:
    """One open channel; it answers pings while it waits for something."""

    def __init__(
        self, client: ChannelClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._client = client
        self._reader = reader
        self._writer = writer
        self._events: list[object] = []

    async def wait_for(self, kind: type[T]) -> T:
        """The next event of that kind; others are passed over.

        Raises:
            Refused: The link was refused.
            Unreachable: It closed, broke the protocol, or kept silent for too long.
        """
        name = self._client.channel_type.name.lower()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    while self._events:
                        event = self._events.pop(0)
                        if isinstance(event, kind):
                            return event
                        if isinstance(event, LinkRefused):
                            raise Refused(f"{name}: the link was refused (error {event.error})")
                    if not await self._turn():
                        raise Unreachable(f"{name}: the connection was closed")
        except TimeoutError as exc:
            raise Unreachable(
                f"{name}: no {kind.__name__} within {ANSWER_SECONDS:g} seconds"
            ) from exc

    async def press(self, code: int) -> None:
        """Press and release a key."""
        self._client.press(code)
        await self._flush()

    async def settle(self) -> None:
        """Take what comes until nothing has come for a moment: a picture arrives in parts."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS) as limit:
                while await self._turn():
                    limit.reschedule(asyncio.get_running_loop().time() + SETTLE_SECONDS)

    async def until_closed(self) -> None:
        """Take what comes until the other side closes.

        Raises:
            Unreachable: It did not close in time.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while await self._turn():
                    self._events.clear()
        except TimeoutError as exc:
            raise Unreachable("The connection was not closed") from exc

    def close(self) -> None:
        """Close our side."""
        self._writer.close()

    async def _turn(self) -> bool:
        """Read once; False when the other side has closed."""
        await self._flush()
        try:
            data = await self._reader.read(_READ_BYTES)
        except (OSError, ssl.SSLError):
            return False
        self._events += self._client.receive_data(data)
        if self._client.failure is not None:
            raise BrokerError(f"The other side broke the protocol: {self._client.failure}")
        await self._flush()
        return bool(data)

    async def _flush(self) -> None:
        if data := self._client.data_to_send():
            self._writer.write(data)
            with contextlib.suppress(OSError):
                await self._writer.drain()


class Viewer:
    """A session, as a person's viewer has it from a .vv file."""

    def __init__(self, file: VvFile) -> None:
        self._file = file
        self._session = 0
        self._display: Channel | None = None
        self._screen = Screen()
        self.channels: list[Channel] = []
        self.tls = ""

    async def open_main(self) -> tuple[tuple[int, int], ...]:
        """Open the session; the channels it may have.

        Raises:
            Refused: The token was not taken.
            Unreachable: Nobody answers, or it is not the proxy that the file names.
        """
        main = await self._open(ChannelType.MAIN)
        self._session = (await main.wait_for(MainReady)).init.session_id
        return (await main.wait_for(ChannelsListed)).channels

    async def open_display(self) -> SurfaceCreated:
        """Open the screen; its surface."""
        self._display = await self._open(ChannelType.DISPLAY, self._screen)
        return await self._display.wait_for(SurfaceCreated)

    async def picture(self, other_than: Pixels | None = None) -> Pixels:
        """What is on the screen, once something is, and something else than before.

        Raises:
            Unreachable: Nothing is drawn, or nothing that changes the picture.
        """
        assert self._display is not None
        while True:
            await self._display.settle()
            seen = self._screen.picture()
            if seen is not None and any(seen.data) and seen != other_than:
                return seen
            await self._display.wait_for(Drawn)

    @property
    def undrawn(self) -> str:
        """What of the drawing this client cannot do, in words; empty when the picture is whole."""
        return ", ".join(f"{name} x{count}" for name, count in self._screen.undrawn.items())

    async def open_inputs(self) -> Channel:
        """Open the keyboard."""
        inputs = await self._open(ChannelType.INPUTS)
        await inputs.wait_for(Linked)
        return inputs

    def close(self) -> None:
        """Close all channels, MAIN first."""
        for channel in self.channels:
            channel.close()

    async def _open(self, kind: ChannelType, screen: Screen | None = None) -> Channel:
        file = self._file
        context = ssl.create_default_context(cadata=file.ca)
        context.check_hostname = False  # SPICE certificates are held to their subject, below
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(
                    file.host, file.tls_port, ssl=context
                )
        except (OSError, TimeoutError) as exc:
            raise Unreachable(f"{file.host}:{file.tls_port} cannot be reached ({exc})") from exc
        wire: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = wire.getpeercert(binary_form=True)
        if certificate is None or not pki.subject_matches(certificate, file.host_subject or ""):
            writer.close()
            raise Unreachable(f"The proxy's certificate is not for {file.host_subject}")
        self.tls = wire.version() or ""
        client = ChannelClient(
            kind, file.password.encode(), connection_id=self._session, screen=screen
        )
        channel = Channel(client, reader, writer)
        self.channels.append(channel)
        return channel
