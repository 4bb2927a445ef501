"""Text between a viewer's clipboard and the guest's, through the guest's agent: the viewer's side.

Bodies of MAIN's AGENT_DATA go in, texts come out; what is to be sent stands in `outgoing`. Only
text of the clipboard proper travels, and only when somebody wants it: what the guest offers is
fetched at once, what is offered to the guest goes when it asks for it. Each piece costs a token;
pieces wait for theirs here.

Source: spice-protocol 0.14.3 `spice/vd_agent.h`; spice-gtk 0.42 `channel-main.c`.
"""

from collections import deque
from typing import Final

from broker.spice.agent import AGENT_HEADER, AGENT_PROTOCOL, AgentCap, AgentMessage, largest
from broker.spice.constants import ClientMain, caps_of
from broker.spice.errors import LocalProtocolError, RemoteProtocolError
from broker.spice.wire import U32

TEXT_MAX: Final = 1024 * 1024
"""Bytes of a text, either way; the guest's are passed over when they are longer."""
PIECE_MAX: Final = 2048
"""Bytes of one AGENT_DATA."""
_TOKENS_FOR_SERVER: Final = 0xFFFFFFFF
"""Unlimited, as spice-gtk has it."""
_TEXT: Final = U32.pack(1)
_CLIPBOARD: Final = bytes(4)
"""Which of the guest's selections: the clipboard, and three bytes of padding."""
_CAPS: Final = caps_of(AgentCap.CLIPBOARD_BY_DEMAND, AgentCap.CLIPBOARD_SELECTION)


class Clipboard:
    """The talk with the agent of one session's guest."""

    def __init__(self) -> None:
        self.outgoing: list[tuple[int, bytes]] = []
        """Messages for MAIN, type and body; who sends them empties it."""
        self._caps = 0
        """What the agent can do; nothing before it has said so."""
        self._tokens = 0
        self._waiting: deque[bytes] = deque()
        self._offered: str | None = None
        self._kind = 0
        self._left = 0
        """Bytes of the guest's message that are still to come."""
        self._content = bytearray()

    def connected(self, tokens: int) -> None:
        """The agent is there: begin the talk.

        Args:
            tokens: Pieces that may be sent before more are granted.
        """
        self.disconnected()
        self._tokens = tokens
        self.outgoing.append((ClientMain.AGENT_START, U32.pack(_TOKENS_FOR_SERVER)))
        self._announce(wants_reply=True)

    def disconnected(self) -> None:
        """The agent has gone; what was on its way to it is lost."""
        self._caps = self._left = 0
        self._waiting.clear()
        self._content.clear()

    def granted(self, tokens: int) -> None:
        """The server lets us send that many more pieces."""
        self._tokens += tokens
        self._send()

    def offer(self, text: str) -> None:
        """Have the guest know that there is a text to paste; another takes its place.

        Raises:
            LocalProtocolError: It is longer than `TEXT_MAX`.
        """
        if len(text.encode(errors="replace")) > TEXT_MAX:
            raise LocalProtocolError(f"a text of more than {TEXT_MAX} bytes")
        self._offered = text
        if self._caps & caps_of(AgentCap.CLIPBOARD_BY_DEMAND):
            self._say(AgentMessage.CLIPBOARD_GRAB, self._selection + _TEXT)

    def receive(self, body: bytes) -> str | None:
        """Take a piece of what the agent says; a text, when that completes one.

        Raises:
            RemoteProtocolError: It is no piece of an agent message.
        """
        if not self._left:
            body = self._begin(body)
        if len(body) > self._left:
            raise RemoteProtocolError(f"an agent message is {len(body) - self._left} bytes longer")
        self._left -= len(body)
        if len(self._content) <= TEXT_MAX:
            self._content += body
        return None if self._left else self._understand(self._kind, bytes(self._content))

    # -- the guest's side

    def _begin(self, body: bytes) -> bytes:
        if len(body) < AGENT_HEADER.size:
            raise RemoteProtocolError(f"an agent message begins with {len(body)} bytes")
        protocol, self._kind, _, self._left = AGENT_HEADER.unpack_from(body)
        if protocol != AGENT_PROTOCOL or self._left > largest(self._kind):
            raise RemoteProtocolError(f"agent message {self._kind} of {self._left} bytes")
        self._content.clear()
        return body[AGENT_HEADER.size :]

    def _understand(self, kind: int, content: bytes) -> str | None:
        match kind:
            case AgentMessage.ANNOUNCE_CAPABILITIES if len(content) >= 2 * U32.size:
                self._learn(content)
            case AgentMessage.CLIPBOARD_GRAB:
                if _holds_text(self._mine(content)):
                    self._say(AgentMessage.CLIPBOARD_REQUEST, self._selection + _TEXT)
            case AgentMessage.CLIPBOARD_REQUEST:
                if self._mine(content) == _TEXT and self._offered is not None:
                    offered = self._line_ends(self._offered).encode(errors="replace")
                    self._say(AgentMessage.CLIPBOARD, self._selection + _TEXT + offered)
            case AgentMessage.CLIPBOARD:
                held = self._mine(content)
                if held is not None and held[: U32.size] == _TEXT and len(content) <= TEXT_MAX:
                    text = held[U32.size :].decode(errors="replace")
                    return text.replace("\r\n", "\n") if self._has_crlf else text
        return None

    def _learn(self, content: bytes) -> None:
        wants_reply = U32.unpack_from(content)[0]
        before = self._caps
        self._caps = int.from_bytes(content[U32.size :], "little")
        if wants_reply:
            self._announce(wants_reply=False)
        if self._offered is not None and not before:  # it was offered before anybody could hear
            self.offer(self._offered)

    def _mine(self, content: bytes) -> bytes | None:
        """What follows the selection, when that is the clipboard."""
        if not self._selection:
            return content
        return content[len(_CLIPBOARD) :] if content[:1] == _CLIPBOARD[:1] else None

    # -- our side

    @property
    def _selection(self) -> bytes:
        return _CLIPBOARD if self._caps & caps_of(AgentCap.CLIPBOARD_SELECTION) else b""

    @property
    def _has_crlf(self) -> bool:
        return bool(self._caps & caps_of(AgentCap.GUEST_LINEEND_CRLF))

    def _line_ends(self, text: str) -> str:
        return text.replace("\n", "\r\n") if self._has_crlf else text

    def _announce(self, *, wants_reply: bool) -> None:
        self._say(AgentMessage.ANNOUNCE_CAPABILITIES, U32.pack(wants_reply) + U32.pack(_CAPS))

    def _say(self, kind: int, content: bytes) -> None:
        """Queue a message in pieces; a new message begins a new piece.

        Who grants no tokens and goes on asking is not answered.
        """
        if len(self._waiting) > TEXT_MAX // PIECE_MAX:
            return
        data = AGENT_HEADER.pack(AGENT_PROTOCOL, kind, 0, len(content)) + content
        self._waiting += (data[at : at + PIECE_MAX] for at in range(0, len(data), PIECE_MAX))
        self._send()

    def _send(self) -> None:
        while self._waiting and self._tokens:
            self._tokens -= 1
            self.outgoing.append((ClientMain.AGENT_DATA, self._waiting.popleft()))


def _holds_text(kinds: bytes | None) -> bool:
    kinds = kinds or b""
    return any(kinds[at : at + U32.size] == _TEXT for at in range(0, len(kinds), U32.size))
