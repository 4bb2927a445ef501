"""TLS 1.3 after its handshake: records sealed and opened with what OpenSSL agreed upon (ADR 19).

A connection of OpenSSL keeps 22 kB for as long as it lives, copies each byte twice on its way
through memory, and tells the viewer of two tickets that it never uses. All that a record needs is
a key and a number for each direction; ciphers come from `cryptography`. RFC 8446: sections 5
(records), 4.6.3 (updates of keys), 6 (alerts).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag

from broker.proxy.tls import RECORDS_AT_ONCE, RECORDS_BYTES, TlsEnded, TlsFailed
from broker.proxy.tls_keys import Direction, Suite

PLAIN_MOST: Final = 16 * 1024
"""Bytes in one record."""
HEAD_BYTES: Final = 5
TAG_BYTES: Final = 16
GROWTH_BYTES: Final = HEAD_BYTES + 1 + TAG_BYTES
"""A record is so much longer than what is in it."""
SEALED_MAX: Final = RECORDS_BYTES - 16 * 1024
"""So many bytes surely fit into the shared buffer, as records."""
IDLE_RECORDS_MOST: Final = 32
"""Without a byte for us, in what is opened at once: each new key of a peer costs us 10 µs."""

_ALERT: Final = 21
_HANDSHAKE: Final = 22
_DATA: Final = 23
_DATA_KIND: Final = bytes((_DATA,))
_HEAD: Final = b"\x17\x03\x03"
_FULL_HEAD: Final = _HEAD + (PLAIN_MOST + 1 + TAG_BYTES).to_bytes(2)
_CIPHER_LEAST: Final = 1 + TAG_BYTES
_CIPHER_MOST: Final = PLAIN_MOST + _CIPHER_LEAST
_KEY_UPDATE: Final = b"\x18\x00\x00\x01"

_CLOSE_NOTIFY: Final = 0
_UNEXPECTED_MESSAGE: Final = 10
_BAD_RECORD_MAC: Final = 20
_RECORD_OVERFLOW: Final = 22
_ILLEGAL_PARAMETER: Final = 47
_USER_CANCELED: Final = 90

_records: Final = memoryview(bytearray(RECORDS_BYTES))
"""One buffer for all: what is sealed is sent before anything else runs."""
_piece: Final = memoryview(bytearray(PLAIN_MOST + 1))
"""For what nothing may be written behind."""


class RecordEngine:
    """One connection, from the end of its handshake on."""

    reads_at_once = 1  # each opens as many records as may be

    __slots__ = ("_answered", "_message", "_over", "_plain", "_said", "has_more", "inward",
                 "outward", "rest", "waiting")  # fmt: skip

    def __init__(self, suite: Suite, inward: bytes, outward: bytes, early: bytes = b"") -> None:
        """Take it over.

        Args:
            inward: The peer's first secret for data.
            outward: Ours.
            early: What came behind the peer's last word of the handshake.
        """
        self.inward = Direction(suite, inward)
        self.outward = Direction(suite, outward)
        self.rest = early
        """What came and was not opened yet: a part of a record, most often nothing."""
        self.waiting = b""
        """Records that go in front of the next."""
        self.has_more = bool(early)
        self._plain: memoryview | None = None  # opened, and not read
        self._message = b""  # a part of one that is for TLS itself
        self._answered = False  # what waits tells of our next key
        self._over: str | None = None  # why, for people; empty when the peer said goodbye
        self._said = False  # our last alert

    # -- what a leg asks

    def handshake(self) -> bool:
        """It is done."""
        return True

    def after_handshake(self) -> RecordEngine:
        """As it is."""
        return self

    def settle(self) -> None:
        """Nothing to give back."""

    def peer_certificate(self) -> bytes | None:
        """Viewers show none."""
        return None

    def receive(self, ciphertext: bytes | memoryview) -> None:
        """Take what came from the socket."""
        if len(ciphertext):
            self.rest += bytes(ciphertext)
            self.has_more = True

    def read_into(self, view: memoryview) -> int:
        """Open what there is; the count of bytes, or 0 when more ciphertext is needed."""
        if self._plain is None:
            source = memoryview(self.rest)
            self.rest = b""
            if len(view) >= len(source):
                return self.open(source, view)
            opened = memoryview(bytearray(len(source)))
            if not (count := self.open(source, opened)):
                return 0
            self._plain = opened[:count]
        plain = self._plain
        count = min(len(view), len(plain))
        view[:count] = plain[:count]
        self._plain = plain[count:] if count < len(plain) else None
        self.has_more = self._plain is not None or self._over is not None or bool(self.rest)
        return count

    def write(self, plain: bytes | memoryview) -> None:
        """Seal all of it, for what is sent next."""
        self.waiting = bytes(self.seal(plain))

    def take(self) -> bytes:
        """What is to be sent before all else."""
        waiting, self.waiting = self.waiting, b""
        self._answered = False
        return waiting

    def seal(self, plain: bytes | memoryview, latest: int = 0) -> bytes | memoryview:
        """Records to send; what begins at `latest`, if not 0, begins one. Good until the next."""
        if self._said:
            raise TlsFailed("a record cannot be written")
        if self.waiting or self.outward.number >= self.outward.most:
            if self.outward.number >= self.outward.most:
                self._update_outward()
            before = self.take()
            return before + bytes(self.seal(plain, latest))
        size = len(plain)
        if type(plain) is bytes and size <= PLAIN_MOST and not latest:
            return self._seal_bytes(plain) if size else b""
        out = _records if size <= SEALED_MAX else _room_for(size)
        if not latest:
            return out[: self._seal_into(out, memoryview(plain))]
        whole = memoryview(plain)
        filled = self._seal_into(out, whole[:latest])
        return out[: filled + self._seal_into(out[filled:], whole[latest:])]

    def close(self) -> None:
        """Say close_notify."""
        self._alert(1, _CLOSE_NOTIFY)

    # -- the hot paths

    def seal_little(self, buffer: memoryview, count: int) -> bytes | memoryview:
        """`seal` of the first `count` bytes; the one behind them, at most 16 kB on, is lost."""
        outward = self.outward
        number = outward.number
        if self.waiting or number >= outward.most or self._said:
            return self.seal(buffer[:count])
        outward.number = number + 1
        head = _HEAD + (count + _CIPHER_LEAST).to_bytes(2)
        buffer[count] = _DATA
        return head + outward.cipher.encrypt(
            (outward.iv ^ number).to_bytes(12), buffer[: count + 1], head
        )

    def open(self, source: memoryview, out: memoryview) -> int:
        """Open whole records in `source`, `RECORDS_AT_ONCE` at most, and keep the rest of it.

        Args:
            out: At least as long.

        Returns:
            How many bytes are in `out` now. What ends a connection is told once they are 0.

        Raises:
            TlsEnded: The peer said goodbye.
            TlsFailed: It broke the protocol, or somebody on the way did.
        """
        if self._over is not None:
            raise self._end()
        end = len(source)
        inward = self.inward
        at = filled = idle = 0
        left = RECORDS_AT_ONCE
        while (start := at + HEAD_BYTES) <= end:
            size = source[at + 3] << 8 | source[at + 4]
            after = start + size
            if source[at] != _DATA or not _CIPHER_LEAST <= size <= _CIPHER_MOST:
                self._fail(_RECORD_OVERFLOW if size > _CIPHER_MOST else _UNEXPECTED_MESSAGE)
                break
            if after > end:
                break
            number = inward.number
            last = filled + size - _CIPHER_LEAST
            try:
                inward.cipher.decrypt_into(
                    (inward.iv ^ number).to_bytes(12),
                    source[start:after],
                    source[at:start],
                    out[filled : last + 1],
                )
            except InvalidTag:
                out[filled : last + 1] = bytes(last + 1 - filled)  # it was decrypted all the same
                self._fail(_BAD_RECORD_MAC)
                break
            inward.number = number + 1
            at = after
            if out[last] == _DATA and last > filled and not self._message:
                filled = last
                if at == end:
                    break
            else:
                before, filled = filled, self._unusual(out, filled, last)
                if filled == before and (idle := idle + 1) > IDLE_RECORDS_MOST:
                    self._fail(_UNEXPECTED_MESSAGE)
                if self._over is not None:
                    break
            left -= 1
            if not left:
                break
        over = self._over is not None
        self.rest = bytes(source[at:]) if at < end and not over else b""
        self.has_more = over or (not left and at < end)
        if over and not filled:
            raise self._end()
        return filled

    # -- within

    def _seal_bytes(self, plain: bytes, kind: bytes = _DATA_KIND) -> bytes:
        """One record of it."""
        outward = self.outward
        number = outward.number
        outward.number = number + 1
        head = _HEAD + (len(plain) + _CIPHER_LEAST).to_bytes(2)
        return head + outward.cipher.encrypt((outward.iv ^ number).to_bytes(12), plain + kind, head)

    def _seal_into(self, out: memoryview, plain: memoryview) -> int:
        """Records of it; how many bytes they are."""
        outward, size = self.outward, len(plain)
        encrypt_into, iv, number = outward.cipher.encrypt_into, outward.iv, outward.number
        at = filled = 0
        if not plain.readonly:
            # The kind stands behind a record's bytes: where more of ours are, for as long as it
            # takes to encrypt.
            while at + PLAIN_MOST < size:
                end = at + PLAIN_MOST
                start = filled + HEAD_BYTES
                filled = start + PLAIN_MOST + _CIPHER_LEAST
                out[start - HEAD_BYTES : start] = _FULL_HEAD
                outward.number = number + 1  # before it is used: never twice, whatever happens
                behind, plain[end] = plain[end], _DATA
                try:
                    encrypt_into(
                        (iv ^ number).to_bytes(12),
                        plain[at : end + 1], _FULL_HEAD, out[start:filled],
                    )  # fmt: skip
                finally:
                    plain[end] = behind
                number += 1
                at = end
        while at < size:
            count = min(size - at, PLAIN_MOST)
            _piece[:count] = plain[at : at + count]
            filled += self._seal_piece(out[filled:], count)
            at += count
        return filled

    def _seal_piece(self, out: memoryview, count: int) -> int:
        """A record of the first bytes of `_piece`; how many bytes it is."""
        outward = self.outward
        _piece[count] = _DATA
        head = _HEAD + (count + _CIPHER_LEAST).to_bytes(2)
        after = count + GROWTH_BYTES
        out[:HEAD_BYTES] = head
        number = outward.number
        outward.number = number + 1
        outward.cipher.encrypt_into(
            (outward.iv ^ number).to_bytes(12), _piece[: count + 1], head, out[HEAD_BYTES:after]
        )
        return after

    def _say(self, kind: int, body: bytes) -> None:
        """Have a record for the peer's TLS sent next."""
        self.waiting += self._seal_bytes(body, bytes((kind,)))

    def _alert(self, level: int, description: int) -> None:
        if not self._said:
            self._say(_ALERT, bytes((level, description)))
            self._said = True

    def _fail(self, description: int) -> None:
        if self._over is None:
            self._alert(2, description)
            self._over = "a record cannot be read"

    def _end(self) -> TlsEnded | TlsFailed:
        """What to raise. A new one each time: it would keep the frames that it went through."""
        return TlsFailed(self._over) if self._over else TlsEnded()

    def _update_outward(self) -> None:
        """Tell the peer that the next key follows, and use it."""
        self._say(_HANDSHAKE, _KEY_UPDATE + b"\0")
        self.outward.update()

    def _unusual(self, out: memoryview, start: int, last: int) -> int:
        """A record that is padded, empty, or not data; where data ends now in `out`."""
        inner = bytes(out[start : last + 1]).rstrip(b"\0")
        kind, said = inner[-1] if inner else 0, inner[:-1]
        if kind == _DATA and not self._message:
            return start + len(said)
        if kind == _ALERT and len(said) == 2 and not self._message:
            self._hear_alert(said[1])
        elif kind == _HANDSHAKE and said:
            self._message += said
            self._hear_message()
        else:
            self._fail(_UNEXPECTED_MESSAGE)
        return start

    def _hear_alert(self, description: int) -> None:
        if description == _CLOSE_NOTIFY:
            self._over = ""
        elif description != _USER_CANCELED:
            self._said = True  # it listens no more
            self._over = f"the peer's TLS says {description}"

    def _hear_message(self) -> None:
        """Keys are all that may be spoken of; a message may come in parts, and ends its record."""
        said = self._message
        if said[:4] != _KEY_UPDATE[: len(said)] or len(said) > 5:
            self._fail(_UNEXPECTED_MESSAGE)
        elif len(said) == 5:
            self._message = b""
            if said[4] > 1:
                self._fail(_ILLEGAL_PARAMETER)
                return
            self.inward.update()
            # One answer for all that it asks before we send: else it could have us keep many.
            if said[4] and not self._answered and not self._said:
                self._answered = True
                self._update_outward()


def _room_for(size: int) -> memoryview:
    """A buffer for so many bytes as records."""
    return memoryview(bytearray(size + GROWTH_BYTES * (size // PLAIN_MOST + 3)))
