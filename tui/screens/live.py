"""A guest's screen where one is: every key goes to the guest, but `Ctrl-]`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from broker import human
from broker.errors import BrokerError
from broker.service.port import ConsoleInfo, Service
from broker.view import Pointer, View, Way
from tui.copying import copy
from tui.driver import ConsoleDriver, GuestKey
from tui.host import Host
from tui.live import still
from tui.live.cells import Palette, depth_of
from tui.live.frame_view import FrameView
from tui.live.keyboard import Keyboard, is_leader
from tui.live.notices import Notices
from tui.live.pace import Pace
from tui.live.player import Player, Shown
from tui.live.typed import Typed, typed
from tui.screens.leader import LeaderScreen
from tui.screens.live_bar import LiveBar
from tui.screens.prompt import PromptScreen

log = logging.getLogger(__name__)

LEADER: Final = "ctrl+right_square_bracket"
MOST_PASTED: Final = 4096
"""Characters; a key each, and a guest takes some forty a second."""
SECOND: Final = 1.0
PANS: Final = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Keys that move what is shown of a screen that is not shown whole."""


class LiveScreen(Screen[BrokerError | None]):
    """One machine's screen, live. Dismissed with why it ended, if nobody left it."""

    CSS_PATH = "../styles/live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []
    ALLOW_SELECT = False

    def __init__(
        self, host: Host, info: ConsoleInfo, way: Way, before: asyncio.Event | None = None
    ) -> None:
        """Nothing is opened yet.

        Args:
            before: Waited for: the view that was left here before this one is closed then.
        """
        super().__init__()
        self.closed = asyncio.Event()
        """Nothing is open, or no longer: closing takes a moment longer than the screen is shown."""
        self.closed.set()
        self.closed_at: datetime | None = None
        """When it was closed."""
        self._before = before
        self._then: Callable[[], None] | None = None
        self._host = host
        self._info = info
        self._way = way
        self._controls = way is not Way.WATCH
        self._mouse = True
        self._keyboard = Keyboard()
        self._view: View | None = None
        self._counted = (0, 0)
        self._notices = Notices(self, host.now)
        self._text = ""
        self._player: Player

    def compose(self) -> ComposeResult:
        """The line, and the guest."""
        yield LiveBar(self._info.machine.name)
        yield FrameView(Palette(depth_of(self.app)), direct=True)

    def on_mount(self) -> None:
        """Open it."""
        pace = Pace(multiplexed=bool(os.environ.get("TMUX") or os.environ.get("STY")))
        self._player = Player(
            self.query_one(FrameView),
            pace,
            told=self._told,
            drawn=self._drawn,
            said=self._notices.said,
        )
        self._host.captor = self
        self._tell_everything(self._controls)
        self.set_interval(SECOND, self._count)
        self._live()

    def on_unmount(self) -> None:
        """Keys are ours again."""
        self._tell_everything(False)
        if self._host.captor is self:
            self._host.captor = None

    def _tell_everything(self, wanted: bool) -> None:
        """Have releases and modifiers told, by a terminal that can."""
        driver = self.app._driver  # only a terminal's has a keyboard
        if isinstance(driver, ConsoleDriver):
            driver.tell_everything(wanted)

    @work(exit_on_error=False, name="live")
    async def _live(self) -> None:
        self.closed.clear()
        try:
            service = await self._host.served()
            if self._before is not None:
                await self._before.wait()
            async with service.view(self._info.machine.key, self._way) as view:
                self._view = view
                await self._player.play(view)
        except BrokerError as problem:
            self._gone(problem)
        except Exception:  # whatever it is, the screen must not just stand still
            log.exception("the live view broke")
            self._gone(BrokerError("The live view broke", fix="The log has the cause"))
        finally:
            self.closed_at = self._host.now()
            self.closed.set()
            if self._then is not None:
                self._then()

    def _gone(self, problem: BrokerError) -> None:
        """Close, with whatever is open over it; one that was left a moment ago is closed."""
        if self not in self.app.screen_stack:
            return  # else what is shown now would be closed in its place
        while not self.is_active:
            self.app.pop_screen()
        self.dismiss(problem)

    # -- showing

    def _drawn(self, _: Shown) -> None:
        if self._counted == (0, 0):
            self._counted = (self._player.frames, self._player.bytes_sent)
            self._say()

    def _count(self) -> None:
        frames, sent = self._player.frames, self._player.bytes_sent
        per_second = (frames - self._counted[0], sent - self._counted[1])
        self._counted = (frames, sent)
        self._say(*per_second)

    def _say(self, frames: int = 0, sent: int = 0) -> None:
        shown, view = self._player.shown, self._view
        if shown is None or view is None:
            return
        frame, port = shown.frame, shown.port
        size = f"{frame.width}x{frame.height}"
        if shown.page is not None:
            how = f"{size} text"
        else:
            share = (port.box[2] - port.box[0]) / port.columns
            how = f"{size}, {share:.2g} pixels a cell" if share > 1 else size
            if self._player.zoom.is_on and share <= 1:
                how = f"{size} 1:1"
        words = [view.via, how]
        if frames > 1:
            words.append(f"{min(frames, 15)} fps, {human.size(sent)}/s")
        if not view.whole:
            words.append("not all of it can be shown; o opens a viewer")
        keyboard = "keyboard: guest" if self._controls else "view only"
        self.query_one(LiveBar).say(keyboard, *words)

    @on(events.Resize)
    async def _resized(self) -> None:
        self.call_after_refresh(self._player.again)

    # -- keys and mouse

    def take(self, event: events.Event) -> bool:
        """Take a key, a paste, or the terminal's answer before anybody else does (host.Captor)."""
        if isinstance(event, events.CursorPosition):
            self._player.answered(event.x + 1)
            return True
        if isinstance(event, events.AppBlur):
            self._let_go()  # what is let go elsewhere is not told here
            return False
        if not self.is_active:
            return False
        if isinstance(event, GuestKey):
            return self._controls and self._move(event)
        if isinstance(event, events.Paste):
            self._paste(event.text)
            return True
        if not isinstance(event, events.Key):
            return False
        if event.key == LEADER:
            self.action_leader()
        elif not self._controls:
            if event.key in ("q", "escape"):
                self.dismiss(None)
            elif event.key not in PANS or not self._pan(*PANS[event.key]):
                self._hint("View only: q leaves; Ctrl-] has what else can be done")
        else:
            self._type(event)
        return True

    def _move(self, event: GuestKey) -> bool:
        """Pass on a press or a release."""
        if is_leader(event):
            self.action_leader()
            return True
        meant = self._keyboard.heard(event)
        if meant is None:
            if event.down and not event.text:
                self._hint(f"No guest's keyboard has {event.name or 'that key'}")
        elif not self._player.give(meant):
            self._hint("The guest takes no keys; this one was dropped")
        return True

    @on(events.ScreenSuspend)
    def _let_go(self) -> None:
        for move in self._keyboard.let_go():
            self._player.give(move)

    def _type(self, event: events.Key) -> None:
        meant = typed(event.key, event.character)
        if meant is None:
            self._hint(f"No guest's keyboard has {event.key}")
        elif not self._player.give(meant):
            self._hint("The guest takes no keys; this one was dropped")

    def _paste(self, text: str) -> None:
        if not self._controls:
            self._hint("View only: nothing was typed")
        elif len(text) > MOST_PASTED:
            self._hint(f"{len(text):,} characters are too many to type; {MOST_PASTED:,} are not")
        elif text and not self._player.give(Typed(text=text)):
            self._hint("The guest takes no keys; nothing was typed")

    @on(FrameView.Pointed)
    def _pointed(self, event: FrameView.Pointed) -> None:
        shown = self._player.shown
        if shown is None or not self.is_active:
            return
        x, y = shown.port.at(event.column, event.line)
        if event.ctrl and event.wheel:
            self._player.zoom.step(-event.wheel, (x, y))
            self.call_after_refresh(self._player.again)
            return
        if self._player.zoom.pointed(shown.port, event.column, event.line):
            self.call_after_refresh(self._player.again)
        if self._controls and self._mouse:
            self._player.give(Pointer(x, y, event.buttons, event.wheel))

    def _told(self, problem: BrokerError) -> None:
        if getattr(problem, "reason", "") == "no-tablet":
            self._mouse = False
        self._hint(str(problem))

    def _hint(self, text: str) -> None:
        self._notices.hint(text)

    # -- the menu

    def action_leader(self) -> None:
        """What can be done beside typing."""
        offered = {"leave", "zoom", "closer", "farther", "shot", "viewer"}
        if self._player.zoom.is_on:
            offered.add("pan")
        if self._controls:
            offered |= {"bracket", "delete", "function", "paste", "layout", "mouse"}
        if self._player.shown is not None and self._player.shown.page is not None:
            offered.add("copy")
            self._text = self._player.shown.page.text
        by_monitor = self._view is not None and self._view.via == "monitor"
        if not self._host.readonly and (self._way is not Way.WATCH or by_monitor):
            offered.add("control")
        name = human.one_line(self._info.machine.name)
        self.query_one(FrameView).veil()
        self.app.push_screen(LeaderScreen(name, frozenset(offered)), self._chosen)

    def _chosen(self, what: str | None) -> None:
        if what in PANS:
            self._pan(*PANS[what])
        elif what:
            act: Callable[[], None] = getattr(self, f"_do_{what}")
            self.call_next(act)  # the menu is closed after this has returned

    def _do_leave(self) -> None:
        self.dismiss(None)

    def _do_bracket(self) -> None:
        self._player.give(Typed(chord="ctrl-]"))

    def _do_delete(self) -> None:
        self._player.give(Typed(chord="ctrl-alt-delete"))

    def _do_function(self) -> None:
        def answered(number: str | None) -> None:
            if number and number.isdecimal() and 1 <= int(number) <= 12:
                self._player.give(Typed(chord=f"ctrl-alt-f{int(number)}"))

        self.app.push_screen(PromptScreen("Ctrl-Alt-F, 1 to 12", ""), answered)

    def _do_paste(self) -> None:
        if self.app.clipboard:
            self._paste(self.app.clipboard)
        else:
            self._hint("Paste with your terminal's own key: it is typed to the guest")

    def _do_layout(self) -> None:
        def answered(layout: str | None) -> None:
            if layout:
                self._player.layout = layout

        ask = PromptScreen(
            "Keyboard layout of the guest (us, de, fr, uk, ...)", self._player.layout
        )
        self.app.push_screen(ask, answered)

    def _do_copy(self) -> None:
        copy(self.app, self._text)  # what stood there when the menu was opened, which is meant

    def _do_shot(self) -> None:
        if self._player.shown is None:
            return
        frame, app = self._player.shown.frame, self.app
        name = still.file_name(self._info.machine.name, self._host.now())

        async def save(_: Service) -> Path:
            return await asyncio.to_thread(still.save, name, frame)

        def saved(path: Path) -> None:
            app.notify(str(path), title="Saved", markup=False)

        self._host.ask(f"Saving {name}", save, saved, of=object())  # two in a second are two

    def _do_zoom(self) -> None:
        self._player.zoom.toggle()
        self.call_after_refresh(self._player.again)

    def _do_closer(self, by: int = 1) -> None:
        self._player.zoom.step(by)
        self.call_after_refresh(self._player.again)

    def _do_farther(self) -> None:
        self._do_closer(-1)

    def _pan(self, across: int, down: int) -> bool:
        shown = self._player.shown
        moves = shown is not None and self._player.zoom.pan(shown.port, across, down)
        if moves:
            self.call_after_refresh(self._player.again)
        return moves

    def _do_mouse(self) -> None:
        self._mouse = not self._mouse
        self.notify(f"The mouse is {'the guest' if self._mouse else 'this terminal'}'s")

    def _do_control(self) -> None:
        self._controls = not self._controls
        self._let_go()
        self._tell_everything(self._controls)
        self._say()

    def _do_viewer(self) -> None:
        self._then = partial(self._host.do, "open", self._info.machine.key)  # two would be too many
        self.dismiss(None)
