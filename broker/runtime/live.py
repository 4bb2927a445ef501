"""A live session as its relay worker remembers it between two writings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime

from broker.latency import Timing, merged
from broker.model import ChannelInfo, Console, Session
from broker.proxy.gate import ChannelClosed, Timed, Traffic

RATE_SECONDS = 0.9
"""The least time that bytes a second are reckoned from; a writing comes once a second."""


@dataclass(slots=True)
class Live:
    """One session: its live channels, and what those that have closed leave."""

    session: Session
    began: float
    """When, by the clock that never jumps."""
    channels: dict[str, ChannelInfo] = field(default_factory=dict)
    console: Console | None = field(default=None, repr=False)
    """Where its screen is, as its source said last."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its source is asked anew."""
    _to_client: int = 0
    _to_server: int = 0
    _timing: Timing = field(default_factory=Timing)
    _rated: tuple[float, int, int] | None = None
    _rates: tuple[float, float] = (0.0, 0.0)

    def opened(self, channel: str, at: datetime) -> None:
        """Bytes flow on a channel."""
        self.channels[channel] = ChannelInfo(channel, at)

    def carried(self, notice: Traffic) -> ChannelInfo | None:
        """A channel carried bytes; the channel as it was before, None when it is not open."""
        before = self.channels.get(notice.channel)
        if before is not None:
            self.channels[notice.channel] = replace(
                before,
                bytes_to_client=notice.bytes_to_client,
                bytes_to_server=notice.bytes_to_server,
            )
        return before

    def timed(self, notice: Timed) -> ChannelInfo | None:
        """A channel's times; the channel as it was before, None when it is not open."""
        before = self.channels.get(notice.channel)
        if before is not None:
            self.channels[notice.channel] = replace(before, timing=notice.timing)
        return before

    def closed(self, notice: ChannelClosed) -> ChannelInfo | None:
        """A channel ended; the channel as it was before, None when it was not open."""
        self._to_client += notice.bytes_to_client
        self._to_server += notice.bytes_to_server
        before = self.channels.pop(notice.channel, None)
        if before is not None:
            self._timing = _together(self._timing, before.timing)
        return before

    def rate(self, now: float) -> bool:
        """Reckon bytes a second anew when it is time; whether they are others than before.

        Args:
            now: Seconds of a clock that never jumps.
        """
        to_client, to_server = self._bytes()
        if self._rated is None:
            self._rated = (now, to_client, to_server)
            return False
        since, client_then, server_then = self._rated
        if (passed := now - since) < RATE_SECONDS:
            return False
        before = self._rates
        self._rates = ((to_client - client_then) / passed, (to_server - server_then) / passed)
        self._rated = (now, to_client, to_server)
        return self._rates != before

    def snapshot(self, *, ended: bool = False) -> Session:
        """The session with what is known of it now."""
        to_client, to_server = self._bytes()
        return replace(
            self.session,
            channels=tuple(self.channels.values()),
            bytes_to_client=to_client,
            bytes_to_server=to_server,
            timing=_together(self._timing, *(each.timing for each in self.channels.values())),
            rate_to_client=0.0 if ended else self._rates[0],
            rate_to_server=0.0 if ended else self._rates[1],
        )

    def _bytes(self) -> tuple[int, int]:
        channels = self.channels.values()
        return (
            self._to_client + sum(each.bytes_to_client for each in channels),
            self._to_server + sum(each.bytes_to_server for each in channels),
        )


def _together(*several: Timing) -> Timing:
    """Everybody's times; connections are a channel's own."""
    return Timing(
        ping=merged(*(each.ping for each in several)),
        draw=merged(*(each.draw for each in several)),
        proxy=merged(*(each.proxy for each in several)),
    )
