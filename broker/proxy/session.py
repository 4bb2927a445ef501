"""One session in this worker, and the order in which its channels end.

Two facts about spice-server 0.15 rule this: QEMU dies when a display connection is dropped after
its ticket was accepted and before SET_ACK came back, and it freezes when MAIN goes while a display
waits. So a display is *crossing* in that window, nobody cuts a crossing short, and MAIN is closed
only when none is under way; the server then closes the rest by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from broker.proxy.gate import Admission, Peer
from broker.within import within


class SessionOver(Exception):
    """The session ended while a channel of it was being set up."""


class Flag:
    """As asyncio's event, which makes a queue at once: a session has three and waits for few."""

    __slots__ = ("_event", "is_set")

    def __init__(self, *, is_set: bool) -> None:
        self.is_set = is_set
        self._event: asyncio.Event | None = None

    def set(self) -> None:
        """Whoever waits goes on."""
        self.is_set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    def clear(self) -> None:
        """Whoever asks from now on waits."""
        self.is_set = False

    async def wait(self) -> None:
        """Until it is set."""
        if not self.is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()


class Session:
    """What the channels of one session share."""

    __slots__ = ("_calm", "_crossing", "_empty", "_kept", "_on_main_closed", "_on_press",
                 "admission", "backend_id", "channels", "connection_id", "end_reason", "keep_main",
                 "main_closed", "on_ending", "peer")  # fmt: skip

    def __init__(self, connection_id: int, admission: Admission, peer: Peer) -> None:
        self.connection_id = connection_id
        """The session id that the viewer knows; ours, drawn at random."""
        self.admission = admission
        self.peer = peer
        self.backend_id = 0
        """The session id that the server knows; 0 until MAIN INIT has passed."""
        self.channels: set[str] = set()
        """Names of channels beside MAIN whose token was good."""
        self.end_reason = ""
        """Why it is over; empty while it lives."""
        self.on_ending: set[Callable[[str], None]] = set()
        """Told the reason when it ends; stages add themselves, all others by `tell_of_end`."""
        self.main_closed = Flag(is_set=False)
        """MAIN's backend connection is closed: the server closes the others now."""
        self._on_main_closed: set[Callable[[], None]] = set()
        self._empty = Flag(is_set=True)
        self.keep_main: Callable[[], contextlib.AbstractContextManager[None]] = (
            contextlib.nullcontext
        )
        """Entered while a display is crossing: MAIN must not end then even if we are killed."""
        self._kept: contextlib.ExitStack | None = None
        self._crossing = 0
        self._calm = Flag(is_set=True)
        self._on_press: set[Callable[[float], None]] = set()

    def end(self, reason: str) -> None:
        """Begin to end it; the first reason counts. Channels let go in the safe order."""
        if self.end_reason:
            return
        self.end_reason = reason
        for tell in tuple(self.on_ending):
            tell(reason)

    def on_end(self, tell: Callable[[str], None]) -> _Telling:
        """Have `tell` called when the session ends while the body runs.

        Raises:
            SessionOver: On entering, when it has ended already.
        """
        return _Telling(self, tell)

    def tell_of_end(self, tell: Callable[[str], None]) -> None:
        """The same until `tell_no_more`; raises at once."""
        if self.end_reason:
            raise SessionOver(self.end_reason)
        self.on_ending.add(tell)

    def tell_no_more(self, tell: Callable[[str], None]) -> None:
        """It does not matter any more."""
        self.on_ending.discard(tell)

    def main_has_closed(self) -> None:
        """MAIN's backend connection is closed, or never was."""
        self.main_closed.set()
        for tell in tuple(self._on_main_closed):
            tell()

    @contextlib.contextmanager
    def on_main_closed(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have `tell` called when MAIN closes while the body runs."""
        self._on_main_closed.add(tell)
        try:
            yield
        finally:
            self._on_main_closed.discard(tell)

    def pressed(self, at: float) -> None:
        """A key or a button went down, at that time of the loop's clock."""
        for tell in tuple(self._on_press):
            tell(at)

    @contextlib.contextmanager
    def on_press(self, tell: Callable[[float], None]) -> Iterator[None]:
        """Have `tell` called with the time of each press while the body runs."""
        self.tell_of_presses(tell)
        try:
            yield
        finally:
            self.tell_no_more_of_presses(tell)

    def tell_of_presses(self, tell: Callable[[float], None]) -> None:
        """The same until `tell_no_more_of_presses`."""
        self._on_press.add(tell)

    def tell_no_more_of_presses(self, tell: Callable[[float], None]) -> None:
        """It does not matter any more."""
        self._on_press.discard(tell)

    @contextlib.contextmanager
    def crossing(self) -> Iterator[None]:
        """A display is between its ticket and SET_ACK. The body must not be interrupted.

        Raises:
            SessionOver: It has ended already: a ticket must not be sent any more.
        """
        if self.end_reason:
            raise SessionOver(self.end_reason)
        if not self._crossing:
            kept = contextlib.ExitStack()
            kept.enter_context(self.keep_main())
            self._kept = kept
        self._crossing += 1
        self._calm.clear()
        try:
            yield
        except asyncio.CancelledError:
            self._kept = None  # we end by force: MAIN stays for as long as the display does
            raise
        finally:
            self._crossing -= 1
            if not self._crossing:
                if self._kept is not None:
                    self._kept.close()
                    self._kept = None
                self._calm.set()

    def channel(self, name: str) -> _Named:
        """A channel beside MAIN is being linked or relayed while the body runs."""
        return _Named(self, name)

    def channel_begins(self, name: str) -> None:
        """The same until `channel_ends`."""
        self.channels.add(name)
        self._empty.clear()

    def channel_ends(self, name: str) -> None:
        """It is gone."""
        self.channels.discard(name)
        if not self.channels:
            self._empty.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until all channels beside MAIN are gone, or for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with within(seconds):
                await self._empty.wait()

    @property
    def is_crossing(self) -> bool:
        """Whether a display is between its ticket and SET_ACK."""
        return self._crossing > 0

    async def calm(self) -> None:
        """Wait until no display is crossing."""
        await self._calm.wait()


class _Telling:
    """See `Session.on_end`. It lives as long as a channel does: a generator would take a kB."""

    __slots__ = ("_session", "_tell")

    def __init__(self, session: Session, tell: Callable[[str], None]) -> None:
        self._session = session
        self._tell = tell

    def __enter__(self) -> None:
        self._session.tell_of_end(self._tell)

    def __exit__(self, *_: object) -> None:
        self._session.tell_no_more(self._tell)


class _Named:
    """See `Session.channel`."""

    __slots__ = ("_name", "_session")

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    def __enter__(self) -> None:
        self._session.channel_begins(self._name)

    def __exit__(self, *_: object) -> None:
        self._session.channel_ends(self._name)


class Sessions:
    """The live sessions of this worker."""

    def __init__(self, new_id: Callable[[], int]) -> None:
        self._new_id = new_id
        self._by_connection_id: dict[int, Session] = {}

    def open(self, admission: Admission, peer: Peer) -> Session:
        """A session under an id that nobody can guess and nobody else has."""
        while not (number := self._new_id()) or number in self._by_connection_id:
            pass
        session = Session(number, admission, peer)
        self._by_connection_id[number] = session
        return session

    def find(self, connection_id: int) -> Session | None:
        """The live session that a later channel names."""
        session = self._by_connection_id.get(connection_id)
        return session if session and session.backend_id and not session.end_reason else None

    def forget(self, session: Session) -> None:
        """It is over."""
        self._by_connection_id.pop(session.connection_id, None)

    def all(self) -> tuple[Session, ...]:
        """Every session that is not forgotten."""
        return tuple(self._by_connection_id.values())
