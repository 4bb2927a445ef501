"""A guest in memory: it remembers what it was asked, and fails when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from broker.errors import NotFound
from broker.guest import PACE_SECONDS, SNAPSHOT_SECONDS, Drive, Screenshot, Snapshot
from broker.view import CALM_SECONDS, Frame, Pointer

PNG = b"\x89PNG\r\n\x1a\n-and-so-on"


@dataclass
class FakeSerial:
    """A line on which the guest said `said` and then ends; what is typed is kept."""

    said: bytes = b"login: "
    typed: bytearray = field(default_factory=bytearray)
    lives: bool = True
    quiet: bool = False
    """After what it said it is silent, and does not end."""

    def alive(self) -> bool:
        return self.lives

    def end(self) -> int:
        return len(self.said)

    def lines_back(self, count: int) -> int:
        return len(self.said) - sum(map(len, self.said.splitlines(keepends=True)[-count:]))

    async def follow(self, begin: int) -> AsyncGenerator[bytes, None]:
        for at in range(begin, len(self.said)):
            yield self.said[at : at + 1]
            await asyncio.sleep(0)
        if self.quiet:
            await asyncio.Event().wait()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[FakeSerial]:
        yield self

    async def send(self, data: bytes) -> None:
        self.typed += data

    async def drained(self, timeout: float) -> bool:
        return True


@dataclass
class FakeView:
    """A screen whose pictures a test shows; `asked` holds what was done to it, in order."""

    via: str = "monitor"
    whole: bool = True
    asked: list[tuple[object, ...]] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    showing: Frame = field(default_factory=lambda: Frame(16, 32, "RGB", bytes(16 * 32 * 3)))
    ended: Exception | None = None
    frames: int = 0
    """How many were asked for, by all who look."""
    news: list[asyncio.Event] = field(default_factory=list)
    speech: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """What was said and nobody took yet."""

    def show(self, frame: Frame) -> None:
        """Have another picture."""
        self.showing = frame
        self._tell()

    def end(self, why: Exception) -> None:
        """Be gone."""
        self.ended = why
        self._tell()

    def say(self, text: str) -> None:
        """Say something to whoever looks."""
        self.speech.put_nowait(text)

    def _tell(self) -> None:
        for each in self.news:
            each.set()

    def look(self) -> FakeLook:
        """Somebody more who looks."""
        return FakeLook(self)

    def ask(self, verb: str, *what: object) -> None:
        """Remember it, or fail."""
        self.asked.append((verb, *what))
        if verb in self.failing:
            raise self.failing[verb]


class FakeLook:
    """Satisfies `View` and `Spoken`: one look at a fake screen."""

    def __init__(self, screen: FakeView) -> None:
        self._screen = screen
        self._given: Frame | None = None
        self._news = asyncio.Event()
        screen.news.append(self._news)

    @property
    def via(self) -> str:
        return self._screen.via

    @property
    def whole(self) -> bool:
        return self._screen.whole

    async def frame(self) -> Frame:
        screen = self._screen
        screen.frames += 1
        while screen.showing is self._given and screen.ended is None:
            self._news.clear()
            await self._news.wait()
        if screen.ended is not None:
            raise screen.ended
        self._given = screen.showing
        return screen.showing

    async def said(self) -> str:
        return await self._screen.speech.get()

    async def press(self, chords: Sequence[str]) -> None:
        self._screen.ask("press", *chords)

    async def key(self, name: str, *, down: bool) -> None:
        self._screen.ask("key", name, "down" if down else "up")

    async def type(self, text: str, *, layout: str = "us") -> None:
        self._screen.ask("type", text, layout)

    async def point(self, pointer: Pointer) -> None:
        self._screen.ask("point", pointer)


@dataclass
class FakeGuest:
    """Satisfies `Guest`. `asked` holds every verb with what it was given, in order."""

    asked: list[tuple[object, ...]] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    line: FakeSerial = field(default_factory=FakeSerial)
    screen: FakeView = field(default_factory=FakeView)

    def view(self, *, calm: float = CALM_SECONDS) -> FakeLook:
        return self.screen.look()

    kept: list[Snapshot] = field(default_factory=list)
    drive: Drive = field(default_factory=lambda: Drive("cdrom0", "cdrom"))

    def _ask(self, verb: str, *what: object) -> None:
        self.asked.append((verb, *what))
        if verb in self.failing:
            raise self.failing[verb]

    async def screenshot(self) -> Screenshot:
        self._ask("screenshot")
        return Screenshot(PNG, 720, 400)

    async def press(self, keys: Sequence[str], *, pace: float = PACE_SECONDS) -> None:
        self._ask("press", *keys)

    async def type(
        self, text: str, *, layout: str = "us", pace: float = PACE_SECONDS, secret: bool = False
    ) -> int:
        self._ask("type", text, layout, secret)
        return len(text)

    async def drives(self) -> Sequence[Drive]:
        self._ask("drives")
        return [self.drive]

    async def insert(self, image: str, *, drive: str = "", force: bool = False) -> Drive:
        self._ask("insert", image, drive, force)
        self.drive = replace(self.drive, image=image)
        return self.drive

    async def eject(self, *, drive: str = "", force: bool = False) -> Drive:
        self._ask("eject", drive, force)
        self.drive = replace(self.drive, image="", tray_open=True)
        return self.drive

    async def snapshots(self) -> Sequence[Snapshot]:
        self._ask("snapshots")
        return self.kept

    async def save_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> Snapshot:
        self._ask("save_snapshot", tag, timeout)
        at = datetime(2026, 11, 21, 8, 15, tzinfo=UTC)
        self.kept.append(Snapshot(tag, at, 47_000_000, 75.0, ("disk0",), complete=True))
        return self.kept[-1]

    async def load_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        self._ask("load_snapshot", tag, timeout)
        if tag not in [one.tag for one in self.kept]:
            raise NotFound(f"There is no snapshot {tag}")

    async def delete_snapshot(self, tag: str, *, timeout: float = SNAPSHOT_SECONDS) -> None:
        self._ask("delete_snapshot", tag, timeout)
        self.kept = [one for one in self.kept if one.tag != tag]

    async def link(self, *, up: bool, card: str = "") -> Sequence[str]:
        self._ask("link", up, card)
        return [card or "nic0"]

    async def hmp(self, line: str, *, timeout: float) -> str:
        self._ask("hmp", line)
        return f"you said {line}\n"

    async def qmp(self, command: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        self._ask("qmp", command, dict(arguments))
        return {"said": command}

    def serial(self) -> FakeSerial:
        self._ask("serial")
        return self.line
