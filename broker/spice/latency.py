"""What a relay can tell of a session's latency by looking on: no message is added, none delayed.

A server's PING passes, and later the viewer's PONG with the same number and time; a key goes down,
and later something is drawn. Whoever looks on has the clock; here is only what belongs to what.
"""

from collections.abc import Mapping
from typing import Final

from broker.spice.constants import Base, ClientBase, ClientInputs, Display

PING_BYTES: Final = 12
"""Number and time: what a PONG brings back."""
PING_BODY_MAX: Final = 1024
"""MAIN's third PING carries 256,000 zeros: how long that takes tells bandwidth, not latency."""
PINGS_WAITING_MAX: Final = 8
"""Beyond that the oldest is given up: a viewer may never answer."""
ANSWER_SECONDS: Final = 2.0
"""A drawing that comes later than this is no answer to a key."""

PINGS: Final[Mapping[int, int]] = {Base.PING: PING_BYTES}
PONGS: Final[Mapping[int, int]] = {ClientBase.PONG: PING_BYTES}
PRESSES: Final[Mapping[int, int]] = {
    ClientInputs.KEY_DOWN: 0,
    ClientInputs.KEY_SCANCODE: 2,
    ClientInputs.MOUSE_PRESS: 0,
}
DRAWINGS: Final[Mapping[int, int]] = dict.fromkeys(
    (
        Display.COPY_BITS,
        *range(Display.STREAM_CREATE, Display.STREAM_CLIP),
        *range(Display.DRAW_FILL, Display.SURFACE_CREATE),
        Display.STREAM_DATA_SIZED,
        Display.DRAW_COMPOSITE,
    ),
    0,
)
"""Messages to watch, and how many bytes of each have to be seen."""


class PingTimer:
    """One channel's PINGs that wait for their PONG. Times are seconds of any one clock."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[bytes, float] = {}

    def pinged(self, start: bytes, size: int, now: float) -> None:
        """A PING passed to the viewer.

        Args:
            start: The first `PING_BYTES` of its body.
            size: The size of its body.
        """
        if size > PING_BODY_MAX:
            return
        self._waiting[start] = now
        if len(self._waiting) > PINGS_WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]

    def ponged(self, start: bytes, now: float) -> float | None:
        """A PONG came back; how long that took, or None when no PING waits for it."""
        began = self._waiting.pop(start, None)
        return None if began is None else now - began


class AnswerTimer:
    """One display's wait for the next drawing after a key or button went down."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: float | None = None

    def pressed(self, at: float) -> bool:
        """Something was pressed; whether the next drawing is to be looked out for.

        What is pressed while an answer is waited for is not: the first one counts.
        """
        if self._since is not None and at - self._since <= ANSWER_SECONDS:
            return False
        self._since = at
        return True

    def drawn(self, now: float) -> float | None:
        """Something is drawn; how long that took, or None when it came too late for an answer."""
        since, self._since = self._since, None
        return None if since is None or now - since > ANSWER_SECONDS else now - since


def is_press(kind: int, start: bytes) -> bool:
    """Whether one of `PRESSES` is of a key or button that goes down, and not up again."""
    if kind != ClientInputs.KEY_SCANCODE:
        return True
    code = start[1:2] if start[:1] == b"\xe0" else start[:1]
    return bool(code) and code[0] < 0x80
