"""Who may reach what: the only place that decides it.

A token opens one session on one machine. Later channels of that session are admitted by the relay
worker that holds it, for as long as it lives; that needs no decision here.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from broker import tokens
from broker.clock import Clock
from broker.errors import BrokerError, NoConsole, NotFound, Occupied, Refused, speaks_vnc
from broker.events import Event, Kind
from broker.model import (
    Console,
    LinkPolicy,
    Machine,
    MachineKey,
    Session,
    SessionId,
    Token,
    WhenOccupied,
)
from broker.model import Protocol as Spoken

TOKEN_LENGTH_MAX = 59
"""Characters; spice-server keeps no more of a password, and so no viewer sends more."""


REASONS = frozenset(
    {
        "token-unknown",
        "token-used",
        "token-expired",
        "token-revoked",
        "address",
        "machine-unknown",
        "no-console",
        "limit-label",
    }
)
"""Reasons of refusals that are decided, and written to the audit log, here."""


class AdmissionStore(Protocol):
    """What is needed of the store to decide."""

    def token(self, digest: bytes) -> Token | None:
        """The token with that digest."""
        ...

    def machine(self, key: MachineKey) -> Machine:
        """The machine; NotFound when it is gone."""
        ...

    def open_session(self, digest: bytes, session: Session, *, alone: bool) -> Token:
        """Use the token up for that session, in one transaction; Refused when it is no good."""
        ...

    def occupants(self, key: MachineKey) -> list[Session]:
        """Live sessions at that console."""
        ...

    def count_sessions(self, label: str) -> int:
        """How many live sessions were made for that label."""
        ...

    def ask_end(self, session: SessionId, reason: str) -> None:
        """Ask whoever holds the session to end it; NotFound when it has ended."""
        ...

    def close_session(self, session: SessionId, reason: str, at: datetime) -> bool:
        """End a session."""
        ...

    def kept_console(self, key: MachineKey) -> Console | None:
        """The stored console; None when its driver must be asked."""
        ...

    def add_event(self, event: Event) -> object:
        """Write one line of the audit log."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A session that was opened.

    Attributes:
        console: Where the screen is; None when the machine's driver must be asked for it.
    """

    session: Session
    token: Token
    machine: Machine
    console: Console | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a viewer asked for that was not let in, as far as its token says.

    Attributes:
        console: The machine's name, when it is still known.
    """

    token: Token | None = None
    console: str = ""

    def told(self, event: Event) -> Event:
        """The same event with the machine and the token's label."""
        if self.token is None:
            return event
        key = self.token.key
        label = self.token.label
        return replace(event, source=key.source, key=key, console=self.console, label=label)


class Admission:
    """Decides, writes down what it decided, and says why."""

    def __init__(
        self,
        store: AdmissionStore,
        clock: Clock,
        *,
        worker: int,
        worker_life: str = "",
        per_label: int = 1000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._worker = worker
        self._worker_life = worker_life
        self._per_label = per_label

    def admit(self, secret: str, client: str) -> Admitted:
        """Open a session for whoever shows a good token.

        Args:
            secret: What the viewer sent as its password.
            client: The viewer's address, `host:port`.

        Raises:
            Refused: The token is unknown, used, revoked, expired, or not for that address, or its
                machine is gone.
            Occupied: Somebody is at the console. Nothing is written down yet: asking again in a
                moment may help.
        """
        try:
            return self._open(secret, client)
        except Refused as refusal:
            if isinstance(refusal, Occupied):
                raise
            event = Event(
                at=self._clock.now(),
                kind=Kind.SESSION_REFUSED,
                text=refusal.what,
                client=client,
                reason=refusal.reason,
                verdict="refused",
            )
            self._store.add_event(self.wanted(secret).told(event))
            raise

    def wanted(self, secret: str) -> Wanted:
        """What whoever shows that would open; nothing is decided."""
        token = self._store.token(tokens.digest(secret)) if secret else None
        if token is None:
            return Wanted()
        with contextlib.suppress(NotFound):
            return Wanted(token, self._store.machine(token.key).name)
        return Wanted(token)

    def _open(self, secret: str, client: str) -> Admitted:
        token, machine = self._asked_for(secret)
        check_address(token.policy, client)
        now = self._clock.now()
        if _is_good(token, now):
            self._see_to_others(token)
        session = Session(
            id=tokens.session_id(),
            key=token.key,
            console=machine.name,
            client=client,
            worker=self._worker,
            worker_life=self._worker_life,
            started_at=now,
            label=token.label,
            policy=token.policy,
        )
        self._store.open_session(token.digest, session, alone=True)
        try:
            console = self._console_of(machine)
            self._store.add_event(_opened(session, machine))
        except NoConsole as none:
            self._store.close_session(session.id, "no-console", now)
            raise Refused(none.what, reason="no-console", fix=none.fix) from none
        except BaseException:  # nobody else knows of it, and the console would stay taken
            with contextlib.suppress(BrokerError):
                self._store.close_session(session.id, "failed", now)
            raise
        return Admitted(session=session, token=token, machine=machine, console=console)

    def _asked_for(self, secret: str) -> tuple[Token, Machine]:
        """The token that was sent, used or not, and its machine."""
        if not secret or len(secret) > TOKEN_LENGTH_MAX:
            raise Refused(
                "No token was sent" if not secret else "What was sent is no token of ours",
                reason="token-unknown",
                fix="Use a file made by: broker export-vv",
            )
        token = self._store.token(tokens.digest(secret))
        if token is None:
            raise Refused(
                "The token is not known here",
                reason="token-unknown",
                fix="Make a new file: broker export-vv",
            )
        try:
            return token, self._store.machine(token.key)
        except NotFound as gone:
            raise Refused(
                "The machine this token was made for is no longer known",
                reason="machine-unknown",
                fix="See what there is: broker list",
            ) from gone

    def _console_of(self, machine: Machine) -> Console | None:
        """The stored console of a machine that has one; None when its driver must be asked."""
        if machine.protocol is Spoken.NONE:
            raise NoConsole(f"{machine.full_name} has no graphical console")
        if machine.protocol is Spoken.VNC:
            raise speaks_vnc(machine.name)
        return self._store.kept_console(machine.key)

    def _see_to_others(self, token: Token) -> None:
        """Make room where the token may; `open_session` looks again whether there is."""
        others = self._store.occupants(token.key)
        if others and token.policy.occupied is WhenOccupied.TAKE_OVER:
            for other in others:
                with contextlib.suppress(NotFound):
                    self._store.ask_end(other.id, "taken-over")
        elif token.label and self._store.count_sessions(token.label) >= self._per_label:
            raise Refused(
                f"{token.label} has {self._per_label} sessions, which is the most",
                reason="limit-label",
                fix="End one, or raise proxy.sessions_per_label",
            )


def _is_good(token: Token, now: datetime) -> bool:
    return token.used_at is None and token.revoked_at is None and token.expires_at > now


def check_address(policy: LinkPolicy, client: str) -> None:
    """See that a viewer comes from where it may come from.

    Args:
        client: Its address, `host:port` or `[host]:port`.

    Raises:
        Refused: It does not; the token is not used up by that.
    """
    if not policy.sources_from:
        return
    host = client.rpartition(":")[0].strip("[]").partition("%")[0]
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if not any(address in ipaddress.ip_network(each) for each in policy.sources_from):
        raise Refused(
            f"The file may be used from {' and '.join(policy.sources_from)}, not from {host}",
            reason="address",
            fix="Connect from there, or export another file with another --from",
        )


def _opened(session: Session, machine: Machine) -> Event:
    """The line of the audit log for a session that begins."""
    text = f"{session.client} opened {machine.full_name}"
    if session.label:
        text += f" with the token for {session.label}"
    if session.policy.words:
        text += f" ({', '.join(session.policy.words)})"
    return Event(
        at=session.started_at,
        kind=Kind.SESSION_OPENED,
        text=text,
        source=session.key.source,
        key=session.key,
        console=session.console,
        session=session.id,
        client=session.client,
        label=session.label,
        verdict="admitted",
    )
