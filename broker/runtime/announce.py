"""How a child process tells the one that started it: ready, or why not.

One JSON line on an inherited descriptor: `{"ready": {…}}`, or `{"error": code, "what": …,
"fix": …}`.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from broker.errors import BrokerError

LINE_MAX = 65536
"""Bytes an announcement may have."""


def say_ready(descriptor: int | None, **facts: object) -> None:
    """Announce readiness and close the descriptor; nothing happens when there is none."""
    _say(descriptor, {"ready": facts})


def say_failed(descriptor: int | None, problem: BrokerError) -> None:
    """Announce why it will not become ready, and close the descriptor."""
    _say(descriptor, {"error": problem.code, "what": problem.what, "fix": problem.fix})


def _say(descriptor: int | None, document: dict[str, Any]) -> None:
    if descriptor is None:
        return
    try:
        os.write(descriptor, json.dumps(document).encode() + b"\n")
    except OSError:
        return  # whoever started us has gone; there is nobody left to tell
    finally:
        os.close(descriptor)


async def hear(descriptor: int) -> dict[str, Any] | None:
    """Wait for a child's announcement and close the descriptor.

    Returns:
        The document, or None when the child ended without a word.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_MAX)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        line = await reader.readline()
    finally:
        transport.close()
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def failure(document: dict[str, Any]) -> BrokerError:
    """The error a child announced, with its code."""
    problem = BrokerError(
        str(document.get("what", "It did not start")), fix=str(document.get("fix", ""))
    )
    problem.code = str(document.get("error", BrokerError.code))
    return problem
