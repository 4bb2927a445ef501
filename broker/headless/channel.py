"""One connection of a session without a window: the protocol's client and the wire it is on."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from broker.errors import BrokerError, Refused, Unreachable
from broker.headless.inbox import Inbox
from broker.spice.client import ChannelClient, Event
from broker.spice.client_link import LinkRefused
from broker.spice.constants import ChannelType, LinkError
from broker.within import within

ANSWER_SECONDS: Final = 10.0
"""How long the other side may take for one answer."""
SET_UP_SECONDS: Final = 5.0
"""How long a display that is given up may take until it can be closed without harm."""
AGAIN: Final = "Try again; what is in the way, says: broker doctor NAME"
T = TypeVar("T")


@dataclass(slots=True)
class Channel:
    """An open connection, or one that is being opened."""

    kind: ChannelType
    number: int
    client: ChannelClient
    wire: Inbox
    early: list[Event] = field(default_factory=list)
    """What came together with an event that was waited for, to be told by the next turn."""

    @property
    def name(self) -> str:
        """As sessions list it: `display.0`."""
        return f"{self.kind.name.lower()}.{self.number}"

    async def flush(self) -> None:
        """Send what waits; raises OSError and ssl.SSLError."""
        if data := self.client.data_to_send():
            self.wire.write(data)
            await self.wire.drain()

    async def turn(self) -> list[Event] | None:
        """Read once; what it completed, or None when the other side has closed.

        Raises:
            Unreachable: The other side broke the protocol.
        """
        if self.early:
            events, self.early = self.early, []
            return events
        try:
            await self.flush()
            data = await self.wire.read()
            if not data:
                return None
            events = self.client.receive_data(data)
            self._check()
            await self.flush()
        except (OSError, ssl.SSLError):
            return None
        return events

    async def follow(self, tell: Callable[[list[Event]], None]) -> None:
        """Tell what is completed, in the moment it is read, until the other side has closed.

        Raises:
            Unreachable: The other side broke the protocol.
        """

        def take(data: memoryview) -> bool:
            events = self.client.receive_data(data)
            if self.client.failure is not None:
                return False
            if said := self.client.data_to_send():
                self.wire.write(said)
            tell(events)
            return True

        early, self.early = self.early, []
        tell(early)
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.flush()
            await self.wire.pour(take)
        self._check()

    def _check(self) -> None:
        if self.client.failure is not None:
            raise Unreachable(f"{self.name}: broke the protocol: {self.client.failure}", fix=AGAIN)


async def flushed(channel: Channel) -> None:
    """Send what waits; raises Unreachable."""
    try:
        await channel.flush()
    except (OSError, ssl.SSLError) as exc:
        raise Unreachable(f"{channel.name}: the connection is gone ({exc})", fix=AGAIN) from exc


async def close(channel: Channel) -> None:
    """Close it once that harms no machine; see `broker.headless.session`."""
    if channel.kind is ChannelType.DISPLAY and channel.client.linked:
        with contextlib.suppress(TimeoutError, Unreachable):
            async with within(SET_UP_SECONDS):
                while not channel.client.acknowledges and await channel.turn() is not None:
                    pass
    await channel.wire.close()


async def wait_for(channel: Channel, kind: type[T]) -> T:
    """The next event of that kind; those before it are passed over."""
    try:
        async with within(ANSWER_SECONDS):
            while True:
                events = await channel.turn()
                if events is None:
                    raise Unreachable(f"{channel.name}: the connection was closed", fix=AGAIN)
                for place, event in enumerate(events):
                    if isinstance(event, LinkRefused):
                        raise _refusal(channel, event)
                    if isinstance(event, kind):
                        channel.early = events[place + 1 :]
                        return event
    except TimeoutError as exc:
        raise Unreachable(
            f"{channel.name}: no answer within {ANSWER_SECONDS:g} seconds", fix=AGAIN
        ) from exc


def _refusal(channel: Channel, event: LinkRefused) -> BrokerError:
    if event.error == LinkError.PERMISSION_DENIED:
        return Refused(
            f"{channel.name}: the password was not taken",
            fix="A .vv file opens one session, and not for long: have it written anew",
        )
    return Refused(f"{channel.name}: the link was refused (error {event.error})", fix=AGAIN)
