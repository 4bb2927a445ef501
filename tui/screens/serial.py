"""A guest's serial port below the list, or over it: in a browser, and in a terminal by choice.

The list above goes on living. Where one wants the port alone, the terminal is lent (`looks`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from broker import human
from broker.errors import BrokerError, Refused
from broker.guest import SerialLine, SerialWriter
from broker.service.port import ConsoleInfo
from broker.unwrap import unwrapped
from tui.closing import is_open
from tui.copying import copy
from tui.host import Host
from tui.live.cells import Palette, depth_of
from tui.live.emulator import Emulator
from tui.live.frame_view import FrameView
from tui.live.vt_keys import sent
from tui.widgets.line import Line, Piece

LEADER: Final = "ctrl+right_square_bracket"
FLUSH_SECONDS: Final = 1 / 30
HISTORY_LINES: Final = 200
WAITING: Final = 256
SLICE_BYTES: Final = 4096
"""Read at once; keys and the list have their turn after each."""
MOST_PASTED: Final = 64 * 1024
FIX_SECONDS: Final = 12.0
"""How long it is said what to do about what is wrong."""
SPLIT_LINES: Final = 20
"""In a terminal with fewer lines the list has no room above."""


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
        hint = Piece(" then . leaves, w halves or fills, c copies, PgUp scrolls ", "dim", keep=2)
        return left, [Piece(" ^] ", "key", keep=9), hint]


class SerialScreen(ModalScreen[None]):
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
        with Vertical():
            yield SerialBar(self._info.machine.name)
            yield FrameView(Palette(depth_of(self.app)))

    def on_mount(self) -> None:
        """Open it."""
        self._host.captor = self
        self.set_class(self.app.size.height >= SPLIT_LINES, "-split")
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
                except Refused as problem:  # its fix is to look on, which is what we do
                    self._note(f"view only: {problem.what}")
                await self._both_ways(line, writer)
        except BrokerError as problem:
            self._wrong(problem)
        else:
            self._note("the VM has ended")

    async def _both_ways(self, line: SerialLine, writer: SerialWriter | None) -> None:
        async with unwrapped(), asyncio.TaskGroup() as group:
            typing = group.create_task(self._type(writer), name="serial keys")
            begin, now = line.lines_back(HISTORY_LINES), line.end()
            async with contextlib.aclosing(line.follow(begin)) as said:
                async for data in said:
                    for at in range(0, len(data), SLICE_BYTES):
                        answers = self._emulator.feed(data[at : at + SLICE_BYTES])
                        self._show_soon()
                        await asyncio.sleep(0)
                        # To what was asked long ago, an answer would be typed in now.
                        if answers and begin >= now and writer is not None:
                            self._send(answers)
                    begin += len(data)
            typing.cancel()

    async def _type(self, writer: SerialWriter | None) -> None:
        while True:
            data = await self._typed.get()
            if writer is not None:
                await writer.send(data)

    def _send(self, data: bytes) -> None:
        try:
            self._typed.put_nowait(data)
        except asyncio.QueueFull:
            self._note("the guest takes no keys; this one was dropped")

    # -- showing

    def _show_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.set_timer(FLUSH_SECONDS, self._show)

    def _show(self) -> None:
        self._flushing = False
        if not is_open(self):
            return
        view = self.query_one(FrameView)
        view.want(self._emulator.rows())
        view.send(0)

    def _wrong(self, problem: BrokerError) -> None:
        """What is wrong stays on the line; what to do about it is told as everywhere."""
        self._note(problem.what)
        if problem.fix and is_open(self):
            self.notify(
                human.one_line(problem.fix),
                title=human.one_line(problem.what),
                severity="warning",
                timeout=FIX_SECONDS,
                markup=False,
            )

    def _note(self, text: str) -> None:
        if is_open(self):
            bar = self.query_one(SerialBar)
            bar.note = human.one_line(text)
            bar.refresh()

    @on(events.Resize)
    def _resized(self) -> None:
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        if not is_open(self):
            return
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
            self._paste(event.text)
        elif self._led:
            self._led = False
            self._lead(event.key)
        elif event.key == LEADER:
            self._led = True
        else:
            self._key(event)
        return True

    def _paste(self, text: str) -> None:
        if len(text) > MOST_PASTED:
            self._note(f"{len(text):,} characters are too many; {MOST_PASTED:,} are not")
        else:
            self._send(text.replace("\r\n", "\r").replace("\n", "\r").encode())

    def _key(self, event: events.Key) -> None:
        cursor = self._emulator.application_cursor
        if data := sent(event.key, event.character, application_cursor=cursor):
            self._emulator.scroll(-self._emulator.back)
            self._show_soon()
            self._send(data.encode())

    def _lead(self, key: str) -> None:
        match key:
            case "full_stop" | "q":
                self.dismiss(None)
            case "right_square_bracket" | "ctrl+right_square_bracket":
                self._send(b"\x1d")
            case "c":
                copy(self.app, self._emulator.text())
            case "w":
                self.toggle_class("-split")
                self.call_after_refresh(self._fit)
            case "pageup" | "pagedown":
                lines = self.query_one(FrameView).size.height // 2
                self._emulator.scroll(lines if key == "pageup" else -lines)
                self._show()
