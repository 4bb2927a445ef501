"""What relay workers on one port say to each other, and the wire they say it on.

A unix stream socket in our private runtime directory, one connection per later channel that
another worker than the session's owner took; one line per word: its name, a space, JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Final, cast, get_args

from pydantic import TypeAdapter

from broker.proxy.gate import Admission, Notice, Peer

log = logging.getLogger(__name__)

LINE_MAX: Final = 256 * 1024
"""Bytes of the longest word; a console's CA certificates are in one."""


@dataclass(frozen=True, slots=True)
class Join:
    """To the owner, first: a viewer wants this channel of that session."""

    connection_id: int
    channel: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Unknown:
    """From the owner: no such session lives here."""


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """From the owner: the gate refused; it is in the audit log."""

    reason: str
    text: str
    error: int


@dataclass(frozen=True, slots=True)
class Seated:
    """From the owner: the gate agreed."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "ser_json_bytes": "hex",
        "val_json_bytes": "hex",
    }

    admission: Admission
    backend_id: int


@dataclass(frozen=True, slots=True)
class Claim:
    """To the owner: the token was right, and the channel is to be opened."""


@dataclass(frozen=True, slots=True)
class Taken:
    """From the owner: that channel is open already."""


@dataclass(frozen=True, slots=True)
class Cross:
    """To the owner: a display's ticket is about to be sent. It waits for `Granted`."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """To the owner: SET_ACK is here, or the server closed."""


@dataclass(frozen=True, slots=True)
class Granted:
    """From the owner: yes to `Claim` or `Cross`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """From the owner: the session is over; let the channel go in the safe order."""

    reason: str


@dataclass(frozen=True, slots=True)
class MainClosed:
    """From the owner: MAIN's connection to the server is closed, the server closes the others."""


@dataclass(frozen=True, slots=True)
class Leave:
    """To the owner: this worker has to stop; end the session."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key went down: to the owner from who relays inputs, from it to who relays a display.

    The time is that of the monotonic clock, which all processes of a host share.
    """

    at: float


@dataclass(frozen=True, slots=True)
class BadToken:
    """To every other worker, alone on its connection: somebody there tried one."""

    host: str


Word = (
    Join
    | Unknown
    | NotAdmitted
    | Seated
    | Claim
    | Taken
    | Cross
    | Crossed
    | Granted
    | Ended
    | MainClosed
    | Leave
    | BadToken
    | Pressed
    | Notice
)
_KINDS: Final[dict[str, type]] = {kind.__name__: kind for kind in get_args(Word)}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[name])


def encoded(word: Word) -> bytes:
    """One line."""
    name = type(word).__name__
    return b"%b %b\n" % (name.encode(), _adapter(name).dump_json(word))


def decoded(line: bytes) -> Word:
    """What a line says.

    Raises:
        ValueError: It is no word of ours.
    """
    name, _, body = line.partition(b" ")
    if (known := name.decode(errors="replace")) not in _KINDS:
        raise ValueError(f"{known[:40]!r} is no word of ours")
    return cast("Word", _adapter(known).validate_json(body))


class Wire(asyncio.Protocol):
    """One connection between two workers; never blocks and never raises at its caller.

    Args:
        heard: Called with each word.
        lost: Called once, when the other side is gone or spoke nonsense.
    """

    def __init__(self, heard: Callable[[Word], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            for line in lines:
                self._heard(decoded(line))
        except ValueError as exc:
            log.error("a relay worker does not speak as we do: %s", exc)
            self.close()
        if len(self._rest) > LINE_MAX:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if exc is not None:
            self._hear_what_is_left()
        self._lost()

    def _hear_what_is_left(self) -> None:
        """Hear what the other side said before it hung up, and we only then spoke to it.

        asyncio reads no more once a write has failed, and its last words tell that a channel was
        closed, not that its worker died.
        """
        assert self._transport is not None
        end = self._transport.get_extra_info("socket").fileno()
        with contextlib.suppress(OSError):
            while data := os.read(end, LINE_MAX):
                self.data_received(data)

    def say(self, word: Word) -> None:
        """Say it, unless nobody listens any more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encoded(word))

    def close(self) -> None:
        """Hang up, once what was said is out."""
        if self._transport is not None:
            self._transport.close()
