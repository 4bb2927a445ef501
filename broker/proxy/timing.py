"""Takes the times of one channel while it is relayed, without touching what passes.

The inspectors tell of the few messages that matter (`spice.latency`); a run of a pump is timed
about once a second, when the traffic report asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from broker.latency import Counts, Timing, bucket_of
from broker.model import SessionId
from broker.proxy.gate import Timed
from broker.proxy.kernel import tcp_of
from broker.proxy.relay import Relay
from broker.proxy.session import Session
from broker.spice.constants import Base, ClientBase
from broker.spice.latency import (
    DRAWINGS,
    PINGS,
    PONGS,
    PRESSES,
    AnswerTimer,
    PingTimer,
    is_press,
)

PRESS_SECONDS = 0.02
"""Between two presses of one channel that are told on: nobody types faster, but a viewer may send
faster, and other workers are told too."""


class ChannelTimes:
    """One channel's histograms."""

    __slots__ = ("_answer", "_draw", "_now", "_ping", "_pings", "_pressed_at", "_proxy",
                 "_relay", "_session", "_told")  # fmt: skip

    def __init__(self, relay: Relay, session: Session) -> None:
        self._relay = relay
        self._session = session
        self._now = asyncio.get_running_loop().time
        self._pings = PingTimer()
        self._answer = AnswerTimer()
        self._pressed_at = 0.0
        self._ping: dict[int, int] = {}
        self._draw: dict[int, int] = {}
        self._proxy: dict[int, int] = {}
        self._told: tuple[int, int, int] | None = None

    @contextlib.contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """Take times while the body runs.

        Args:
            name: The channel's: `inputs.0` is watched for presses, `display.0` for drawings.
        """
        to_client, to_server = self._relay.to_client, self._relay.to_server
        kind = name.partition(".")[0]
        to_client.watch(PINGS, self._on_ping)
        to_server.watch({**PONGS, **PRESSES} if kind == "inputs" else PONGS, self._on_client)
        if kind == "display":
            with self._session.on_press(self._on_press):
                yield
        else:
            yield

    def notice(self, session: SessionId, channel: str, *, carried: bool) -> Timed | None:
        """What there is to tell now, in all since the channel began; None of nothing new.

        Args:
            carried: Bytes passed since the last notice, so the connections' state is new too.
        """
        times = (_total(self._ping), _total(self._draw), _total(self._proxy))
        if times == self._told and not carried:
            return None
        self._told = times
        client, server = self._relay.legs
        timing = Timing(
            dict(self._ping),
            dict(self._draw),
            dict(self._proxy),
            tcp_of(client.sock),
            tcp_of(server.sock),
        )
        return Timed(session, channel, timing)

    def sample(self) -> None:
        """Time the next run of each pump."""
        self._relay.sample(self._on_run)

    def _on_ping(self, _kind: int, start: bytes, size: int) -> None:
        self._pings.pinged(start, size, self._now())

    def _on_client(self, kind: int, start: bytes, _size: int) -> None:
        now = self._now()
        if kind == ClientBase.PONG:
            _count(self._ping, self._pings.ponged(start, now))
        elif now - self._pressed_at > PRESS_SECONDS and is_press(kind, start):
            self._pressed_at = now
            self._session.pressed(now)

    def _on_press(self, at: float) -> None:
        if self._answer.pressed(at):
            self._relay.to_client.watch({**PINGS, **DRAWINGS}, self._on_server)

    def _on_server(self, kind: int, start: bytes, size: int) -> None:
        if kind == Base.PING:
            self._on_ping(kind, start, size)
            return
        self._relay.to_client.watch(PINGS, self._on_ping)
        _count(self._draw, self._answer.drawn(self._now()))

    def _on_run(self, seconds: float) -> None:
        _count(self._proxy, seconds)


def _count(counts: dict[int, int], seconds: float | None) -> None:
    if seconds is not None:
        bucket = bucket_of(seconds)
        counts[bucket] = counts.get(bucket, 0) + 1


def _total(counts: Counts) -> int:
    return sum(counts.values())
