"""Holds the talk between a viewer and the guest's agent to what a link allows.

Agent messages travel inside MAIN's AGENT_DATA, cut into pieces. Each is passed or dropped whole,
as its bytes come: nothing is collected. Every piece costs a viewer a token, so it gets back from
here what a dropped one cost; the server needs none, because it was granted all at the start. What
one side says it can do is rewritten in passing, so that the other does not try what would be
dropped.

Source: spice-protocol 0.14.3 `spice/vd_agent.h`; spice-server 0.15.1 `agent-msg-filter.c`.
"""

import struct
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from broker.spice.constants import Main, caps_of
from broker.spice.errors import RemoteProtocolError
from broker.spice.wire import U32

MIB: Final = 1024 * 1024
MESSAGE_MAX: Final = 64 * 1024
"""Bytes of an agent message, but for the two kinds that carry somebody's data."""
CLIPBOARD_MAX: Final = 256 * MIB
"""spice-gtk stops at 100 MiB by default."""
FILE_DATA_MAX: Final = MIB
"""spice-gtk sends files in pieces of 64 KiB."""

ANSWERS_MAX: Final = 32
"""Answers that may wait for the guest to finish a message; a viewer has ten tokens."""


class AgentMessage(IntEnum):
    """Kinds of agent message."""

    MOUSE_STATE = 1
    MONITORS_CONFIG = 2
    REPLY = 3
    CLIPBOARD = 4
    DISPLAY_CONFIG = 5
    ANNOUNCE_CAPABILITIES = 6
    CLIPBOARD_GRAB = 7
    CLIPBOARD_REQUEST = 8
    CLIPBOARD_RELEASE = 9
    FILE_XFER_START = 10
    FILE_XFER_STATUS = 11
    FILE_XFER_DATA = 12
    CLIENT_DISCONNECTED = 13
    MAX_CLIPBOARD = 14
    AUDIO_VOLUME_SYNC = 15
    GRAPHICS_DEVICE_INFO = 16


class AgentCap(IntEnum):
    """What one side of the talk can do; the ones we have to know by name."""

    MONITORS_CONFIG = 1
    CLIPBOARD = 3
    DISPLAY_CONFIG = 4
    CLIPBOARD_BY_DEMAND = 5
    CLIPBOARD_SELECTION = 6
    SPARSE_MONITORS = 7
    GUEST_LINEEND_CRLF = 9
    MAX_CLIPBOARD = 10
    AUDIO_VOLUME_SYNC = 11
    MONITORS_POSITION = 12
    FILE_XFER_DISABLED = 13
    FILE_XFER_DETAILED_ERRORS = 14
    CLIPBOARD_NO_RELEASE = 16
    CLIPBOARD_GRAB_SERIAL = 17


class FileResult(IntEnum):
    """Results in FILE_XFER_STATUS that we answer with."""

    ERROR = 2
    DISABLED = 7
    """Only for viewers that announced FILE_XFER_DETAILED_ERRORS."""


AGENT_HEADER: Final = struct.Struct("<IIQI")
"""Protocol (1), kind, opaque, size of what follows."""
AGENT_PROTOCOL: Final = 1
_STATUS: Final = struct.Struct("<II")

CLIPBOARD_KINDS: Final = frozenset(
    {
        AgentMessage.CLIPBOARD,
        AgentMessage.CLIPBOARD_GRAB,
        AgentMessage.CLIPBOARD_REQUEST,
        AgentMessage.CLIPBOARD_RELEASE,
        AgentMessage.MAX_CLIPBOARD,
    }
)
FILE_KINDS: Final = frozenset(
    {
        AgentMessage.FILE_XFER_START,
        AgentMessage.FILE_XFER_STATUS,
        AgentMessage.FILE_XFER_DATA,
    }
)
TOUCHING_KINDS: Final = frozenset(
    {
        AgentMessage.MOUSE_STATE,
        AgentMessage.MONITORS_CONFIG,
        AgentMessage.DISPLAY_CONFIG,
        AgentMessage.AUDIO_VOLUME_SYNC,
        AgentMessage.GRAPHICS_DEVICE_INFO,
    }
)
"""What else a viewer changes in the guest: pointer, resolution, looks, volume."""
_KNOWN: Final = frozenset(AgentMessage)

_CLIPBOARD_CAPS: Final = caps_of(
    AgentCap.CLIPBOARD,
    AgentCap.CLIPBOARD_BY_DEMAND,
    AgentCap.CLIPBOARD_SELECTION,
    AgentCap.MAX_CLIPBOARD,
    AgentCap.CLIPBOARD_NO_RELEASE,
    AgentCap.CLIPBOARD_GRAB_SERIAL,
)
_TOUCHING_CAPS: Final = caps_of(
    AgentCap.MONITORS_CONFIG,
    AgentCap.DISPLAY_CONFIG,
    AgentCap.SPARSE_MONITORS,
    AgentCap.AUDIO_VOLUME_SYNC,
    AgentCap.MONITORS_POSITION,
)


@dataclass(frozen=True, slots=True)
class AgentRules:
    """What the two may talk about. Kinds that are not known are dropped under any of these."""

    clipboard: bool = True
    """Both directions."""
    file_transfer: bool = True
    touching: bool = True
    """Pointer, resolution, looks and volume of the guest."""

    @property
    def takes_anything_away(self) -> bool:
        """Whether there is anything to do."""
        return not (self.clipboard and self.file_transfer and self.touching)


class _Direction:
    """Where in its agent message one direction stands."""

    __slots__ = ("drops", "first", "kind", "left", "position")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.kind = 0
        self.left = 0
        """Bytes of the message still to come."""
        self.position = 0
        """Bytes of it that came, without its header."""
        self.drops = False
        self.first = b""
        """Its first bytes, of a message that we answer."""


class AgentFilter:
    """Both directions of the agent's talk in one session.

    Give it the bodies of MAIN's agent messages in the order of the wire and pass on what it
    returns, None meaning nothing; then send what is in `for_client`.
    """

    def __init__(self, rules: AgentRules) -> None:
        dropped: set[int] = set()
        cleared = 0
        if not rules.clipboard:
            dropped |= CLIPBOARD_KINDS
            cleared |= _CLIPBOARD_CAPS
        if not rules.file_transfer:
            dropped |= FILE_KINDS
        if not rules.touching:
            dropped |= TOUCHING_KINDS
            cleared |= _TOUCHING_CAPS
        self._passed: Collection[int] = _KNOWN - dropped
        self._answers_files = not rules.file_transfer
        self._cleared = _bytes(cleared)
        self._set = _bytes(0 if rules.file_transfer else caps_of(AgentCap.FILE_XFER_DISABLED))
        self._client = _Direction()
        self._server = _Direction()
        self._detailed = False
        self._answers: list[bytes] = []
        self.for_client: list[tuple[int, bytes]] = []
        """Messages of ours to the viewer, type and body; who sends them empties it."""
        self.dropped: Counter[str] = Counter()
        """Agent messages that ended here, by kind; whoever tells of them empties it."""

    # -- the viewer's side

    def client_start(self) -> None:
        """AGENT_START: the viewer begins anew."""
        self._client.reset()

    def client_data(self, body: bytes) -> bytes | None:
        """AGENT_DATA towards the guest.

        Raises:
            RemoteProtocolError: It is no piece of an agent message.
        """
        stream, head = self._client, self._begin(self._client, body)
        content = self._advance(stream, body[head:])
        if stream.drops:
            self.for_client.append((Main.AGENT_TOKEN, U32.pack(1)))
            if self._answers_files and stream.kind == AgentMessage.FILE_XFER_START:
                self._answer_start(stream, content)
            return None
        if stream.kind == AgentMessage.ANNOUNCE_CAPABILITIES:
            self._learn(stream.position - len(content), content)
            return body[:head] + self._announced(stream, content, b"")
        return body

    def _learn(self, offset: int, content: bytes) -> None:
        """Whether the viewer understands results beyond the first few."""
        byte, bit = divmod(AgentCap.FILE_XFER_DETAILED_ERRORS, 8)
        place = U32.size + byte - offset
        if 0 <= place < len(content):
            self._detailed = bool(content[place] >> bit & 1)

    def _answer_start(self, stream: _Direction, content: bytes) -> None:
        if len(stream.first) == U32.size:
            return
        stream.first += content[: U32.size - len(stream.first)]
        if len(stream.first) == U32.size:
            if len(self._answers) == ANSWERS_MAX:
                raise RemoteProtocolError(f"more than {ANSWERS_MAX} files begun at once")
            result = FileResult.DISABLED if self._detailed else FileResult.ERROR
            status = _STATUS.pack(U32.unpack(stream.first)[0], result)
            kind = AgentMessage.FILE_XFER_STATUS
            self._answers.append(AGENT_HEADER.pack(AGENT_PROTOCOL, kind, 0, len(status)) + status)
            self._say_answers()

    def _say_answers(self) -> None:
        """Once the viewer has got the guest's message whole, if it gets any of it."""
        if self._server.left and not self._server.drops:
            return
        for answer in self._answers:
            self.for_client.append((Main.AGENT_DATA, answer))
        self._answers.clear()

    # -- the guest's side

    def server_turn(self) -> None:
        """AGENT_CONNECTED, AGENT_CONNECTED_TOKENS or AGENT_DISCONNECTED: another talk begins."""
        self._server.reset()
        self._answers.clear()

    def server_data(self, body: bytes) -> bytes | None:
        """AGENT_DATA towards the viewer; raises as `client_data` does."""
        stream, head = self._server, self._begin(self._server, body)
        content = self._advance(stream, body[head:])
        if stream.drops:
            return None
        if self._answers:
            self._say_answers()
        if stream.kind == AgentMessage.ANNOUNCE_CAPABILITIES:
            return body[:head] + self._announced(stream, content, self._set)
        return body

    # -- both

    def _begin(self, stream: _Direction, body: bytes) -> int:
        """Bytes of this piece that are a message's header."""
        if stream.left:
            return 0
        if len(body) < AGENT_HEADER.size:
            raise RemoteProtocolError(f"an agent message begins with {len(body)} bytes")
        protocol, kind, _, size = AGENT_HEADER.unpack_from(body)
        if protocol != AGENT_PROTOCOL or size > largest(kind):
            raise RemoteProtocolError(
                f"agent message {kind} of {size} bytes, protocol {protocol}; expected protocol "
                f"{AGENT_PROTOCOL} and at most {largest(kind)} bytes"
            )
        stream.reset()
        stream.kind, stream.left = kind, size
        stream.drops = kind not in self._passed
        if stream.drops:
            self.dropped[name_of(kind)] += 1
        return AGENT_HEADER.size

    @staticmethod
    def _advance(stream: _Direction, content: bytes) -> bytes:
        if len(content) > stream.left:
            raise RemoteProtocolError(
                f"agent message {stream.kind} is {len(content) - stream.left} bytes too long"
            )
        stream.left -= len(content)
        stream.position += len(content)
        return content

    def _announced(self, stream: _Direction, content: bytes, also: bytes) -> bytes:
        """A piece of capabilities without what is dropped; one flag stands before the words."""
        offset = stream.position - len(content) - U32.size
        return bytes(
            byte & ~_at(self._cleared, place) | _at(also, place)
            for place, byte in enumerate(content, offset)
        )


def largest(kind: int) -> int:
    """Bytes that an agent message of that kind may have behind its header."""
    match kind:
        case AgentMessage.CLIPBOARD:
            return CLIPBOARD_MAX
        case AgentMessage.FILE_XFER_DATA:
            return FILE_DATA_MAX
        case _:
            return MESSAGE_MAX


def name_of(kind: int) -> str:
    """An agent message's kind as people read it."""
    if kind not in _KNOWN:
        return f"agent {kind}"
    return f"agent {AgentMessage(kind).name.lower().replace('_', '-')}"


def _bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _at(mask: bytes, place: int) -> int:
    return mask[place] if 0 <= place < len(mask) else 0
