"""A buffer that straight-line generator code can wait on.

A step says `yield from stream.exactly(16)`; it is resumed by `next()` whenever bytes came in.
The caller checks every length against a named limit before it asks for it here.
"""

from collections.abc import Generator

Steps = Generator[None, None, None]
"""A protocol's script: it pauses whenever it needs bytes or a decision."""
_NOTHING = memoryview(b"")


class LentStream:
    """Bytes as they came, handed out in the sizes the protocol has, and lent where they are large.

    For whoever is done with what is taken before more is fed: what lies in one piece in what was
    fed is handed out as a view of it, and not copied.
    """

    __slots__ = ("_kept", "_lent")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._lent = _NOTHING

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Lend what a peer sent to the steps that run next; what they leave is copied."""
        self._lent = memoryview(data)

    def exactly(self, size: int) -> Generator[None, None, memoryview]:
        """Wait for `size` bytes and take them; they are good until the next wait."""
        while len(self._kept) + len(self._lent) < size:
            self._kept += self._lent
            self._lent = _NOTHING
            yield
        if not self._kept:
            found, self._lent = self._lent[:size], self._lent[size:]
            return found
        missing = size - len(self._kept)
        self._kept += self._lent[:missing]
        self._lent = self._lent[missing:]
        found, self._kept = memoryview(self._kept), bytearray()
        return found

    def skip(self, size: int) -> Steps:
        """Wait until `size` bytes have passed, keeping none of them."""
        while len(self._lent) < size:
            size -= len(self._lent)
            self._lent = _NOTHING
            yield
        self._lent = self._lent[size:]
