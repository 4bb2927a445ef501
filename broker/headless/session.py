"""A SPICE session without a window: MAIN, DISPLAY and INPUTS held open, the picture kept.

Whoever listens is told each event with the moment its bytes were read. Nothing is decoded twice
and nothing waits for a listener: listeners are called in the pump and must be quick.

A display is closed only after its server has set it up (spice-server 0.15 dies of less), also when
opening it was given up: behind the proxy that is the proxy's care, directly it is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from broker.errors import Unreachable, UsageError
from broker.headless.channel import AGAIN, ANSWER_SECONDS, Channel, close, flushed, wait_for
from broker.headless.wire import Dial
from broker.spice.client import (
    AgentChanged,
    ChannelClient,
    ChannelsListed,
    Copied,
    Event,
    Linked,
    MainReady,
    MouseMode,
    SurfaceCreated,
)
from broker.spice.clipboard import TEXT_MAX, Clipboard
from broker.spice.constants import ChannelType, ClientInputs, ClientMain
from broker.spice.pixels import Pixels
from broker.spice.screen import Screen
from broker.spice.wire import U32, release_of
from broker.unwrap import unwrapped
from broker.within import within

QUIET_SECONDS: Final = 0.15
"""Five of the 30 ms between a server's looks at what has changed."""
RESTLESS_SECONDS: Final = 2.0
"""A screen that has not come to rest by now does not."""
AGENT: Final = "Have spice-vdagent running in the guest"
MOUSE_CLIENT: Final = 2
"""The mode in which a pointer's place is told, not its movement."""
MOUSE_MODE: Final = struct.Struct("<H")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of one channel.

    Attributes:
        at: When its last bytes were read, on the loop's clock (seconds, monotonic).
    """

    channel: ChannelType
    number: int
    event: Event
    at: float


Listener = Callable[[Heard], None]


class Session:
    """An open session. Made by `opened`."""

    def __init__(
        self,
        dial: Dial,
        ticket: str,
        group: asyncio.TaskGroup,
        stack: contextlib.AsyncExitStack,
        clipboard: Clipboard | None = None,
    ) -> None:
        self.screen = Screen()
        """The first display's picture; empty when there is none."""
        self.offered: tuple[tuple[int, int], ...] = ()
        """Type and id of each channel that could be opened."""
        self.agent_connected = False
        self.mouse_mode = 0
        """`MOUSE_CLIENT` when the pointer's place can be told; see `broker.headless.pointer`."""
        self.copied = ""
        """The text that was last copied in the guest; empty without `clipboard` (see `opened`)."""
        self.tls = ""
        """The version spoken; empty on plain connections."""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it ended, once it has."""
        self._dial, self._ticket, self._group, self._stack = dial, ticket, group, stack
        self._clipboard = clipboard
        self._number = 0
        self._channels: dict[ChannelType, Channel] = {}
        self._listeners: list[Listener] = []

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Have every event told to `listener` while the block lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    async def until(
        self,
        holds: Callable[[], T | None],
        *,
        seconds: float = ANSWER_SECONDS,
        what: str = "nothing came",
    ) -> T:
        """What `holds` gives, once that is not None; it is asked after every event.

        Raises:
            Unreachable: The session ended, or it took too long.
        """
        changed = asyncio.Event()

        def has_ended(_: object) -> None:
            changed.set()

        self.ended.add_done_callback(has_ended)
        try:
            async with within(seconds):
                with self.listening(lambda _: changed.set()):
                    while (found := holds()) is None:
                        if self.ended.done():
                            raise Unreachable(self.ended.result(), fix=AGAIN)
                        await changed.wait()
                        changed.clear()
                    return found
        except TimeoutError as exc:
            raise Unreachable(f"{what} within {seconds:g} seconds", fix=AGAIN) from exc
        finally:
            self.ended.remove_done_callback(has_ended)

    async def settle(self, quiet: float = QUIET_SECONDS, limit: float = RESTLESS_SECONDS) -> None:
        """Wait until nothing has come for a moment, `limit` at most: pictures arrive in parts."""
        now = asyncio.get_running_loop().time
        end, came = now() + limit, asyncio.Event()
        with self.listening(lambda _: came.set()), contextlib.suppress(TimeoutError):
            async with within(min(quiet, limit)) as waiting:
                while not self.ended.done():
                    await came.wait()
                    came.clear()
                    waiting.reschedule(min(now() + quiet, end))

    async def picture(
        self, other_than: Pixels | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> Pixels:
        """What is on the screen, once something is, it is another than before, and it is whole.

        Raises:
            Unreachable: Nothing is drawn in time, or nothing that changes the picture.
        """

        def seen() -> Pixels | None:
            found = self.screen.picture()
            return found if found is not None and any(found.data) and found != other_than else None

        await self.until(seen, seconds=seconds, what="nothing was drawn")
        await self.settle()
        return await self.until(seen, seconds=seconds, what="nothing was drawn")

    # -- what a person does

    async def key(self, code: int, *, down: bool) -> None:
        """Move one key.

        Args:
            code: Its make code; see `broker.spice.wire.scancode`.

        Raises:
            Unreachable: There is no keyboard, or the session has ended.
        """
        kind = ClientInputs.KEY_DOWN if down else ClientInputs.KEY_UP
        await self.send(ChannelType.INPUTS, kind, U32.pack(code if down else release_of(code)))

    async def press(self, code: int) -> None:
        """Press a key and let it go; raises as `key`."""
        await self.key(code, down=True)
        await self.key(code, down=False)

    async def offer_text(self, text: str) -> None:
        """Let the guest's agent know of a text: whoever pastes in the guest gets it.

        Raises:
            UsageError: It is too long.
            Unreachable: There is no agent, `opened` was not asked for a clipboard, or the session
                has ended.
        """
        if self._clipboard is None or not self.agent_connected:
            raise Unreachable("The guest's agent is not connected", fix=AGENT)
        if len(text.encode(errors="replace")) > TEXT_MAX:
            raise UsageError(f"A clipboard takes at most {TEXT_MAX} bytes", fix="Send less")
        main = self._open_channel(ChannelType.MAIN)
        main.client.offer_text(text)
        await flushed(main)

    async def send(self, kind: ChannelType, message: int, body: bytes = b"") -> None:
        """Send a message on an open channel.

        Raises:
            Unreachable: That channel is not open, or the session has ended.
        """
        channel = self._open_channel(kind)
        channel.client.send(message, body)
        await flushed(channel)

    def _open_channel(self, kind: ChannelType) -> Channel:
        if self.ended.done():
            raise Unreachable(self.ended.result(), fix=AGAIN)
        if (channel := self._channels.get(kind)) is None:
            raise Unreachable(
                f"There is no {kind.name.lower()}", fix="See whether the VM has one, and is on"
            )
        return channel

    # -- channels

    async def open(self, kind: ChannelType) -> None:
        """Open one more channel, offered or not; a display has its surface when this returns.

        Raises:
            Refused: The link was refused.
            Unreachable: Nobody answers, or it breaks the protocol.
        """
        screen = self.screen if kind is ChannelType.DISPLAY else None
        number, ticket = self._number, self._ticket.encode()
        client = ChannelClient(
            kind, ticket, connection_id=number, screen=screen, clipboard=self._clipboard
        )
        channel = Channel(kind, 0, client, await self._dial())
        self._stack.push_async_callback(close, channel)
        await wait_for(channel, Linked)
        await channel.flush()
        if kind is ChannelType.MAIN:
            await self._begin(channel)
        elif screen is not None:
            await wait_for(channel, SurfaceCreated)
        self._channels[kind] = channel
        pump = self._group.create_task(self._pump(channel), name=f"headless {channel.name}")
        self._stack.callback(pump.cancel)

    async def _begin(self, main: Channel) -> None:
        init = (await wait_for(main, MainReady)).init
        self.offered = (await wait_for(main, ChannelsListed)).channels
        self.agent_connected = bool(init.agent_connected)
        self.mouse_mode = init.mouse_mode
        tls = main.wire.tls
        self.tls = (tls.version() or "") if tls is not None else ""
        self._number = init.session_id
        if init.supported_mouse_modes & MOUSE_CLIENT:
            main.client.send(ClientMain.MOUSE_MODE_REQUEST, MOUSE_MODE.pack(MOUSE_CLIENT))

    def _told(self, channel: Channel, events: list[Event]) -> None:
        at = asyncio.get_running_loop().time()
        for event in events:
            if isinstance(event, AgentChanged):
                self.agent_connected = event.connected
            elif isinstance(event, MouseMode):
                self.mouse_mode = event.current
            elif isinstance(event, Copied):
                self.copied = event.text
            for listener in tuple(self._listeners):
                listener(Heard(channel.kind, channel.number, event, at))

    async def _pump(self, channel: Channel) -> None:
        """Take what comes, until MAIN closes; another channel that closes takes only itself."""
        why = f"{channel.name}: the connection was closed"
        try:
            await channel.follow(partial(self._told, channel))
        except Unreachable as exc:
            why = exc.what
        if not self.ended.done():
            self.ended.set_result(why)


EVERYTHING: Final = frozenset({ChannelType.DISPLAY, ChannelType.INPUTS})


@contextlib.asynccontextmanager
async def opened(
    dial: Dial,
    ticket: str,
    *,
    channels: Collection[ChannelType] = EVERYTHING,
    clipboard: bool = False,
) -> AsyncIterator[Session]:
    """A session with MAIN and those of `channels` that are offered, open until the block ends.

    Args:
        ticket: The token of a .vv file, or the hypervisor's password.
        clipboard: Talk to the guest's agent, for texts; else it hears nothing of us.

    Raises:
        Refused: The ticket was not taken.
        Unreachable: Nobody answers, it is not who it should be, or it breaks the protocol.
    """
    async with unwrapped(), asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        session = Session(dial, ticket, group, stack, Clipboard() if clipboard else None)
        await session.open(ChannelType.MAIN)
        for kind in sorted(channels):
            if (kind, 0) in session.offered:
                await session.open(kind)
        yield session
