"""Walks over the message headers of one direction while the bytes pass through.

Nothing is collected: of each chunk it says how much may go on at once (cut-through). Only a
header that is not complete yet, the start of a body that a rule looks at, and the few messages
that are rewritten wait for the next chunk, in the caller's hands.

The loop runs once per message and is the hot spot of the relay: keep calls out of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.spice.errors import RemoteProtocolError
from broker.spice.policy import Rules
from broker.spice.wire import Header

HELD_MAX: Final = 4096 + Header.FULL.size
"""The caller never has to keep more than this many bytes for the next chunk."""
RUN_MIN: Final = 12
"""Messages from which on a look at all of their headers at once is quicker than one at each."""
RUN_BYTES: Final = 16384
"""The least of a chunk in which a run is looked for: less costs little in any way."""
INSERTED_MAX: Final = 4096
"""Bytes of messages of ours that may wait for the end of one that passes."""
_NO_SUCH_TYPE: Final = -1
_unpack_mini: Final = Header.MINI.unpack_from
_MINI_BYTES: Final = Header.MINI.size
_NOTHING: Final[Mapping[tuple[str, int], int]] = {}
_UNWATCHED: Final = -1

Tell = Callable[[int, bytes, int], None]
"""Hears of a message that passes: its type, the start of its body, the size of its body."""


def _nobody(_kind: int, _start: bytes, _size: int) -> None:
    pass


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

    Args:
        warns: Let messages pass that break a rule which is not there for the machine's life, and
            count them.
    """

    __slots__ = ("_header", "_judged", "_largest", "_left", "_mini", "_rules", "_scanning",
                 "_serial", "_simple", "_smallest", "_swallowing", "_tell", "_waiting", "_warns",
                 "_watched", "forwarded", "held", "latest", "messages", "swallowed",
                 "verdict")  # fmt: skip

    def __init__(self, rules: Rules, *, mini: bool, held: bytes = b"", warns: bool = False) -> None:
        self._rules = rules
        self._warns = warns
        self._judged = _NOTHING
        self._serial = 0
        self._scanning = False
        self._waiting = b""
        self._mini = mini
        self._header = Header.MINI if mini else Header.FULL
        self._largest = rules.largest
        self._smallest = rules.smallest
        self._watched: Mapping[int, int] = {}
        self._tell: Tell = _nobody
        self._simple = mini and not rules.slow
        self._left = 0
        self._swallowing = False
        self.held = held
        """Bytes of the last chunk to be given again, in front of the next; at most `HELD_MAX`."""
        self.verdict: Verdict | None = None
        self.latest = 0
        """Where, in what `scan` returned last, the last message begins that begins in it; 0 when
        none does, or only at its start."""
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
        if self._simple and not position and size >= _MINI_BYTES and not self._waiting:
            kind, body = _unpack_mini(chunk)
            if body == size - _MINI_BYTES and (
                self._smallest.get(kind, 0) <= body <= self._largest.get(kind, _NO_SUCH_TYPE)
            ):  # one whole message, as what people type comes
                self.held = b""
                self.latest = 0
                self.messages += 1
                self.forwarded += size
                return chunk
        if position >= size and not self._swallowing and not self._waiting:
            self._left = position - size
            self.held = b""
            self.latest = 0
            self.forwarded += size
            return chunk
        if self._waiting or not self._simple:
            self._scanning = True
            try:
                return self._scan_slowly(chunk)
            finally:
                self._scanning = False
        unpack, largest_of, smallest = _unpack_mini, self._largest.get, self._smallest
        last = size - 6
        messages = latest = 0
        if size - position >= RUN_BYTES and (run := self._run(chunk, position)):
            messages, step = run
            position += messages * step
            latest = position - step
        while position <= last:
            kind, body = unpack(chunk, position)
            if body > largest_of(kind, _NO_SUCH_TYPE) or (
                smallest and body < smallest.get(kind, 0)
            ):
                if not self._passes(kind, body, chunk, position + 6):
                    break
                largest_of = self._largest.get
            latest = position
            position += 6 + body
            messages += 1
        self.messages += messages
        self.latest = latest
        if self.verdict is not None or position < size:
            self._left = 0
            self.held = bytes(chunk[position:]) if self.verdict is None else b""
            chunk = chunk[:position]
        else:
            self._left = position - size
            self.held = b""
        self.forwarded += len(chunk)
        return chunk

    def _run(self, chunk: memoryview, position: int) -> tuple[int, int] | None:
        """All messages that begin in the chunk from there on, when their headers are the same.

        Bulk comes so: sound, USB, video. Then one look at each of the six bytes, or at each two of
        them, is enough for all messages, at a few nanoseconds each in place of a hundred.

        Returns:
            How many there are, and from one to the next; None when they differ or do not pass.
        """
        kind, body = self._header.unpack_from(chunk, position)
        step = 6 + body
        count = (len(chunk) - position - 6) // step + 1
        if (
            count < RUN_MIN
            or chunk[position : position + 6] != chunk[position + step : position + step + 6]
            or not self._smallest.get(kind, 0) <= body <= self._largest.get(kind, _NO_SUCH_TYPE)
        ):
            return None
        headers = chunk[position : position + step * (count - 1) + 6]
        columns, stride = 6, step
        if not step % 2:
            headers, columns, stride = headers.cast("H"), 3, step // 2
        for at in range(columns):
            column = headers[at::stride]
            if bytes(column) != bytes(column[:1]) * count:
                return None
        return count, step

    def watch(self, kinds: Mapping[int, int], tell: Tell) -> None:
        """From the next message on, tell of each of these types that passes.

        Other messages cost nothing more: a watched type is taken for an odd one by the loop, and
        looked at where odd ones are. It may be called again at any time, also by `tell`.

        Args:
            kinds: Types, and how many bytes of the body `tell` has to see; a few, for until they
                are here the message waits.
        """
        self._watched = kinds
        self._tell = tell
        self._largest = self._rules.largest_without(kinds)

    def insert(self, kind: int, body: bytes) -> bytes:
        """A message of ours into this direction, between two that pass.

        Returns:
            What is to be sent now; nothing when `scan` will put it where it belongs.

        Raises:
            RemoteProtocolError: Too much waits already: the peer provokes more than it takes.
        """
        ours = Header(kind, len(body), self._serial).encode(mini=self._mini) + body
        if not self._scanning and (not self._left or self._swallowing):
            self.forwarded += len(ours)
            return ours
        self._waiting += ours
        if len(self._waiting) > INSERTED_MAX:
            raise RemoteProtocolError(f"{len(self._waiting)} bytes of ours wait to be sent")
        return b""

    def take_judged(self) -> Mapping[tuple[str, int], int]:
        """How many messages were `refused`, `warned` of or `dropped`, by type, since last asked."""
        judged, self._judged = self._judged, _NOTHING
        return judged

    def _judge(self, what: str, kind: int) -> None:
        judged = Counter(self._judged)
        judged[what, kind] += 1
        self._judged = judged

    def _passes(self, kind: int, body: int, chunk: memoryview, after: int) -> bool:
        """Whether a message that the loop stumbled over may go on; else it waits or is refused."""
        if not self._smallest.get(kind, 0) <= body <= self._rules.largest.get(kind, _NO_SUCH_TYPE):
            return self._lets_by(kind, body)
        need = min(self._watched[kind], body)
        if len(chunk) - after < need:
            return False
        self._tell(kind, bytes(chunk[after : after + need]) if need else b"", body)
        return True

    def _lets_by(self, kind: int, body: int) -> bool:
        """Whether a message that breaks the rules for types and sizes may pass all the same."""
        rules = self._rules
        if (
            self._warns
            and body <= rules.ceiling
            and kind not in rules.never
            and kind not in rules.checks
            and kind not in rules.rewrites
        ):
            self._judge("warned", kind)
            return True
        self._refuse(kind, body)
        return False

    def _refuse(self, kind: int, body: int, reason: str = "") -> None:
        known = "size" if kind in self._rules.largest else "type"
        self.verdict = Verdict(kind, body, reason or known)
        self._judge("refused", kind)

    def _scan_slowly(self, chunk: memoryview) -> memoryview | bytes:
        """The same with rules that need more than a header, or with full headers."""
        size = len(chunk)
        pieces: list[memoryview | bytes] = []
        start = position = 0  # chunk[start:position] is good and not yet in pieces
        self.latest = 0
        if self._left:
            position = min(self._left, size)
            self._left -= position
            if self._swallowing:
                start = position
                self._swallowing = self._left > 0
        length = self._header.size
        largest = self._rules.largest
        while self.verdict is None and size - position >= length:
            if self._waiting:
                pieces += (chunk[start:position], self._take_waiting())
                start = position
            header = Header.decode(bytes(chunk[position : position + length]), mini=self._mini)
            kind, body = header.type, header.size
            if not (
                self._smallest.get(kind, 0) <= body <= largest.get(kind, _NO_SUCH_TYPE)
                or self._lets_by(kind, body)
            ):
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
            watched = self._watched.get(kind, _UNWATCHED)
            if size - after < min(watched, body):
                break
            begins = sum(map(len, pieces)) + position - start
            if (rewrite := self._rules.rewrites.get(kind)) is not None:
                if size - after < body:
                    break
                try:
                    replaced = rewrite(bytes(chunk[after : after + body]))
                except RemoteProtocolError:
                    self._refuse(kind, body, "content")
                    break
                pieces.append(chunk[start:position])
                start = position = after + body
                self._serial = header.serial
                if replaced is None:
                    self.swallowed += 1
                    continue
                pieces.append(
                    Header(kind, len(replaced), header.serial).encode(mini=self._mini) + replaced
                )
                self.messages += 1
                self.latest = begins
                continue
            end = after + body
            if kind in self._rules.swallow:
                pieces.append(chunk[start:position])
                start = position = min(end, size)
                self._swallowing = end > size
                self.swallowed += 1
                if kind in self._rules.withheld:
                    self._judge("dropped", kind)
            else:
                if watched != _UNWATCHED:
                    self._tell(kind, bytes(chunk[after : after + min(watched, body)]), body)
                position = min(end, size)
                self.messages += 1
                self.latest = begins
            self._serial = header.serial
            self._left = max(0, end - size)
        self.held = bytes(chunk[position:]) if self.verdict is None else b""
        passed: memoryview | bytes = chunk[start:position]
        if self._waiting and (not self._left or self._swallowing) and self.verdict is None:
            pieces.append(passed)
            self.latest = sum(map(len, pieces))
            passed = self._take_waiting()
        if pieces:
            passed = b"".join([*pieces, passed])
        self.forwarded += len(passed)
        return passed

    def _take_waiting(self) -> bytes:
        waiting, self._waiting = self._waiting, b""
        return waiting
