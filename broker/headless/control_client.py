"""The other end of a control socket: drives a headless viewer of another process, ryll or ours.

Source: ryll, control-socket protocol 1.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, Unreachable, UsageError
from broker.headless.control_words import PROTOCOL
from broker.headless.probes import SETTLED_SECONDS
from broker.owned import owned
from broker.within import within

ANSWER_SECONDS: Final = 10.0
ANEW: Final = "Start the viewer anew, with --control-socket"
MAX_LINE: Final = 64 * 1024 * 1024
"""A picture of 8K as text is smaller."""


class Busy(Unreachable):
    """Another program is connected to the control socket."""

    code = "control-busy"


class ControlError(BrokerError):
    """The viewer answered a request with an error.

    Attributes:
        kind: The protocol's own word for it.
    """

    code = "control-refused"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"The viewer refused: {message} ({kind})")
        self.kind = kind


class ControlClient:
    """A connected control socket; made by `controlling`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.methods: frozenset[str] = frozenset()
        self.events: frozenset[str] = frozenset()
        self.server = ""
        """What it calls itself, and the protocol's version that it speaks: `ryll 1.2`."""
        self.hears: Callable[[str, dict[str, object], float], None] = lambda *_: None
        """Told each event: its name, its data, and when it was read on the loop's clock."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, object]]] = {}

    async def ask(self, method: str, **params: object) -> dict[str, object]:
        """Send a request; its result.

        Raises:
            ControlError: The viewer refused it.
            Busy: Another program is connected.
            Unreachable: It does not answer.
        """
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        request = {"id": number, "method": method, "params": params}
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            async with within(ANSWER_SECONDS):
                await self._writer.drain()
                await asyncio.wait((answer, self.gone), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as exc:
            raise Unreachable(f"The viewer did not answer {method} in time", fix=ANEW) from exc
        except OSError as exc:
            raise Unreachable(f"The control socket is gone ({exc.strerror})", fix=ANEW) from exc
        finally:
            self._waiting.pop(number, None)
        if not answer.done():
            self.gone.result()
            raise Unreachable("The viewer closed its control socket", fix=ANEW)
        return answer.result()

    async def read(self) -> None:
        """Hear what it says, until it closes."""
        loop = asyncio.get_running_loop()
        try:
            while line := await self._reader.readline():
                self._understand(line, loop.time())
        except (OSError, ValueError) as exc:
            problem = Unreachable(
                f"What answers on the control socket is no viewer ({exc})", fix=ANEW
            )
            self.gone.set_exception(problem)
            return
        except Busy as exc:
            self.gone.set_exception(exc)
            return
        self.gone.set_result(None)

    def _understand(self, line: bytes, at: float) -> None:
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError("not an object")
        if isinstance(event := said.get("event"), str):
            data = said.get("data")
            self.hears(event, data if isinstance(data, dict) else {}, at)
            return
        error = said.get("error") if not said.get("ok") else None
        if "id" not in said:
            kind = error.get("code") if isinstance(error, dict) else None
            if kind == "busy":
                raise Busy("Another program is connected to the control socket", fix="End it first")
            return
        waiting = self._waiting.get(said["id"]) if isinstance(said["id"], int) else None
        if waiting is None or waiting.done():
            return
        if isinstance(error, dict):
            kind, message = str(error.get("code", "")), str(error.get("message", ""))
            waiting.set_exception(ControlError(kind, message))
        else:
            result = said.get("result")
            waiting.set_result(result if isinstance(result, dict) else {})


@contextlib.asynccontextmanager
async def controlling(path: Path, *, name: str) -> AsyncIterator[ControlClient]:
    """Be connected to the viewer whose control socket is at `path`; `hello` has been said.

    Raises:
        Unreachable: Nobody listens there, or another program is connected (`Busy`).
        UsageError: It speaks another version of the protocol.
    """
    try:
        async with within(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except (OSError, TimeoutError) as exc:
        raise Unreachable(
            f"{path}: no viewer listens there ({exc})",
            fix="Start it first: ryll --headless --control-socket PATH --file X.vv",
        ) from exc
    client = ControlClient(reader, writer)
    reading = owned(client.read(), name="control client")
    try:
        said = await client.ask("hello", client_name=name, protocol_version=PROTOCOL)
        version = str(said.get("protocol_version", ""))
        if version.partition(".")[0] != PROTOCOL.partition(".")[0]:
            raise UsageError(
                f"The viewer speaks version {version!r} of the control protocol",
                fix=f"Take a viewer that speaks {PROTOCOL}",
            )
        client.server = f"{said.get('server_name', '?')} {version}"
        client.methods = _words(said.get("supported_methods"))
        client.events = _words(said.get("supported_events"))
        yield client
    finally:
        reading.cancel()
        await asyncio.wait((reading,))
        if client.gone.done():
            client.gone.exception()  # seen, or of no interest any more
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _words(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


class ControlledKeypress:
    """A key sent by another process's viewer, and the drawing that it tells of; a `Probe`.

    Attributes:
        viewer: What the viewer calls itself, once it was connected to.
    """

    def __init__(self, path: Path, code: int) -> None:
        self.viewer = ""
        self.stray = self.dropped = 0
        self._path = path
        self._code = code
        self._client: ControlClient | None = None
        self._asked: float | None = None
        self._answered: asyncio.Future[float] | None = None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[ControlledKeypress]:
        """Be connected, and told of drawing, for as long as the block lasts.

        Raises:
            Unreachable: As `controlling`.
            UsageError: The viewer cannot tell of drawing.
        """
        async with controlling(self._path, name="broker latency") as client:
            accepted = await client.ask("subscribe", events=["surface_drawn"])
            if "surface_drawn" not in _words(accepted.get("subscribed")):
                raise UsageError(
                    "The viewer cannot tell when something is drawn",
                    fix="Take one that tells surface_drawn, or measure without it",
                )
            client.hears = self._hear
            self._client = client
            self.viewer = client.server
            yield self

    async def sample(self, patience: float) -> float | None:
        """See `Probe`."""
        assert self._client is not None
        loop = asyncio.get_running_loop()
        self._answered, self._asked = loop.create_future(), loop.time()
        await self._client.ask("send_key", scancode=self._code, state="press")
        waiting = (self._answered, self._client.gone)
        left = max(0.0, self._asked + patience - loop.time())
        await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if self._answered.done():
            return self._answered.result() - self._asked
        self._answered.cancel()
        if self._client.gone.done():
            self._client.gone.result()
            raise Unreachable("The viewer closed its control socket", fix=ANEW)
        return None

    def _hear(self, event: str, data: dict[str, object], at: float) -> None:
        if event == "dropped":
            count = data.get("count")
            self.dropped += count if isinstance(count, int) else 1
        if event != "surface_drawn":
            return
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(at)
        elif self._asked is None or at > self._asked + SETTLED_SECONDS:
            self.stray += 1
