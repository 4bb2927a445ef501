"""A buffer that straight-line generator code can wait on.

A step says `yield from stream.exactly(16)`; it is resumed by `next()` whenever bytes came in.
The caller checks every length against a named limit before it asks for it here.
"""

from collections.abc import Generator, Iterator

Steps = Generator[None, None, None]
"""A protocol's script: it pauses whenever it needs bytes or a decision."""
NO_STEPS: Iterator[None] = iter(())
"""Stands for a script that has ended, and does not keep what it knew."""
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
