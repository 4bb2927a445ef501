"""Answers other relay workers that took a later channel of a session of ours.

Each such channel is one connection here. While it lasts it counts in its session as if it were
relayed in this worker: it has its name, it can be crossing, and it is told of the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, Refused
from broker.proxy.connections import Life
from broker.proxy.gate import ChannelClosed, ChannelOpened, ConnectionRefused, Gate, Traffic
from broker.proxy.private import bound
from broker.proxy.session import Session, SessionOver, Sessions
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
)
from broker.spice.constants import LinkError

ORPHAN_SECONDS: Final = 3.0
"""How long a display whose worker died while it opened is taken to be opening still."""


@contextlib.asynccontextmanager
async def open_desk(
    path: Path,
    sessions: Sessions,
    gate: Gate,
    spawn: Callable[[Life, str], None],
    bad_token: Callable[[str], None],
) -> AsyncIterator[None]:
    """Answer on that socket while the body runs; whatever lies there is replaced.

    Args:
        bad_token: Told of each address that tried one in another worker.
    """
    guests: set[_Guest] = set()

    def welcome() -> Wire:
        guest = _Guest(sessions, gate, spawn, bad_token, guests)
        return guest.wire

    server = await asyncio.get_running_loop().create_unix_server(welcome, sock=bound(path))
    try:
        yield
    finally:
        server.close()
        for guest in tuple(guests):
            guest.wire.close()


class _Guest:
    """One channel that another worker relays."""

    def __init__(
        self,
        sessions: Sessions,
        gate: Gate,
        spawn: Callable[[Life, str], None],
        bad_token: Callable[[str], None],
        guests: set[_Guest],
    ) -> None:
        self.wire = Wire(self._on_word, self._on_lost)
        self._sessions = sessions
        self._gate = gate
        self._spawn = spawn
        self._bad_token = bad_token
        self._guests = guests
        self._session: Session | None = None
        self._name = ""
        self._held = contextlib.ExitStack()
        self._crossing = contextlib.ExitStack()
        self._is_crossing = False
        self._open: Traffic | None = None
        self._gone = False
        guests.add(self)

    def _on_word(self, word: Word) -> None:
        session = self._session
        match word:
            case Join():
                self._spawn(self._admit(word), f"{word.channel} in another worker")
            case BadToken(host):
                self._bad_token(host)
            case _ if session is None:
                self.wire.close()
            case Claim():
                self._claim(session)
            case Cross():
                self._cross(session)
            case Crossed():
                self._is_crossing = False
                self._crossing.close()
            case Leave(reason):
                session.end(reason)
            case Pressed(at):
                session.pressed(at)
            case _:
                self._note(session, word)

    async def _admit(self, join: Join) -> None:
        session = self._sessions.find(join.connection_id)
        if session is None:
            self.wire.say(Unknown())
            return
        try:
            admission = await self._gate.join(session.admission, join.channel, join.peer)
        except BrokerError as exc:
            reason = exc.reason if isinstance(exc, Refused) else exc.code
            error = LinkError.PERMISSION_DENIED if isinstance(exc, Refused) else LinkError.ERROR
            self._gate.record(
                ConnectionRefused(
                    join.peer, reason, exc.what, session.admission.session, join.channel
                )
            )
            self.wire.say(NotAdmitted(reason, exc.what, error))
            return
        if self._gone:
            return
        try:
            self._held.enter_context(session.on_end(lambda reason: self.wire.say(Ended(reason))))
        except SessionOver:
            self.wire.say(Unknown())
            return
        self._held.enter_context(session.on_main_closed(lambda: self.wire.say(MainClosed())))
        self._session, self._name = session, join.channel
        self.wire.say(Seated(admission, session.backend_id))

    def _claim(self, session: Session) -> None:
        if self._name in session.channels:
            self.wire.say(Taken())
        else:
            self._held.enter_context(session.channel(self._name))
            if self._name.startswith("display"):
                self._held.enter_context(session.on_press(lambda at: self.wire.say(Pressed(at))))
            self.wire.say(Granted())

    def _cross(self, session: Session) -> None:
        try:
            self._crossing.enter_context(session.crossing())
        except SessionOver:
            self.wire.say(Ended(session.end_reason))
        else:
            self._is_crossing = True
            self.wire.say(Granted())

    def _note(self, session: Session, word: Word) -> None:
        """Write down what the other worker saw of this session's channel, and of no other."""
        if getattr(word, "session", None) != session.admission.session:
            return
        match word:
            case ChannelOpened():
                self._open = Traffic(word.session, word.channel, 0, 0)
                self._gate.record(word)
            case Traffic():
                self._open = word
                self._gate.record(word)
            case ChannelClosed():
                self._open = None
                self._gate.record(word)
            case _:
                self._gate.record(word)  # type: ignore[arg-type]  # a notice: it names a session

    def _on_lost(self) -> None:
        """It has ended; a channel that is still open died with its worker.

        No viewer opens a channel of a session again, so what is left of that one is ended.
        """
        self._gone = True
        self._guests.discard(self)
        if (session := self._session) is not None and self._is_crossing:
            # its supervisor keeps the display's connection; MAIN has to outlive the display
            asyncio.get_running_loop().call_later(ORPHAN_SECONDS, self._crossing.close)
            session.end("worker-died")
        self._held.close()
        if (last := self._open) is not None and self._session is not None:
            self._open = None
            self._gate.record(
                ChannelClosed(
                    last.session,
                    last.channel,
                    "worker-died",
                    last.bytes_to_client,
                    last.bytes_to_server,
                    "the relay worker that held it died",
                )
            )
            self._session.end("worker-died")
