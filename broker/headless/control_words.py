"""The control protocol's lines: requests checked, answers and events written.

Source: ryll, control-socket protocol 1.2.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Final

from broker.spice.wire import scancode

PROTOCOL: Final = "1.2"
EVENTS: Final = (
    "latency",
    "agent_connected",
    "paste_completed",
    "paste_failed",
    "dropped",
    "surface_drawn",
)
"""Those that can always be subscribed to; `dropped` also comes unasked."""


class RequestError(Exception):
    """A request that cannot be carried out; `code` is the protocol's word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def key_of(code: int) -> int:
    """A key as `Session.key` takes it, from a make code with its prefix high (0xE04B is left)."""
    extended = code >> 8 in (0xE0, 0xE1)
    return scancode(code & 0x7F, extended=extended)


def wallclock() -> int:
    """Microseconds since 1970, by this host's clock."""
    return time.time_ns() // 1000


def line(document: Mapping[str, object]) -> bytes:
    """One message."""
    return json.dumps(document).encode() + b"\n"


def failed(request: object, code: str, message: str) -> bytes:
    """The answer to a request that failed; without an id when it had none."""
    error = {"ok": False, "error": {"code": code, "message": message}}
    return line({"id": request, **error} if request is not None else error)


def text(params: Mapping[str, object], name: str) -> str:
    """A parameter that is a text; raises RequestError."""
    value = params.get(name)
    if not isinstance(value, str):
        raise RequestError("bad_params", f"{name} is a text")
    return value


def number(params: Mapping[str, object], name: str, largest: int) -> int:
    """A parameter that is a whole number from 0 on; raises RequestError."""
    value = params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise RequestError("bad_params", f"{name} is a number from 0 to {largest}")
    return value


def events(params: Mapping[str, object]) -> list[str]:
    """A parameter that is a list of events' names; raises RequestError."""
    value = params.get("events")
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RequestError("bad_params", "events is a list of names")
    return value
