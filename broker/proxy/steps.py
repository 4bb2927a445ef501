"""What every connection's life is made of: the backend's link stage, and the relay."""

from __future__ import annotations

from broker.errors import BrokerError, Refused
from broker.model import SessionId
from broker.proxy.backend import Backend, open_backend
from broker.proxy.gate import (
    Admission,
    BackendUnreachable,
    ChannelClosed,
    ChannelOpened,
    Dialer,
    Gate,
    Peer,
    Spares,
)
from broker.proxy.judging import judged
from broker.proxy.leg import LegClosed
from broker.proxy.limits import Limits
from broker.proxy.relay import Ending, Relay
from broker.proxy.session import Session, Sessions
from broker.proxy.stage import Patience, Stage
from broker.proxy.timing import ChannelTimes
from broker.proxy.viewer import TurnedAway
from broker.spice.constants import CommonCap, LinkError, caps_of
from broker.spice.wire import LinkMess

_FAILED = Ending("failed")
MINI = caps_of(CommonCap.MINI_HEADER)


class Steps:
    """What the channels of this worker share, and what they do alike."""

    def __init__(
        self, gate: Gate, dialer: Dialer, spares: Spares, limits: Limits, sessions: Sessions
    ) -> None:
        self.gate = gate
        self.spares = spares
        self.limits = limits
        self.sessions = sessions
        self.relays: dict[tuple[SessionId, str], Relay] = {}
        """What is being relayed, for the traffic report."""
        self.times: dict[tuple[SessionId, str], ChannelTimes] = {}
        """The times of what is being relayed."""
        self.link_patience = Patience(limits.link_seconds)
        """With each thing a viewer has to send."""
        self._backend_patience = Patience(limits.backend_seconds)
        self._dialer = dialer

    async def open(
        self, session: Session, admission: Admission, asked: LinkMess, error: LinkError | None
    ) -> Backend:
        """Dial the machine and get as far as can be undone.

        Args:
            error: What the viewer is told when that fails; None closes without a word.

        Raises:
            TurnedAway: That failed.
            SessionOver: The session ended meanwhile.
        """
        try:
            return await open_backend(
                self._dialer, admission, asked, session, self._backend_patience
            )
        except BrokerError as exc:
            raise turned_away(exc, error) from exc

    async def present(self, session: Session, backend: Backend, error: LinkError | None) -> None:
        """Send the ticket and wait for the server's word on it; raises as `open` does."""
        try:
            with Stage(session, self._backend_patience):
                await backend.present()
                await backend.result()
        except BrokerError as exc:
            raise turned_away(exc, error) from exc
        except (TimeoutError, LegClosed) as exc:
            gone = BackendUnreachable("The SPICE server did not answer to our ticket")
            raise turned_away(gone, error) from exc

    async def relay(self, session: Session, name: str, peer: Peer, relay: Relay) -> Ending:
        """Relay until it ends, and tell the gate before and after.

        Raises:
            SessionOver: The session ended before it began.
        """
        key = (session.admission.session, name)
        session.tell_of_end(relay.stop)
        with ChannelTimes(relay, session, name) as times:
            self.gate.record(ChannelOpened(*key, peer))
            self.relays[key] = relay
            self.times[key] = times
            ending = _FAILED
            try:
                ending = await relay.run()
            finally:
                session.tell_no_more(relay.stop)
                del self.relays[key], self.times[key]
                if (timed := times.notice(*key, carried=False, over=True)) is not None:
                    self.gate.record(timed)
                for notice in judged(*key, relay):
                    self.gate.record(notice)
                self.gate.record(
                    ChannelClosed(
                        *key,
                        ending.reason,
                        relay.to_client.forwarded,
                        relay.to_server.forwarded,
                        ending.text,
                    )
                )
        return ending

    @staticmethod
    def stage(session: Session) -> Stage:
        """Something that is broken off when the session ends."""
        return Stage(session)


def turned_away(exc: BrokerError, error: LinkError | None) -> TurnedAway:
    """The same as the end of a connection."""
    reason = exc.reason if isinstance(exc, Refused) else exc.code
    return TurnedAway(reason, str(exc), error)
