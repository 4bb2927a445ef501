"""NOTIFY: a line of text from the server's side to whoever sits at a client.

What clients do with it is theirs: spice-gtk only logs it. Source: spice-protocol, spice.proto,
`msg_notify`; spice-gtk 0.42, `channel-base.c`.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from broker.spice.errors import RemoteProtocolError

_FIXED = struct.Struct("<QIIII")
MOST_BYTES = 2000
"""Of text; a line for a person, not a document."""


OF_ITS_OWN_LEG = "keyboard channel is insecure"
"""What spice-server says on MAIN when INPUTS comes without TLS. Behind a proxy that is the proxy's
leg: a hand-over on this host, or one that its administrator chose. A person cannot mend it."""
VISIBILITY_HIGH = 2
"""Meant for the person, not for a log."""


class Severity(IntEnum):
    """How bad it is."""

    INFO = 0
    WARN = 1
    ERROR = 2


class Notify(NamedTuple):
    """Body of the message; `time` is in nanoseconds of the sender's monotonic clock."""

    time: int
    severity: int
    visibility: int
    what: int
    text: str

    @property
    def for_people(self) -> bool:
        """Whether it is worth a person's attention."""
        return self.visibility == VISIBILITY_HIGH and self.text != OF_ITS_OWN_LEG

    @classmethod
    def decode(cls, body: bytes) -> "Notify":
        """From a whole body.

        Raises:
            RemoteProtocolError: It is shorter than it says.
        """
        if len(body) < _FIXED.size:
            raise RemoteProtocolError(f"NOTIFY of {len(body)} bytes")
        time, severity, visibility, what, length = _FIXED.unpack_from(body)
        if length > len(body) - _FIXED.size:
            raise RemoteProtocolError(f"NOTIFY with a text of {length} bytes that is not there")
        text = body[_FIXED.size : _FIXED.size + length].decode("utf-8", "replace")
        return cls(time, severity, visibility, what, text)

    def encode(self) -> bytes:
        """To a body: the text ends with a NUL that its length does not count."""
        text = self.text.encode()[:MOST_BYTES]
        fixed = _FIXED.pack(self.time, self.severity, self.visibility, self.what, len(text))
        return fixed + text + b"\0"


def to_people(text: str, time: int) -> bytes:
    """The body that tells people something: information, of high visibility.

    Args:
        time: Nanoseconds of a monotonic clock.
    """
    return Notify(time, Severity.INFO, VISIBILITY_HIGH, 0, text).encode()
