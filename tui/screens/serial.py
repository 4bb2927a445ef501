"""A guest's serial port in a screen of ours, where the terminal cannot be lent: in a browser."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from broker import human
from broker.errors import BrokerError, Refused
from broker.guest import SerialLine, SerialWriter
from broker.service.port import ConsoleInfo
from broker.unwrap import unwrapped
from tui.host import Host
from tui.live.cells import Palette, depth_of
from tui.live.emulator import Emulator
from tui.live.frame_view import FrameView
from tui.widgets.line import Line, Piece

LEADER: Final = "ctrl+right_square_bracket"
FLUSH_SECONDS: Final = 1 / 30
HISTORY_LINES: Final = 200
WAITING: Final = 256
_SENT: Final = {
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H",
    "end": "\x1b[F", "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "insert": "\x1b[2~",
    "delete": "\x1b[3~", "escape": "\x1b", "enter": "\r", "tab": "\t", "backspace": "\x7f",
    "shift+tab": "\x1b[Z", "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS",
    "f5": "\x1b[15~", "f6": "\x1b[17~", "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~",
    "f10": "\x1b[21~", "f11": "\x1b[23~", "f12": "\x1b[24~",
}  # fmt: skip
"""What a terminal of the VT family sends. Source: XTerm Control Sequences, PC-style keys."""


class SerialBar(Line):
    """Whose line it is, and how to leave."""

    DEFAULT_CSS = "SerialBar { height: 1; }"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = human.one_line(name)
        self.note = ""

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """The machine; the leader."""
        left = [Piece(f" {self._name} ", "here", keep=9), Piece(" serial ", "dim", keep=1)]
        if self.note:
            left.append(Piece(f" {self.note} ", "warn", keep=5))
        hint = Piece(" then . leaves, c copies, PgUp scrolls ", "dim", keep=2)
        return left, [Piece(" ^] ", "key", keep=9), hint]


class SerialScreen(Screen[None]):
    """A terminal on a guest's serial port; keys go to it but after `Ctrl-]`."""

    CSS_PATH = "../styles/live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []
    ALLOW_SELECT = False

    def __init__(self, host: Host, info: ConsoleInfo) -> None:
        super().__init__()
        self._host = host
        self._info = info
        self._emulator = Emulator(80, 24)
        self._typed: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        self._led = False
        self._flushing = False

    def compose(self) -> ComposeResult:
        """A line, and the terminal."""
        yield SerialBar(self._info.machine.name)
        yield FrameView(Palette(depth_of(self.app)))

    def on_mount(self) -> None:
        """Open it."""
        self._host.captor = self
        self._bridge()

    def on_unmount(self) -> None:
        """Keys are ours again."""
        if self._host.captor is self:
            self._host.captor = None

    @work(exit_on_error=False, name="serial")
    async def _bridge(self) -> None:
        try:
            service = await self._host.served()
            line = (await service.guest(self._info.machine.key)).serial()
            async with contextlib.AsyncExitStack() as stack:
                writer: SerialWriter | None = None
                try:
                    writer = await stack.enter_async_context(line.writing())
                except Refused as problem:
                    self._note(f"view only: {problem.what}")
                await self._both_ways(line, writer)
        except BrokerError as problem:
            self._note(problem.what)
        else:
            self._note("the VM has ended")

    async def _both_ways(self, line: SerialLine, writer: SerialWriter | None) -> None:
        async with unwrapped(), asyncio.TaskGroup() as group:
            typing = group.create_task(self._type(writer), name="serial keys")
            async with contextlib.aclosing(line.follow(line.lines_back(HISTORY_LINES))) as said:
                async for data in said:
                    answers = self._emulator.feed(data)
                    if answers and line.end() and writer is not None:
                        self._send(answers)
                    self._show_soon()
            typing.cancel()

    async def _type(self, writer: SerialWriter | None) -> None:
        while True:
            data = await self._typed.get()
            if writer is not None:
                await writer.send(data)

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._typed.put_nowait(data)

    # -- showing

    def _show_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.set_timer(FLUSH_SECONDS, self._show)

    def _show(self) -> None:
        self._flushing = False
        view = self.query_one(FrameView)
        view.want(self._emulator.rows())
        view.send(0)

    def _note(self, text: str) -> None:
        if self.is_mounted:
            bar = self.query_one(SerialBar)
            bar.note = human.one_line(text)
            bar.refresh()

    @on(events.Resize)
    def _resized(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        size = self.query_one(FrameView).size
        if size.width and size.height:
            self._emulator.resize(size.width, size.height)
            self._show()

    # -- keys

    def take(self, event: events.Event) -> bool:
        """See `host.Captor`."""
        if not self.is_active or not isinstance(event, events.Key | events.Paste):
            return False
        if isinstance(event, events.Paste):
            self._send(event.text.replace("\n", "\r").encode())
        elif self._led:
            self._led = False
            self._lead(event.key)
        elif event.key == LEADER:
            self._led = True
        else:
            self._key(event)
        return True

    def _key(self, event: events.Key) -> None:
        sent = _SENT.get(event.key) or event.character
        if sent is None and event.key.startswith("ctrl+") and len(event.key) == 6:
            sent = chr(ord(event.key[5:]) & 0x1F)
        if sent:
            self._emulator.scroll(-self._emulator.back)
            self._send(sent.encode())

    def _lead(self, key: str) -> None:
        match key:
            case "full_stop" | "q":
                self.dismiss(None)
            case "right_square_bracket" | "ctrl+right_square_bracket":
                self._send(b"\x1d")
            case "c":
                self.app.copy_to_clipboard(self._emulator.text())
                self.notify("The screen's text went to the clipboard", title="Copied")
            case "pageup" | "pagedown":
                lines = self.query_one(FrameView).size.height // 2
                self._emulator.scroll(lines if key == "pageup" else -lines)
                self._show()
