"""Walks over the message headers of one direction while the bytes pass through.

Nothing is collected: of each chunk it says how much may go on at once (cut-through). Only a
header that is not complete yet, the start of a body that a rule looks at, and the few messages
that are rewritten wait for the next chunk, in the caller's hands.

The loop runs once per message and is the hot spot of the relay: keep calls out of it.
"""

from dataclasses import dataclass
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.policy import Rules
from broker.spice.wire import Header

HELD_MAX: Final = 4096 + Header.FULL.size
"""The caller never has to keep more than this many bytes for the next chunk."""
_NO_SUCH_TYPE: Final = -1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a direction ended: the message that was refused. None of its bytes passed."""

    type: int
    size: int
    reason: str
    """Stable kebab-case: `type`, `size`, `content`, `sub-list`."""


class Inspector:
    """One direction of one channel, after the link stage.

    Give each chunk to `scan`, forward what it returns, and put `held` in front of the next chunk.
    Once `verdict` is set, forward what was returned and end the channel.
    """

    __slots__ = ("_checks", "_header", "_largest", "_left", "_mini", "_rules", "_slow",
                 "_smallest", "_swallowing", "forwarded", "held", "messages", "swallowed",
                 "verdict")  # fmt: skip

    def __init__(self, rules: Rules, *, mini: bool, held: bytes = b"") -> None:
        self._rules = rules
        self._mini = mini
        self._header = Header.MINI if mini else Header.FULL
        self._largest = rules.largest
        self._smallest = rules.smallest
        self._slow = frozenset(rules.checks) | frozenset(rules.rewrites) | rules.swallow
        self._left = 0
        self._swallowing = False
        self.held = held
        """Bytes of the last chunk to be given again, in front of the next; at most `HELD_MAX`."""
        self.verdict: Verdict | None = None
        self.messages = 0
        """Headers that were let through so far."""
        self.swallowed = 0
        """Messages that ended here by rule."""
        self.forwarded = 0
        """Bytes returned so far."""

    def scan(self, chunk: memoryview) -> memoryview | bytes:
        """What of `held + chunk` may be forwarded now.

        Args:
            chunk: `held` followed by new bytes; the caller may reuse it after forwarding.

        Returns:
            A slice of `chunk`, or new bytes when something in it was rewritten or swallowed.
        """
        size = len(chunk)
        position = self._left
        if position >= size and not self._swallowing:
            self._left = position - size
            self.held = b""
            self.forwarded += size
            return chunk
        if self._slow or self._swallowing or not self._mini:
            return self._scan_slowly(chunk)
        unpack, largest, smallest = self._header.unpack_from, self._largest, self._smallest
        last = size - 6
        messages = 0
        while position <= last:
            kind, body = unpack(chunk, position)
            if body > largest.get(kind, _NO_SUCH_TYPE) or (
                kind in smallest and body < smallest[kind]
            ):
                self._refuse(kind, body)
                break
            position += 6 + body
            messages += 1
        self.messages += messages
        if self.verdict is not None or position < size:
            self._left = 0
            self.held = bytes(chunk[position:]) if self.verdict is None else b""
            chunk = chunk[:position]
        else:
            self._left = position - size
            self.held = b""
        self.forwarded += len(chunk)
        return chunk

    def _refuse(self, kind: int, body: int, reason: str = "") -> None:
        known = "size" if kind in self._largest else "type"
        self.verdict = Verdict(kind, body, reason or known)

    def _scan_slowly(self, chunk: memoryview) -> memoryview | bytes:
        """The same with rules that need more than a header, or with full headers."""
        size = len(chunk)
        pieces: list[memoryview | bytes] = []
        start = position = 0  # chunk[start:position] is good and not yet in pieces
        if self._left:
            position = min(self._left, size)
            self._left -= position
            if self._swallowing:
                start = position
                self._swallowing = self._left > 0
        length = self._header.size
        while self.verdict is None and size - position >= length:
            header = Header.decode(bytes(chunk[position : position + length]), mini=self._mini)
            kind, body = header.type, header.size
            if not self._smallest.get(kind, 0) <= body <= self._largest.get(kind, _NO_SUCH_TYPE):
                self._refuse(kind, body)
                break
            if header.sub_list:
                self._refuse(kind, body, "sub-list")
                break
            after = position + length
            if (check := self._rules.checks.get(kind)) is not None:
                need = min(check.need, body)
                if size - after < need:
                    break
                if not check.accepts(bytes(chunk[after : after + need])):
                    self._refuse(kind, body, "content")
                    break
            if (rewrite := self._rules.rewrites.get(kind)) is not None:
                if size - after < body:
                    break
                try:
                    replaced = rewrite(bytes(chunk[after : after + body]))
                except RemoteProtocolError:
                    self._refuse(kind, body, "content")
                    break
                pieces.append(chunk[start:position])
                pieces.append(
                    Header(kind, len(replaced), header.serial).encode(mini=self._mini) + replaced
                )
                start = position = after + body
                self.messages += 1
                continue
            end = after + body
            if kind in self._rules.swallow:
                pieces.append(chunk[start:position])
                start = position = min(end, size)
                self._swallowing = end > size
                self.swallowed += 1
            else:
                position = min(end, size)
                self.messages += 1
            self._left = max(0, end - size)
        self.held = bytes(chunk[position:]) if self.verdict is None else b""
        passed: memoryview | bytes = chunk[start:position]
        if pieces:
            passed = b"".join([*pieces, passed])
        self.forwarded += len(passed)
        return passed
