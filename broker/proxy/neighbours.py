"""Channels here whose session another relay worker holds.

The connection id's top bits say which worker that is. It is asked over its unix socket, and the
connection stays for the channel's life: it carries the display's crossing, what the session's
counters need, and the end. A worker that dies takes its end of the connection with it, so neither
side ever waits for the dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.model import SessionId
from broker.proxy.gate import Admission, Gate, Notice, Peer
from broker.proxy.seats import OwnSeat, Seat, taken
from broker.proxy.session import Session, SessionOver, Sessions
from broker.proxy.viewer import TurnedAway
from broker.proxy.words import (
    BadToken,
    Claim,
    Cross,
    Crossed,
    Ended,
    Granted,
    Join,
    Leave,
    MainClosed,
    NotAdmitted,
    Pressed,
    Seated,
    Taken,
    Unknown,
    Wire,
    Word,
    encoded,
)
from broker.spice.constants import LinkError
from broker.within import within

NUMBER_BITS: Final = 6
WORKERS_MAX: Final = 1 << NUMBER_BITS
_DRAWN_BITS: Final = 32 - NUMBER_BITS

WORD_SECONDS: Final = 30.0
"""How long the owner of a session may take over a claim or a crossing, which it just notes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the workers on this port we are."""

    number: int
    """0 to `WORKERS_MAX` - 1; a worker that is started again keeps it."""
    directory: Path
    """Where each worker has its socket; nobody else can look into it."""

    def others(self) -> list[Path]:
        """Where the others listen, as far as they have come up."""
        return [path for path in self.directory.glob("worker-*.sock") if path != self.socket()]

    def socket(self, number: int | None = None) -> Path:
        """Where that worker listens, or this one."""
        return self.directory / f"worker-{self.number if number is None else number}.sock"

    def has_neighbours(self) -> bool:
        """Whether other workers are on this port, or were."""
        own = self.socket()
        return any(other != own for other in self.directory.glob("worker-*.sock"))


def connection_id(number: int) -> int:
    """A session id for viewers of worker `number`: its number, then random bits, not all 0."""
    return number << _DRAWN_BITS | secrets.randbelow((1 << _DRAWN_BITS) - 1) + 1


class Seats:
    """Finds the session that a later channel names, and gives it a seat there.

    It is also the gate of this worker's connections: what is told of a channel whose session is
    elsewhere goes there.

    Args:
        place: None where there is one worker only.
    """

    def __init__(
        self, sessions: Sessions, gate: Gate, place: Place | None, answer_seconds: float
    ) -> None:
        self._sessions = sessions
        self._gate = gate
        self._place = place
        self._answer_seconds = answer_seconds
        self._away: dict[tuple[SessionId, str], _FarSeat] = {}

    async def find(self, number: int, name: str, peer: Peer) -> Seat | None:
        """A seat for channel `name` in the session with that connection id; None: none such.

        Who gets it must close it.

        Raises:
            TurnedAway: Its owner refused, or does not answer.
        """
        owner = number >> _DRAWN_BITS
        if self._place is None or owner == self._place.number:
            session = self._sessions.find(number)
            return OwnSeat(session, name, peer, self._gate) if session else None
        return await self._ask(owner, Join(number, name, peer))

    async def _ask(self, owner: int, join: Join) -> _FarSeat | None:
        assert self._place is not None
        path = self._place.socket(owner)
        seat = _FarSeat(join, self._away)
        try:
            async with within(self._answer_seconds):
                try:
                    await asyncio.get_running_loop().create_unix_connection(
                        lambda: seat.wire, str(path)
                    )
                except OSError:
                    return None  # that worker has died, and its sessions with it
                found = await seat.ask(join)
        except TimeoutError as exc:
            seat.close()
            raise _silent() from exc
        except SessionOver:
            return None
        except BaseException:
            seat.close()
            raise
        match found:
            case Seated():
                seat.sit(found)
                return seat
            case NotAdmitted():
                seat.close()
                raise TurnedAway(found.reason, found.text, LinkError(found.error), told=True)
            case _:
                seat.close()
                return None

    def leave_all(self, reason: str) -> None:
        """Have the owners end every session that a channel here belongs to."""
        for seat in tuple(self._away.values()):
            seat.wire.say(Leave(reason))

    def tell_bad_token(self, host: str) -> None:
        """Have every other worker count it too: which one a connection lands in is chance."""
        for path in self._place.others() if self._place else ():
            with socket.socket(socket.AF_UNIX) as end, contextlib.suppress(OSError):
                end.setblocking(False)
                end.connect(str(path))
                end.send(encoded(BadToken(host)))

    # -- the gate of this worker's connections

    async def admit(self, token: str, peer: Peer) -> Admission:
        """See `Gate`."""
        return await self._gate.admit(token, peer)

    async def join(self, admission: Admission, channel: str, peer: Peer) -> Admission:
        """See `Gate`."""
        return await self._gate.join(admission, channel, peer)

    def record(self, notice: Notice) -> None:
        """See `Gate`."""
        if not self._away:
            self._gate.record(notice)
            return
        session, channel = getattr(notice, "session", None), getattr(notice, "channel", "")
        seat = self._away.get((session, channel)) if session is not None else None
        if seat is None:
            self._gate.record(notice)
        else:
            seat.record(notice)


class _FarSeat:
    """In a session whose MAIN another worker holds. `session` is a likeness of it."""

    def __init__(self, join: Join, away: dict[tuple[SessionId, str], _FarSeat]) -> None:
        self.wire = Wire(self._on_word, self._on_lost)
        self._of = join
        self._away = away
        self._session: Session | None = None
        self._answer: asyncio.Future[Word] | None = None
        self._lost = False

    @property
    def session(self) -> Session:
        """See `Seat`."""
        assert self._session is not None
        return self._session

    async def join(self) -> Admission:
        """See `Seat`; the owner's gate was asked already."""
        return self.session.admission

    @contextlib.asynccontextmanager
    async def claimed(self) -> AsyncIterator[None]:
        """See `Seat`."""
        if isinstance(await self._ask_soon(Claim()), Taken):
            raise taken(self._of.channel)
        key = (self.session.admission.session, self._of.channel)
        self._away[key] = self
        try:
            if self._of.channel.startswith("inputs"):
                with self.session.on_press(lambda at: self.wire.say(Pressed(at))):
                    yield
            else:
                yield
        finally:
            del self._away[key]

    @contextlib.asynccontextmanager
    async def crossing(self) -> AsyncIterator[None]:
        """See `Seat`. MAIN stays until the owner has heard `Crossed`, or we are dead."""
        try:
            await self._ask_soon(Cross())  # no ticket is out yet: to give up harms no VM
            with self.session.crossing():
                yield
        finally:
            self.wire.say(Crossed())

    def record(self, notice: Notice) -> None:
        """See `Seat`."""
        self.wire.say(notice)

    def sit(self, seated: Seated) -> None:
        """The owner agreed."""
        self._session = Session(self._of.connection_id, seated.admission, self._of.peer)
        self._session.backend_id = seated.backend_id
        if self._lost:
            self._on_lost()

    async def ask(self, word: Word) -> Word:
        """Say it and wait for the answer.

        Raises:
            SessionOver: The session ended, or its owner died.
        """
        if self._lost or (self._session and self._session.end_reason):
            raise SessionOver(self._session.end_reason if self._session else "worker-died")
        self._answer = asyncio.get_running_loop().create_future()
        self.wire.say(word)
        answer = await self._answer
        if isinstance(answer, Ended):
            raise SessionOver(answer.reason)
        return answer

    async def _ask_soon(self, word: Word) -> Word:
        """The same, but not for ever.

        Raises:
            TurnedAway: The owner is silent.
        """
        try:
            async with within(WORD_SECONDS):
                return await self.ask(word)
        except TimeoutError as exc:
            raise _silent() from exc

    def close(self) -> None:
        """The channel has ended."""
        self.wire.close()

    def _on_word(self, word: Word) -> None:
        match word:
            case Ended(reason):
                if self._session is not None:
                    self._session.end(reason)
                self._answered(word)
            case MainClosed():
                if self._session is not None:
                    self._session.main_has_closed()
            case Pressed(at):
                if self._session is not None:
                    self._session.pressed(at)
            case Granted() | Taken() | Seated() | NotAdmitted() | Unknown():
                self._answered(word)

    def _answered(self, word: Word) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(word)

    def _on_lost(self) -> None:
        """The owner is dead: MAIN went with it, and the server closes what is left."""
        self._lost = True
        if self._session is not None:
            self._session.end("worker-died")
            self._session.main_has_closed()
        self._answered(Ended("worker-died"))


def _silent() -> TurnedAway:
    """The owner of the session does not answer."""
    return TurnedAway(
        "worker-silent", "the session's relay worker does not answer", LinkError.ERROR
    )
