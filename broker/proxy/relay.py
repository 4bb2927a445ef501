"""The relay of one channel: a pump for each direction, and how they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.proxy.leg import Leg, LegClosed
from broker.proxy.short_pumps import pump_class
from broker.proxy.watch import watch_of
from broker.spice.inspector import Inspector, Verdict

_NOTHING: Final[Counter[str]] = Counter()
"""Of most channels: nobody counts into this one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a relay stopped."""

    reason: str
    """`client-closed`, `backend-closed`, `client-reset`, …, `firewall`, or what `stop` was told."""
    text: str = ""
    verdict: Verdict | None = None


class Relay:
    """Both directions of one channel, from the end of the link stage on."""

    __slots__ = ("_backend", "_client", "_done", "_has_begun", "_pumps", "_watch", "dropped",
                 "to_client", "to_server")  # fmt: skip

    def __init__(
        self, client: Leg, backend: Leg, to_client: Inspector, to_server: Inspector
    ) -> None:
        loop = asyncio.get_running_loop()
        self._client = client
        self._backend = backend
        self.to_client = to_client
        self.to_server = to_server
        self.dropped = _NOTHING
        """Messages that a policy kept back, by kind, where the inspectors do not count them."""
        self._watch = watch_of(loop)
        self._has_begun = False
        self._done: asyncio.Future[Ending] = loop.create_future()
        watch, ended = self._watch, self._on_ended
        self._pumps = (
            pump_class(backend, client)(watch, backend, client, to_client, ended),
            pump_class(client, backend)(watch, client, backend, to_server, ended),
        )

    async def run(self) -> Ending:
        """Relay until a side is gone, a message is refused, or `stop` is called.

        The legs are left open, and nothing of ours listens to them any more.
        """
        self._has_begun = True
        self._client.hand_over(watched_on=True)
        self._backend.hand_over(watched_on=True)
        try:
            for pump in self._pumps:
                if not self._done.done():
                    pump.begin()
            self.settle()
            return await self._done
        finally:
            self._let_go()
            self.settle()  # whoever goes may take its time

    def stop(self, reason: str) -> None:
        """End it; harmless when it has ended."""
        if not self._done.done():
            self._let_go()
            self._done.set_result(Ending(reason))

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """The connections to the client and to the server."""
        return self._client, self._backend

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes so far, towards the client and towards the server."""
        return self.to_client.forwarded, self.to_server.forwarded

    @property
    def is_waiting(self) -> bool:
        """Whether a side does not take what it is sent."""
        return any(leg.unsent for leg in self.legs)

    def settle(self) -> None:
        """Give back memory that nothing needs while little passes."""
        for leg in self.legs:
            if leg.engine is not None:
                leg.engine.settle()

    def sample(self, tell: Callable[[float], None]) -> None:
        """Have `tell` called with the seconds that the next run of each direction takes."""
        for pump in self._pumps:
            pump.sample = tell

    def say_to_client(self, kind: int, body: bytes) -> None:
        """Send the client a message of ours; raises as `Pump.insert` does."""
        self._pumps[0].insert(kind, body)

    def _on_ended(self, why: LegClosed | Verdict) -> None:
        if self._done.done():
            return
        self._let_go()
        if isinstance(why, Verdict):
            text = f"message {why.type} of {why.size} bytes refused: {why.reason}"
            self._done.set_result(Ending("firewall", text, why))
        else:
            side = "client" if why.leg is self._client else "backend"
            self._done.set_result(Ending(f"{side}-{why.reason}", str(why)))

    def _let_go(self) -> None:
        """Listen no more. Not only once: a message of ours may have begun a wait since."""
        if not self._has_begun:
            return
        for pump in self._pumps:
            pump.paused = True
        for leg in (self._client, self._backend):
            self._watch.remove_reader(leg.fd)
            self._watch.remove_writer(leg.fd)
