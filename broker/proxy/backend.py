"""The link stage towards a hypervisor: request, held-back ticket, result."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import BrokerError
from broker.proxy import dial
from broker.proxy.gate import Admission, BackendDenied, BackendUnreachable, Dialer
from broker.proxy.leg import Leg, LegClosed
from broker.proxy.session import Session
from broker.proxy.stage import Patience, Stage
from broker.spice.client_link import ClientEvent, ClientLink, LinkOffered, LinkRefused
from broker.spice.constants import LinkError
from broker.spice.errors import RemoteProtocolError
from broker.spice.ticket import seal
from broker.spice.wire import LinkMess, LinkReply


@dataclass(slots=True)
class Backend:
    """A backend connection that waits for its ticket. Who holds it must close `leg`."""

    leg: Leg
    link: ClientLink
    reply: LinkReply
    sealed: bytes
    """The ticket under this server's key."""

    async def present(self, then: bytes = b"") -> None:
        """Send the ticket, with `then` in the same write.

        Raises:
            LegClosed: The server is gone.
        """
        self.link.present(self.sealed, then)
        await self.leg.send(self.link.data_to_send())

    async def result(self) -> None:
        """Wait for the server's word on the ticket; the caller sets the time-out.

        Raises:
            BackendDenied: It refused.
            BackendUnreachable: It closed, or broke the protocol.
        """
        await _next_event(self.leg, self.link)


async def open_backend(
    dialer: Dialer,
    admission: Admission,
    mess: LinkMess,
    session: Session | None,
    patience: Patience,
) -> Backend:
    """Dial and get as far as can be undone: no ticket is sent.

    Args:
        mess: What to ask the server for.
        session: Its end ends this too.
        patience: Time-out for all of it.

    Raises:
        BackendUnreachable: Nobody answers in time, or it does not speak SPICE.
        BackendDenied: It has no such channel.
        BrokerError: What the dialer raised.
        SessionOver: The session ended meanwhile.
    """
    try:
        with Stage(session, patience):
            leg = await dial.secured(await dialer.dial(admission.target))
            try:
                link = ClientLink(mess)
                await leg.send(link.data_to_send())
                offered = await _next_event(leg, link)
                assert isinstance(offered, LinkOffered)
                if link.trailing():
                    raise RemoteProtocolError("it goes on before it has our ticket")
                sealed = seal(admission.ticket.encode(), offered.reply.public_key)
            except BaseException:
                leg.close()
                raise
    except TimeoutError as exc:
        raise BackendUnreachable(
            f"The SPICE server of {admission.console or 'the console'} did not answer within "
            f"{patience.seconds:g} s",
            fix="Check that the machine runs and is not stopped",
        ) from exc
    except (LegClosed, RemoteProtocolError) as exc:
        raise _gone(exc) from exc
    return Backend(leg, link, offered.reply, sealed)


async def _next_event(leg: Leg, link: ClientLink) -> ClientEvent:
    while True:
        try:
            events = link.receive_data(await leg.receive(link.bytes_wanted))
        except LegClosed as exc:
            raise _gone(exc) from exc
        if link.failure is not None:
            raise BackendUnreachable(
                f"What answers is not a SPICE server ({link.failure})"
            ) from link.failure
        for event in events:
            if isinstance(event, LinkRefused):
                raise _denied(event)
            return event


def _gone(exc: Exception) -> BrokerError:
    return BackendUnreachable(f"The SPICE server ended the connection ({exc})")


def _denied(refused: LinkRefused) -> BackendDenied:
    match refused.error:
        case LinkError.PERMISSION_DENIED:
            return BackendDenied(
                "The hypervisor refused the console's ticket",
                reason="backend-ticket",
                fix="Check the console's ticket in sources.yaml",
            )
        case LinkError.NEED_SECURED:
            return BackendDenied(
                "The hypervisor wants TLS on this console",
                reason="backend-needs-tls",
                fix="Give the console's secure_port",
            )
        case LinkError.CHANNEL_NOT_AVAILABLE:
            return BackendDenied("The machine has no such channel", reason="backend-no-channel")
        case _:
            return BackendDenied(
                f"The hypervisor refused the connection (error {refused.error})",
                reason="backend-refused",
            )
