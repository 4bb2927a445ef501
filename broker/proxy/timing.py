"""Takes the times of one channel while it is relayed, without touching what passes.

The inspectors tell of the few messages that matter (`spice.latency`). Of runs of a pump and of
presses one is taken each time that the traffic report asks for it, about once a second: then a key
costs nothing either, and a viewer that sends floods of them keeps nobody busy. A channel's first
press is taken without being asked for; a run is not, for many a channel of a storm ends before.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final, Self

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

PONGS_AND_PRESSES: Final[Mapping[int, int]] = {**PONGS, **PRESSES}
PINGS_AND_DRAWINGS: Final[Mapping[int, int]] = {**PINGS, **DRAWINGS}


class ChannelTimes:
    """One channel's histograms; `with`: times are taken while the body runs.

    Args:
        name: The channel's: `inputs.0` is watched for presses, `display.0` for drawings.
    """

    __slots__ = ("_answer", "_awaits_press", "_draw", "_has_keys", "_is_drawn", "_ping", "_pings",
                 "_proxy", "_relay", "_session", "_told")  # fmt: skip

    def __init__(self, relay: Relay, session: Session, name: str) -> None:
        self._relay = relay
        self._session = session
        self._pings = PingTimer()
        self._answer = AnswerTimer()
        self._has_keys = name.startswith("inputs")
        self._is_drawn = name.startswith("display")
        self._awaits_press = False
        self._ping: dict[int, int] = {}
        self._draw: dict[int, int] = {}
        self._proxy: dict[int, int] = {}
        self._told = (0, 0, 0)

    def __enter__(self) -> Self:
        """Begin."""
        self._relay.to_client.watch(PINGS, self._on_ping)
        if self._has_keys:
            self._await_press()
        else:
            self._relay.to_server.watch(PONGS, self._on_client)
        if self._is_drawn:
            self._session.tell_of_presses(self._on_press)
        return self

    def __exit__(self, *_: object) -> None:
        """The channel is over."""
        if self._is_drawn:
            self._session.tell_no_more_of_presses(self._on_press)

    def notice(
        self, session: SessionId, channel: str, *, carried: bool, over: bool = False
    ) -> Timed | None:
        """What there is to tell now, in all since the channel began; None of nothing new.

        Args:
            carried: Bytes passed since the last notice, so the connections' state is new too.
            over: The connections end: nobody looks at their state any more.
        """
        if not (carried or self._ping or self._draw or self._proxy):
            return None
        times = (_total(self._ping), _total(self._draw), _total(self._proxy))
        if times == self._told and not carried:
            return None
        self._told = times
        client, server = self._relay.legs
        timing = Timing(
            dict(self._ping),
            dict(self._draw),
            dict(self._proxy),
            None if over else tcp_of(client.sock),
            None if over else tcp_of(server.sock),
        )
        return Timed(session, channel, timing)

    def sample(self) -> None:
        """Time the next run of each pump, and the next press."""
        self._relay.sample(self._on_run)
        if self._has_keys and not self._awaits_press:
            self._await_press()

    def _await_press(self) -> None:
        self._awaits_press = True
        self._relay.to_server.watch(PONGS_AND_PRESSES, self._on_client)

    def _on_ping(self, _kind: int, start: bytes, size: int) -> None:
        self._pings.pinged(start, size, monotonic())

    def _on_client(self, kind: int, start: bytes, _size: int) -> None:
        now = monotonic()
        if kind == ClientBase.PONG:
            _count(self._ping, self._pings.ponged(start, now))
        elif is_press(kind, start):
            self._awaits_press = False
            self._relay.to_server.watch(PONGS, self._on_client)
            self._session.pressed(now)

    def _on_press(self, at: float) -> None:
        if self._answer.pressed(at):
            self._relay.to_client.watch(PINGS_AND_DRAWINGS, self._on_server)

    def _on_server(self, kind: int, start: bytes, size: int) -> None:
        if kind == Base.PING:
            self._on_ping(kind, start, size)
            return
        self._relay.to_client.watch(PINGS, self._on_ping)
        _count(self._draw, self._answer.drawn(monotonic()))

    def _on_run(self, seconds: float) -> None:
        _count(self._proxy, seconds)


def _count(counts: dict[int, int], seconds: float | None) -> None:
    if seconds is not None:
        bucket = bucket_of(seconds)
        counts[bucket] = counts.get(bucket, 0) + 1


def _total(counts: Counts) -> int:
    return sum(counts.values())
