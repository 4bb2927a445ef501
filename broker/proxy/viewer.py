"""The link stage towards a viewer, step by step, each under its time-out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from broker.proxy.gate import Peer
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.session import Session
from broker.proxy.stage import Patience, Stage
from broker.spice.constants import LinkError
from broker.spice.server_link import LinkRequested, ServerEvent, ServerLink, TicketReceived
from broker.spice.ticket import TicketKey
from broker.spice.wire import LinkMess
from broker.within import within


class TurnedAway(Exception):
    """A connection ends before bytes flow.

    Attributes:
        reason: Stable kebab-case, for the audit log.
        text: The same for people.
        error: What the viewer is told, in the form this step has; None closes without a word.
        told: The audit log has it already.
    """

    def __init__(
        self, reason: str, text: str, error: LinkError | None = None, *, told: bool = False
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.error = error
        self.told = told


_OVER: Final = ServerLink()
"""The link of every viewer that was let in."""
_OVER.refuse(LinkError.OK)
_OVER.data_to_send()


class Viewer:
    """A viewer on the other end of a leg."""

    __slots__ = ("_early", "_key", "_link", "_patience", "_pending", "leg", "peer")

    def __init__(
        self, leg: Leg, peer: Peer, key: TicketKey, patience: Patience, *, early: bytes = b""
    ) -> None:
        """Take the leg as it is after TLS.

        Args:
            patience: Time-out of each step.
            early: What was read of the leg already.
        """
        self.leg = leg
        self.peer = peer
        self._key = key
        self._patience = patience
        self._link = ServerLink()
        self._pending: Sequence[ServerEvent] = ()
        self._early = early

    async def request(self) -> LinkMess:
        """What it wants.

        Raises:
            TurnedAway: It broke the protocol, closed, or took too long.
        """
        event = await self._next_event("request")
        assert isinstance(event, LinkRequested)
        return event.mess

    async def offer(self, common_caps: int, channel_caps: int) -> None:
        """Go on, with these capabilities and our key.

        Raises:
            TurnedAway: It closed, or does not read.
        """
        self._pending = self._link.offer(self._key.public_bytes, common_caps, channel_caps)
        await self.say(self._link.data_to_send())

    async def ticket(self, session: Session | None = None) -> str | None:
        """Its password; None when it was not sealed for our key, or is not text.

        Args:
            session: What it wants to join; None while that is not known.

        Raises:
            TurnedAway: It broke the protocol, closed, or took too long.
            SessionOver: The session ended meanwhile.
        """
        event = await self._next_event("ticket", session)
        assert isinstance(event, TicketReceived)
        password = self._key.open(event.sealed)
        try:
            return None if password is None else password.decode("ascii")
        except UnicodeDecodeError:
            return None

    async def accept(self) -> None:
        """Its ticket is good.

        Raises:
            TurnedAway: It closed, or does not read.
        """
        await self.say(self._accepted())

    def accept_and_go_on(self) -> None:
        """Its ticket is good; it is told together with what the relay says first.

        Raises:
            TurnedAway: It closed.
        """
        try:
            self.leg.hold(self._accepted())
        except LegClosed as exc:
            raise self._lost(exc, "answer") from exc

    def _accepted(self) -> bytes:
        """What says so. The channel may live for hours, and keeps nothing of the link."""
        self._link.accept()
        said = self._link.data_to_send()
        self._link = _OVER
        self._pending = ()
        return said

    async def refuse(self, error: LinkError) -> None:
        """Say no in the form this step has; never raises."""
        self._link.refuse(error)
        with contextlib.suppress(TurnedAway):
            await self._say()

    async def exactly(self, size: int, what: str) -> bytes:
        """The next bytes of its messages.

        Raises:
            TurnedAway: It closed or took too long.
        """
        data = b""
        try:
            with Stage(None, self._patience):
                while len(data) < size:
                    data += await self.leg.receive(size - len(data))
        except (TimeoutError, LegClosed) as exc:
            raise self._lost(exc, what) from exc
        return data

    async def idle(self, seconds: float) -> None:
        """Let time pass while the viewer waits for our word on its ticket.

        Raises:
            TurnedAway: It closed, or spoke out of turn.
        """
        try:
            async with within(seconds):
                await self.leg.receive(1)
        except TimeoutError:
            return
        except LegClosed as exc:
            raise TurnedAway("client-closed", "the viewer closed while it waited") from exc
        raise TurnedAway("protocol", "the viewer spoke before it was let in")

    async def _next_event(self, what: str, session: Session | None = None) -> ServerEvent:
        try:
            with Stage(session, self._patience):
                while not self._pending:
                    data, self._early = self._early, b""
                    data = data or await self.leg.receive(self._link.bytes_wanted)
                    self._pending = self._link.receive_data(data)
                    if self._link.failure is not None:
                        await self._say()
                        raise TurnedAway("protocol", str(self._link.failure))
        except (TimeoutError, LegClosed) as exc:
            raise self._lost(exc, what) from exc
        event, *self._pending = self._pending
        return event

    async def say(self, data: bytes) -> None:
        """Send it.

        Raises:
            TurnedAway: It closed, or does not read.
        """
        try:
            self.leg.write(data)
            if self.leg.unsent:
                with Stage(None, self._patience):
                    await self.leg.drain()
        except (TimeoutError, LegClosed) as exc:
            raise self._lost(exc, "answer") from exc

    async def _say(self) -> None:
        await self.say(self._link.data_to_send())

    def _lost(self, exc: Exception, what: str) -> TurnedAway:
        if isinstance(exc, TimeoutError):
            return TurnedAway(
                "handshake-timeout",
                f"the {what} did not arrive within {self._patience.seconds:g} s",
            )
        return TurnedAway("client-closed", f"the viewer closed before its {what} ({exc})")
