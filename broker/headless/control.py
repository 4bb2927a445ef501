"""A control socket on a headless session: ryll's protocol 1.2, so that its clients run unchanged.

One client at a time; whoever comes second is told `busy`. The socket is ours alone (mode 0600).
Events wait in a queue of bounded length; the oldest are dropped, and their number is told.

Source: ryll, control-socket protocol 1.2.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, Unreachable, UsageError
from broker.headless import control_words as words
from broker.headless import digest
from broker.headless.control_socket import bound, remove
from broker.headless.session import AGENT, Heard, Session
from broker.png import encode_png
from broker.spice.client import AgentChanged, Pinged
from broker.spice.screen import Painted

QUEUE_EVENTS: Final = 256
MAX_REQUEST: Final = 1024 * 1024
PASTE_DELAY_MS: Final = 10
Typing = Callable[[str], Sequence[Sequence[int]]]
"""The make codes to press together for each character of a text.

Raises:
    UsageError: A character has no key.
"""


class ControlServer:
    """Serves one session; made by `serving`.

    Args:
        typing: How text becomes keys, for `paste`.
    """

    def __init__(self, session: Session, typing: Typing) -> None:
        self._session = session
        self._typing = typing
        self._begin = asyncio.get_running_loop().time()
        self._client: _Client | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._pinged: float | None = None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it closes."""
        try:
            if self._client is not None:
                busy = words.failed(None, "busy", "another client is connected")
                writer.write(busy)
                with contextlib.suppress(OSError):
                    await writer.drain()
                return
            self._client = client = _Client(self._session, self._typing, reader, writer)
            self._free.clear()
            try:
                await client.run()
            finally:
                self._client = None
                self._free.set()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Hang up on the client, and wait until it is let go."""
        if self._client is not None:
            self._client.hang_up()
        await self._free.wait()

    def hear(self, heard: Heard) -> None:
        """Tell the client of an event of the session, when it wants to know."""
        event = heard.event
        if isinstance(event, Painted):
            data: dict[str, object] = {
                "display_channel_id": heard.number,
                "surface_id": event.surface,
                "produced_at_secs": heard.at - self._begin,
                "wallclock_us": words.wallclock(),
            }
            self._tell("surface_drawn", data)
        elif isinstance(event, Pinged):
            self._ping(heard.at)
        elif isinstance(event, AgentChanged):
            self._tell("agent_connected", {"connected": event.connected})

    def _ping(self, at: float) -> None:
        """Tell the time between two of the server's PINGs."""
        before, self._pinged = self._pinged, at
        if before is not None:
            since = (at - before) * 1000
            self._tell("latency", {"sample_ms": since, "wallclock_us": words.wallclock()})

    def _tell(self, event: str, data: dict[str, object]) -> None:
        if self._client is not None:
            self._client.tell(event, data)


class _Client:
    """One connection."""

    def __init__(
        self,
        session: Session,
        typing: Typing,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._session, self._typing = session, typing
        self._reader, self._writer = reader, writer
        self._wanted: set[str] = set()
        self._events = (*words.EVENTS, digest.EVENT) if digest.available() else words.EVENTS
        self._greeted = False
        self._open = True
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._stirred = asyncio.Event()
        self._methods: dict[str, Callable[[dict[str, object]], Awaitable[dict[str, object]]]] = {
            "hello": self._hello,
            "status": self._status,
            "send_key": self._send_key,
            "paste": self._paste,
            "screenshot": self._screenshot,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }
        self._group: asyncio.TaskGroup | None = None
        self._pasting: set[asyncio.Task[None]] = set()
        self._keyboard = asyncio.Lock()
        """Texts are typed one after the other, in the order they came."""
        self._request: object = None

    async def run(self) -> None:
        """Answer requests until the client leaves or the session ends."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            telling = group.create_task(self._send_events(), name="control events")
            looking = group.create_task(self._look(), name="control digest")
            try:
                with contextlib.suppress(OSError):  # it has left in the middle of something
                    await self._answer_all()
            finally:
                self._open = False
                telling.cancel()
                looking.cancel()
                for pasting in self._pasting:
                    pasting.cancel()

    def hang_up(self) -> None:
        """Answer nothing more; a client that does not read holds nobody up."""
        self._open = False
        self._writer.transport.abort()

    def tell(self, event: str, data: dict[str, object]) -> None:
        """Queue an event that was subscribed to; the oldest makes room."""
        if event not in self._wanted or not self._open:
            return
        if len(self._queue) >= QUEUE_EVENTS:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(words.line({"event": event, "data": data}))
        self._stirred.set()

    async def _look(self) -> None:
        """Tell of digests on the screen, where they can be read."""

        def tell(found: digest.Digest) -> None:
            data: dict[str, object] = {
                "frame_counter": found.frame,
                "framebuffer_hash": found.framebuffer_hash,
                "events": found.events,
                "wallclock_us": words.wallclock(),
            }
            self.tell(digest.EVENT, data)

        if digest.EVENT in self._events:
            await digest.watch(self._session, lambda: digest.EVENT in self._wanted, tell)

    async def _send_events(self) -> None:
        with contextlib.suppress(OSError):  # it has left: `_answer_all` finds that out
            while True:
                await self._stirred.wait()
                self._stirred.clear()
                while self._queue or self._dropped:
                    await self._send_one()

    async def _send_one(self) -> None:
        """The oldest event, and before it how many older ones there were no room for."""
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._writer.write(words.line({"event": "dropped", "data": {"count": count}}))
        if self._queue:
            self._writer.write(self._queue.popleft())
        await self._writer.drain()

    async def _answer_all(self) -> None:
        while self._open:
            try:
                line = await self._reader.readline()
            except ValueError:  # a line without an end
                self._writer.write(words.failed(None, "bad_params", "a request is too long"))
                return
            if not line:
                return
            self._writer.write(await self._answer(line))
            await self._writer.drain()

    async def _answer(self, line: bytes) -> bytes:
        number: object = None
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise words.RequestError("bad_params", "a request is an object")
            number = request.get("id")
            if not isinstance(number, int | str) or isinstance(number, bool):
                number = None
                raise words.RequestError("bad_params", "id is a number or a text")
            method, params = request.get("method"), request.get("params")
            if not isinstance(method, str) or not isinstance(params, dict):
                raise words.RequestError("bad_params", "a request has method and params")
            if not self._greeted and method != "hello":
                raise words.RequestError("no_hello_yet", "hello comes first")
            if method not in self._methods:
                raise words.RequestError("unknown_method", f"there is no method {method}")
            self._request = number
            return words.line(
                {"id": number, "ok": True, "result": await self._methods[method](params)}
            )
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            return words.failed(number, "bad_params", "a request is one line of JSON")
        except words.RequestError as exc:
            return words.failed(number, exc.code, str(exc))
        except Unreachable as exc:
            return words.failed(number, "internal_error", exc.what)

    # -- the methods

    async def _hello(self, params: dict[str, object]) -> dict[str, object]:
        words.text(params, "client_name")
        version = words.text(params, "protocol_version")
        if version.partition(".")[0] != words.PROTOCOL.partition(".")[0]:
            self._open = False
            raise words.RequestError(
                "protocol_version_mismatch", f"this is {words.PROTOCOL}, not {version[:20]}"
            )
        self._greeted = True
        return {
            "server_name": "broker",
            "protocol_version": words.PROTOCOL,
            "supported_methods": list(self._methods),
            "supported_events": list(self._events),
        }

    async def _status(self, _: dict[str, object]) -> dict[str, object]:
        return {
            "spice_connected": not self._session.ended.done(),
            "agent_connected": self._session.agent_connected,
            "surfaces": [
                {"channel_id": 0, "surface_id": number, "width": width, "height": height}
                for number, (width, height) in self._session.screen.surfaces.items()
            ],
        }

    async def _send_key(self, params: dict[str, object]) -> dict[str, object]:
        code, state = words.number(params, "scancode", 0xFFFF), words.text(params, "state")
        if state not in ("down", "up", "press"):
            raise words.RequestError(
                "bad_state", f"a key goes down, up or is a press, not {state[:20]}"
            )
        key = words.key_of(code)
        if state != "up":
            await self._session.key(key, down=True)
        if state != "down":
            await self._session.key(key, down=False)
        return {}

    async def _paste(self, params: dict[str, object]) -> dict[str, object]:
        text = words.text(params, "text")
        delay = params.get("char_delay_ms")
        pause = (
            PASTE_DELAY_MS if delay is None else words.number(params, "char_delay_ms", 2**32 - 1)
        )
        if not self._session.agent_connected:
            raise words.RequestError("agent_not_connected", "the guest's agent is not connected")
        assert self._group is not None
        typing = self._type(self._request, text, pause / 1000)
        pasting = self._group.create_task(typing, name="control paste")
        self._pasting.add(pasting)
        pasting.add_done_callback(self._pasting.discard)
        return {}

    async def _type(self, request: object, text: str, pause: float) -> None:
        try:
            keys = self._typing(text)
            async with self._keyboard:
                for chord in keys:
                    await self._strike(chord)
                    await asyncio.sleep(pause)
        except BrokerError as exc:
            self.tell("paste_failed", {"request_id": request, "reason": exc.what})
        else:
            self.tell("paste_completed", {"request_id": request, "chars_sent": len(text)})

    async def _strike(self, chord: Sequence[int]) -> None:
        """Press keys together and let them go, in whatever state that ends."""
        if not self._session.agent_connected:
            raise UsageError("the guest's agent has gone", fix=AGENT)
        held = []
        try:
            for code in chord:
                await self._session.key(code, down=True)
                held.append(code)
        finally:
            for code in reversed(held):
                await self._session.key(code, down=False)

    async def _screenshot(self, params: dict[str, object]) -> dict[str, object]:
        surface = params.get("surface_id")
        number = 0 if surface is None else words.number(params, "surface_id", 2**32 - 1)
        form = params.get("format") or "png"
        if form not in ("png", "rgba"):
            raise words.RequestError("unsupported_format", "a picture is png or rgba")
        picture = self._session.screen.picture(number)
        if picture is None:
            raise words.RequestError("no_such_surface", f"there is no surface {number}")
        rgb = picture.rgb()
        if form == "png":
            content = await asyncio.to_thread(encode_png, rgb, picture.width, picture.height)
        else:
            rgba = bytearray(b"\xff") * (picture.width * picture.height * 4)
            for place in range(3):
                rgba[place::4] = rgb[place::3]
            content = bytes(rgba)
        return {
            "width": picture.width,
            "height": picture.height,
            "format": form,
            "data_base64": base64.b64encode(content).decode(),
        }

    async def _subscribe(self, params: dict[str, object]) -> dict[str, object]:
        accepted = [event for event in words.events(params) if event in self._events]
        self._wanted |= set(accepted)
        return {"subscribed": accepted}

    async def _unsubscribe(self, params: dict[str, object]) -> dict[str, object]:
        removed = [event for event in dict.fromkeys(words.events(params)) if event in self._wanted]
        self._wanted -= set(removed)
        return {"unsubscribed": removed}


@contextlib.asynccontextmanager
async def serving(session: Session, path: Path, typing: Typing) -> AsyncIterator[ControlServer]:
    """Serve the control socket at `path` until the block ends; a stale one is replaced.

    Raises:
        UsageError: The path is too long, is no socket, or somebody serves there.
        StoreError: The socket cannot be made.
    """
    listener = bound(path)
    server = ControlServer(session, typing)
    try:
        async with await asyncio.start_unix_server(server.accept, sock=listener, limit=MAX_REQUEST):
            with session.listening(server.hear):
                try:
                    yield server
                finally:
                    await server.close()
    finally:
        remove(path)
