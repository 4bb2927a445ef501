"""A buffer that straight-line generator code can wait on.

A step says `yield from stream.exactly(16)`; it is resumed by `next()` whenever bytes came in.
The caller checks every length against a named limit before it asks for it here.
"""

from collections.abc import Generator, Iterator

Steps = Generator[None, None, None]
"""A protocol's script: it pauses whenever it needs bytes or a decision."""
NO_STEPS: Iterator[None] = iter(())
"""Stands for a script that has ended, and does not keep what it knew."""
_NOTHING = memoryview(b"")
COPIED_ONCE_BYTES = 4096
"""From here on a view costs less than the second copy that a slice of a bytearray makes."""


class ByteStream:
    """Bytes as they came, handed out in the sizes the protocol has."""

    __slots__ = ("_buffer", "missing")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.missing = 0
        """Bytes that the waiting step can use, one at least; 0 when no step waits for bytes."""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append what a peer sent."""
        self._buffer += data

    def exactly(self, size: int, then: int = 0) -> Generator[None, None, bytes]:
        """Wait for `size` bytes and take them.

        Args:
            then: So many more are wanted by what comes next, and may be here with these.
        """
        while (lacking := size - len(self._buffer)) > 0:
            self.missing = lacking + then
            yield
        self.missing = 0
        if size < COPIED_ONCE_BYTES:
            taken = bytes(self._buffer[:size])
        else:
            with memoryview(self._buffer) as view, view[:size] as part:
                taken = bytes(part)
        del self._buffer[:size]
        return taken

    def skip(self, size: int) -> Steps:
        """Wait until `size` bytes have passed, keeping none of them."""
        while len(self._buffer) < size:
            size -= len(self._buffer)
            self._buffer.clear()
            self.missing = size
            yield
        self.missing = 0
        del self._buffer[:size]

    def rest(self) -> bytes:
        """Take everything that no step has asked for."""
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken


class LentStream:
    """The same for whoever is done with what is taken before more is fed: large pieces are lent.

    What lies in one piece in what was fed is handed out as a view of it, and not copied.
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
