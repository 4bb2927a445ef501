"""Ways to measure what a person at a console waits for, one sample at a time.

* `Keypress`: from a key that goes down to the first drawing in the judged area. QEMU looks at its
  screen every 30 ms, so 0 to 30 ms of it are the wait for that look.
* `Ping`: from the last of four mouse movements that move nothing to spice-server's answer; neither
  the guest nor the screen is in it.
* `SerialAnswer`: from a key that goes down to the guest's answer on its serial port; the guest is
  in it and the screen is not.

All times are of one process's clock: bytes are stamped as they are read.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar, Final, Protocol

from broker.errors import Unreachable
from broker.headless.channel import AGAIN
from broker.headless.session import Heard, Session
from broker.spice.client import MessageReceived
from broker.spice.constants import ChannelType, ClientInputs, Inputs
from broker.spice.screen import Painted, Rect

SETTLED_SECONDS: Final = 0.25
"""After this, drawing is no part of the answer to a key any more: the screen changes by itself."""
MOTIONS: Final = 4
"""Movements that spice-server answers with one acknowledgement."""
_NO_MOTION: Final = struct.pack("<iiH", 0, 0, 0)


class Probe(Protocol):
    """Takes samples."""

    stray: int
    """Answers that no question had asked for, counted before the first question and from
    `SETTLED_SECONDS` after each."""
    dropped: int
    """Answers that got lost on their way to us."""

    async def sample(self, patience: float) -> float | None:
        """Seconds from the question to the answer; None when none came in `patience` seconds.

        Raises:
            Unreachable: The session has ended.
        """
        ...


class _Asking:
    """One question at a time to a session, and what is heard as its answer."""

    _settled: ClassVar[float] = SETTLED_SECONDS
    """Seconds after a question for which what comes unasked is no stray answer."""

    def __init__(self, session: Session) -> None:
        self.stray = self.dropped = 0
        self._session = session
        self._asked: float | None = None
        self._answered: asyncio.Future[float] | None = None

    def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        self._answered = loop.create_future()
        self._asked = loop.time()

    def _heard(self, at: float) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(at)
        elif self._asked is None or at > self._asked + self._settled:
            self.stray += 1

    async def _within(self, patience: float) -> float | None:
        """How long the answer took; None when it did not come in time.

        Raises:
            Unreachable: The session ended first.
        """
        assert self._asked is not None
        assert self._answered is not None
        answered, ended = self._answered, self._session.ended
        await asyncio.wait((answered, ended), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return answered.result() - self._asked
        answered.cancel()
        if ended.done():
            raise Unreachable(ended.result(), fix=AGAIN)
        return None


class _KeyDown(_Asking):
    """A question that is a key."""

    def __init__(self, session: Session, code: int) -> None:
        super().__init__(session)
        self._code = code

    async def sample(self, patience: float) -> float | None:
        """See `Probe`."""
        self._ask()
        await self._session.press(self._code)
        return await self._within(patience)


class Keypress(_KeyDown):
    """A key, and the screen. See the module.

    Args:
        code: The key's make code; see `broker.spice.wire.scancode`.
        area: What of the screen is judged; all of it when None.
    """

    def __init__(self, session: Session, code: int, area: Rect | None = None) -> None:
        super().__init__(session, code)
        self._area = area

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Keypress]:
        """Count what is drawn without a key, for as long as the block lasts."""
        with self._session.listening(self._hear):
            yield self

    def _hear(self, heard: Heard) -> None:
        painted = heard.event
        if isinstance(painted, Painted) and self._is_judged(painted):
            self._heard(heard.at)

    def _is_judged(self, painted: Painted) -> bool:
        if painted.surface != self._session.screen.primary:
            return False
        return self._area is None or any(area.within(self._area) for area in painted.areas)


class Ping(_Asking):
    """Mouse movements that move nothing, and their acknowledgement. See the module."""

    _settled = 0.0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[Ping]:
        """Hear the answers for as long as the block lasts."""
        with self._session.listening(self._hear):
            yield self

    async def sample(self, patience: float) -> float | None:
        """See `Probe`."""
        for _ in range(MOTIONS - 1):
            await self._session.send(ChannelType.INPUTS, ClientInputs.MOUSE_MOTION, _NO_MOTION)
        self._ask()
        await self._session.send(ChannelType.INPUTS, ClientInputs.MOUSE_MOTION, _NO_MOTION)
        return await self._within(patience)

    def _hear(self, heard: Heard) -> None:
        said = heard.event
        if not isinstance(said, MessageReceived) or heard.channel is not ChannelType.INPUTS:
            return
        if said.type == Inputs.MOUSE_MOTION_ACK:
            self._heard(heard.at)


class SerialAnswer(_KeyDown):
    """A key, and the guest's answer on its serial port. See the module.

    Args:
        path: QEMU's socket of that port; nobody else may be connected to it.
    """

    def __init__(self, session: Session, code: int, path: Path) -> None:
        super().__init__(session, code)
        self._path = path

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[SerialAnswer]:
        """Be connected to the port for as long as the block lasts.

        Raises:
            Unreachable: It cannot be connected to.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(self._path)
        except OSError as exc:
            raise Unreachable(
                f"The serial port cannot be reached ({exc.strerror})",
                fix="See that the VM runs and has one: broker vm show NAME",
            ) from exc
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(reader), name="serial port")
                try:
                    yield self
                finally:
                    reading.cancel()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        while await reader.read(4096):
            self._heard(loop.time())
