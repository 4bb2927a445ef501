"""A small client without a window: enough of SPICE to prove that a console works.

One `ChannelClient` is one connection. MAIN asks for the list of channels by itself; DISPLAY asks
for uncached, uncompressed pictures, reports surfaces and drawing, and keeps the picture when it is
given a `Screen`; INPUTS sends keys. MAIN exchanges text with the guest when it is given a
`Clipboard`. Pings and acknowledgements are answered here.

Source: spice-gtk 0.42; trials on QEMU 7.2.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from broker.spice.client_link import ClientLink, LinkAccepted, LinkOffered, LinkRefused
from broker.spice.clipboard import Clipboard
from broker.spice.constants import (
    COMMON_CAPS,
    MAIN_CAPS,
    MAX_SERVER_BODY,
    Base,
    ChannelType,
    ClientBase,
    ClientDisplay,
    ClientInputs,
    ClientMain,
    Compression,
    Display,
    DisplayCap,
    Main,
    caps_of,
)
from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.notify import Notify
from broker.spice.screen import Painted, Screen
from broker.spice.stream import LentStream, Steps
from broker.spice.ticket import seal
from broker.spice.wire import (
    U32,
    DisplayInit,
    Header,
    LinkMess,
    MainInit,
    SurfaceCreate,
    decode_channels,
    message,
    release_of,
)

KEPT_BODY_BYTES: Final = 4096
"""Of larger bodies only the start is kept: MAIN's network test sends 256 kB of zeros."""
CHANNEL_CAPS: Final = {
    ChannelType.MAIN: MAIN_CAPS,
    ChannelType.DISPLAY: caps_of(DisplayCap.MONITORS_CONFIG),
}


@dataclass(frozen=True, slots=True)
class Linked:
    """The ticket was accepted; messages flow."""


@dataclass(frozen=True, slots=True)
class MainReady:
    """MAIN INIT came; `init.session_id` is what other channels connect with."""

    init: MainInit


@dataclass(frozen=True, slots=True)
class ChannelsListed:
    """The channels this session may open."""

    channels: tuple[tuple[int, int], ...]
    """Type and id of each."""


@dataclass(frozen=True, slots=True)
class SurfaceCreated:
    """There is a surface to draw on."""

    surface: SurfaceCreate


@dataclass(frozen=True, slots=True)
class Pinged:
    """The server sent a PING; it is answered."""


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """The guest's agent came or went; how it is at first is in MAIN INIT."""

    connected: bool


@dataclass(frozen=True, slots=True)
class Copied:
    """Somebody in the guest copied a text, and here it is."""

    text: str


@dataclass(frozen=True, slots=True)
class MouseMode:
    """The pointer is told by its place (2) from now on, or by its movement (1)."""

    current: int


@dataclass(frozen=True, slots=True)
class Notified:
    """The server has something to say to the person."""

    notify: Notify


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Any other message that is not answered here; drawing without a `Screen`, for one."""

    type: int
    size: int


Event = (
    Linked
    | MainReady
    | ChannelsListed
    | SurfaceCreated
    | Painted
    | AgentChanged
    | Copied
    | MouseMode
    | Pinged
    | Notified
    | MessageReceived
    | LinkRefused
)


class ChannelClient:
    """One channel of a session, as a viewer has it: bytes in, events out, bytes to send.

    Args:
        channel_type: What to open.
        ticket: The password, at most 59 bytes.
        connection_id: 0 for MAIN; else the session id of MAIN INIT.
        channel_id: Which of several channels of this type.
        screen: Where a DISPLAY draws; without one no picture is kept.
        clipboard: What a MAIN talks to the guest's agent with; without one it does not.

    Never raises at its caller for what a server sent: `failure` is set.
    """

    def __init__(
        self,
        channel_type: ChannelType,
        ticket: bytes,
        *,
        connection_id: int = 0,
        channel_id: int = 0,
        screen: Screen | None = None,
        clipboard: Clipboard | None = None,
    ) -> None:
        self.channel_type = channel_type
        self._screen = screen
        self._clipboard = clipboard
        self.failure: RemoteProtocolError | None = None
        """What the server did wrong; close."""
        self.linked = False
        self.refusal: LinkRefused | None = None
        self._ticket = ticket
        self._link = ClientLink(
            LinkMess(
                connection_id,
                channel_type,
                channel_id,
                COMMON_CAPS,
                CHANNEL_CAPS.get(channel_type, 0),
            )
        )
        self._stream = LentStream()
        self._events: list[Event] = []
        self._outgoing = bytearray(self._link.data_to_send())
        self._serial = 0
        self._window = 0
        self._unacknowledged = 0
        self._steps = self._messages()

    @property
    def acknowledges(self) -> bool:
        """The server has told its window: it has set the channel up, and may be left."""
        return self._window > 0

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """Take bytes as they came; return what they completed, oldest first."""
        if self.failure is None and self.refusal is None:
            try:
                if not self.linked:
                    self._run_link(bytes(data))
                else:
                    self._stream.feed(data)
                if self.linked:
                    next(self._steps)
            except RemoteProtocolError as exc:
                self.failure = exc
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Take what is to go to the server."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, kind: int, body: bytes = b"") -> None:
        """Queue a message.

        Raises:
            LocalProtocolError: The link stage is not over.
        """
        if not self.linked:
            raise LocalProtocolError("messages follow the link stage")
        self._serial += 1
        mini = self._link.mini_header
        self._outgoing += message(kind, body, mini=mini, serial=self._serial)

    def press(self, code: int) -> None:
        """Queue a key's way down and up.

        Args:
            code: See `wire.scancode`.

        Raises:
            LocalProtocolError: The link stage is not over.
        """
        self.send(ClientInputs.KEY_DOWN, U32.pack(code))
        self.send(ClientInputs.KEY_UP, U32.pack(release_of(code)))

    def offer_text(self, text: str) -> None:
        """Offer a text to whoever pastes in the guest.

        Raises:
            LocalProtocolError: There is no clipboard, or the text is too long.
        """
        if self._clipboard is None:
            raise LocalProtocolError("nobody gave it a clipboard")
        self._clipboard.offer(text)
        self._say_to_agent(self._clipboard)

    def _run_link(self, data: bytes) -> None:
        for event in self._link.receive_data(data):
            if isinstance(event, LinkOffered):
                self._link.present(seal(self._ticket, event.reply.public_key))
            elif isinstance(event, LinkAccepted):
                self.linked = True
                self._events.append(Linked())
                self._stream.feed(self._link.trailing())
                if self.channel_type is ChannelType.DISPLAY:
                    self.send(ClientDisplay.INIT, DisplayInit().encode())
                    self.send(ClientDisplay.PREFERRED_COMPRESSION, bytes([Compression.OFF]))
            else:
                self.refusal = event
                self._events.append(event)
        if self._link.failure is not None:
            raise self._link.failure
        self._outgoing[:0] = self._link.data_to_send()

    def _messages(self) -> Steps:
        mini = self._link.mini_header
        while True:
            head = yield from self._stream.exactly(Header.length(mini=mini))
            header = Header.decode(bytes(head), mini=mini)
            if header.size > MAX_SERVER_BODY:
                raise RemoteProtocolError(
                    f"a message of {header.size} bytes, expected at most {MAX_SERVER_BODY}"
                )
            yield from self._message(header)

    def _message(self, header: Header) -> Generator[None, None, None]:
        keep = KEPT_BODY_BYTES if self._screen is None else header.size
        body = yield from self._stream.exactly(min(header.size, keep))
        yield from self._stream.skip(header.size - len(body))
        if header.type == Base.SET_ACK:
            generation, self._window = _two(bytes(body))
            self._unacknowledged = 0
            self.send(ClientBase.ACK_SYNC, U32.pack(generation))
            return
        self._unacknowledged += 1
        if self._window and self._unacknowledged >= self._window:
            self._unacknowledged = 0
            self.send(ClientBase.ACK)
        if header.type == Base.PING:
            self.send(ClientBase.PONG, bytes(body[:12]))
            self._events.append(Pinged())
        else:
            painted = self._screen.receive(header.type, body) if self._screen else None
            self._events.append(painted or self._understand(header, bytes(body)))
        if self._clipboard is not None and self.channel_type is ChannelType.MAIN:
            self._hear_agent(self._clipboard, header.type, bytes(body))

    def _hear_agent(self, clipboard: Clipboard, kind: int, body: bytes) -> None:
        match kind:
            case Main.INIT if len(body) == MainInit.SIZE:
                init = MainInit.decode(body)
                if init.agent_connected:
                    clipboard.connected(init.agent_tokens)
            case Main.AGENT_CONNECTED_TOKENS if len(body) == U32.size:
                clipboard.connected(*U32.unpack(body))
            case Main.AGENT_DISCONNECTED:
                clipboard.disconnected()
            case Main.AGENT_TOKEN if len(body) == U32.size:
                clipboard.granted(*U32.unpack(body))
            case Main.AGENT_DATA:
                if (text := clipboard.receive(body)) is not None:
                    self._events.append(Copied(text))
        self._say_to_agent(clipboard)

    def _say_to_agent(self, clipboard: Clipboard) -> None:
        said, clipboard.outgoing = clipboard.outgoing, []
        for kind, body in said:
            self.send(kind, body)

    def _understand(self, header: Header, body: bytes) -> Event:
        match self.channel_type, header.type:
            case ChannelType.MAIN, Main.INIT if len(body) == MainInit.SIZE:
                self.send(ClientMain.ATTACH_CHANNELS)
                return MainReady(MainInit.decode(body))
            case ChannelType.MAIN, Main.CHANNELS_LIST:
                return ChannelsListed(decode_channels(body))
            case ChannelType.MAIN, Main.AGENT_CONNECTED | Main.AGENT_CONNECTED_TOKENS:
                return AgentChanged(connected=True)
            case ChannelType.MAIN, Main.AGENT_DISCONNECTED:
                return AgentChanged(connected=False)
            case ChannelType.MAIN, Main.MOUSE_MODE if len(body) == U32.size:
                return MouseMode(int.from_bytes(body[2:], "little"))
            case ChannelType.DISPLAY, Display.SURFACE_CREATE if len(body) == SurfaceCreate.SIZE:
                return SurfaceCreated(SurfaceCreate.decode(body))
            case _, Base.NOTIFY:
                return Notified(Notify.decode(body))
            case _:
                return MessageReceived(header.type, header.size)


def _two(body: bytes) -> tuple[int, int]:
    if len(body) != 2 * U32.size:
        raise RemoteProtocolError(f"an acknowledgement window in {len(body)} bytes")
    return U32.unpack_from(body)[0], U32.unpack_from(body, U32.size)[0]
