"""The other end of TLS 1.3's records, by hand: it says what it likes, and opens what it is told."""

from __future__ import annotations

from broker.proxy.tls import TlsEnded, TlsFailed
from broker.proxy.tls_keys import SUITES, Direction, Suite
from broker.proxy.tls_records import RecordEngine

ALERT, HANDSHAKE, DATA = 21, 22, 23
AES_128 = "TLS_AES_128_GCM_SHA256"
FORGOTTEN = b"\xfe"
"""What was in a buffer before."""


class Peer:
    """A client after its handshake; `engine` is what it talks to."""

    def __init__(self, name: str = AES_128, early: bytes = b"") -> None:
        suite: Suite = SUITES[name]
        size = 48 if suite.digest == "sha384" else 32
        ours, theirs = b"c" * size, b"s" * size
        self.says = Direction(suite, ours)
        self.hears = Direction(suite, theirs)
        self.engine = RecordEngine(suite, ours, theirs, early)

    def record(self, said: bytes, kind: int = DATA, padding: int = 0) -> bytes:
        """The next one."""
        return self.sealed(said + bytes((kind,)) + bytes(padding))

    def sealed(self, inner: bytes) -> bytes:
        """The next one, of all that is encrypted in it."""
        says = self.says
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        number = says.iv ^ says.number
        says.number += 1
        return head + says.cipher.encrypt(number.to_bytes(12), inner, head)

    def update(self, *, asks: bool = False) -> bytes:
        """Take a new key, and tell."""
        said = self.record(bytes((24, 0, 0, 1, asks)), HANDSHAKE)
        self.says.update()
        return said

    def told(self, records: bytes | memoryview) -> list[tuple[int, bytes]]:
        """What kinds of records those are and what they say; all of it must be authentic."""
        heard, data = [], bytes(records)
        while data:
            hears, end = self.hears, 5 + int.from_bytes(data[3:5])
            number = hears.iv ^ hears.number
            hears.number += 1
            inner = hears.cipher.decrypt(number.to_bytes(12), data[5:end], data[:5])
            heard.append((inner[-1], inner[:-1]))
            if inner[-1] == HANDSHAKE:
                hears.update()
            data = data[end:]
        return heard

    def heard(self, said: bytes, room: int = 40_000) -> bytes:
        """What the engine makes of it, as a leg asks."""
        if said:
            self.engine.receive(said)
        return self.read(room)

    def read(self, room: int = 40_000) -> bytes:
        """What the engine gives up to the end, which is kept in `end`, or until it has no more."""
        view, read = memoryview(bytearray(FORGOTTEN * room)), b""
        try:
            while self.engine.has_more:
                read += view[: self.engine.read_into(view)]
        except (TlsEnded, TlsFailed) as exc:
            self.end = exc
        return read

    end: TlsEnded | TlsFailed | None = None

    def alert(self) -> int:
        """What the engine's last word was, as its number."""
        self.engine.close()  # says no more than was said
        (kind, said), *more = self.told(self.engine.take())[-1:]
        assert kind == ALERT
        assert not more
        return said[1]
