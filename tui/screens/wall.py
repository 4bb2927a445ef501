"""The wall: the screens of many VMs side by side, those that changed last first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical
from textual.screen import Screen
from textual.widgets import Static

from broker import human
from broker.model import MachineKey
from broker.service.port import ConsoleInfo
from tui import keys
from tui.host import Host
from tui.jumping import Place
from tui.live.cells import Palette, depth_of
from tui.live.glance import Glance
from tui.widgets.hint_bar import HintBar
from tui.widgets.line import Line, Piece

STILL_SECONDS: Final = 600.0
"""A picture that has not changed for so long is dimmed."""
RESORT_SECONDS: Final = 10.0
"""The order changes no more often, and not while somebody moves about."""
SIZES: Final = ((26, 8), (38, 12), (52, 16), (80, 25))
"""Cells of a tile, its frame included."""


@dataclass(slots=True)
class Change:
    """When a machine's picture was first seen, and when it last became another one."""

    seen: datetime
    at: datetime | None = None

    def still_for(self, now: datetime) -> float:
        """Seconds without a change."""
        return (now - (self.at or self.seen)).total_seconds()


class WallBar(Line):
    """How many there are, and which page of them."""

    DEFAULT_CSS = "WallBar { height: 1; }"
    words = ""

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """The count and the page."""
        return [Piece(" Wall ", "here", keep=9), Piece(f" {self.words} ", "dim")], []


class Tile(Vertical):
    """One machine: its name over its screen."""

    def __init__(self, host: Host, palette: Palette, wall: WallScreen) -> None:
        super().__init__()
        self._wall = wall
        self._title = Static("", classes="name", markup=False)
        self._glance = Glance(host, palette, changed=self._changed, problem=self._gone)
        self._info: ConsoleInfo | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        """The name, the picture."""
        yield self._title
        yield self._glance

    def show(self, info: ConsoleInfo | None) -> None:
        """Show that machine, or nothing."""
        if info is None or self._info is None or info.machine.key != self._info.machine.key:
            self._problem = ""
        self._info = info
        self.display = info is not None
        self._glance.look_at(None if info is None else info.machine.key)
        self.mark()

    def again(self) -> None:
        """Look once more, after trouble."""
        if self._info is not None and self._problem:
            self._glance.look_at(self._info.machine.key)

    def mark(self) -> None:
        """Say its name, and for how long nothing has happened; dim it when that is long."""
        if self._info is None:
            return
        still = self._wall.still_for(self._info.machine.key)
        long = still >= STILL_SECONDS
        note = f"  unchanged {human.age(still)}" if long else ""
        if self._problem:
            note = f"  {self._problem}"
        self._title.update(human.one_line(self._info.machine.name) + note)
        self.set_class(long, "-still")
        self._glance.dim(long)

    def _changed(self) -> None:
        if self._info is not None:
            self._wall.has_changed(self._info.machine.key)
            if self.has_class("-still"):
                self.mark()

    def _gone(self, problem: str) -> None:
        if self._info is not None and self.is_attached:
            self._problem = human.one_line(problem) if problem else ""
            self.mark()

    def places(self) -> Iterator[Place]:
        """Itself (jumping.Places)."""
        yield Place(self.region.offset, partial(self._wall.point_at, self))

    @on(events.Click)
    def _clicked(self) -> None:
        self._wall.choose(self)


class WallScreen(Screen[None]):
    """Tiles of one page; nothing is asked of a machine that is not on it."""

    KEYS = "Wall"
    CSS_PATH = "../styles/wall.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in (*keys.WALL_KEYS, keys.HELP)]

    def __init__(self, host: Host, infos: Sequence[ConsoleInfo]) -> None:
        """Show these machines; all of them have a screen that can be looked at."""
        super().__init__()
        self._host = host
        self._infos = list(infos)
        self._changes: dict[MachineKey, Change] = {}
        self._page = 0
        self._place = 0
        self._scale = 1
        self._moved_at: datetime = host.now()

    def compose(self) -> ComposeResult:
        """A line, the tiles, the keys."""
        yield WallBar()
        yield Grid(id="tiles")
        yield HintBar(lambda _: False)

    def on_mount(self) -> None:
        """Tiles come with the first resize, which says how many fit."""
        self.set_interval(RESORT_SECONDS, self._tick)

    # -- what is where

    @property
    def columns(self) -> int:
        """Tiles beside each other."""
        return max(1, self.size.width // SIZES[self._scale][0])

    @property
    def lines(self) -> int:
        """Tiles below each other."""
        return max(1, (self.size.height - 2) // SIZES[self._scale][1])

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-len(self._infos) // (self.columns * self.lines)))

    @property
    def shown(self) -> list[ConsoleInfo]:
        """The machines of this page."""
        count = self.columns * self.lines
        return self._infos[self._page * count : (self._page + 1) * count]

    def still_for(self, key: MachineKey) -> float:
        """Seconds since its picture changed; it is looked at from the first call on."""
        now = self._host.now()
        return self._changes.setdefault(key, Change(now)).still_for(now)

    def has_changed(self, key: MachineKey) -> None:
        """Its picture is another one."""
        now = self._host.now()
        self._changes.setdefault(key, Change(now)).at = now

    # -- showing

    @on(events.Resize)
    async def _resized(self) -> None:
        await self._fill()

    @on(events.ScreenSuspend)
    def _hidden(self) -> None:
        for tile in self.query(Tile):
            tile.show(None)

    @on(events.ScreenResume)
    async def _seen_again(self) -> None:
        await self._fill()

    async def _fill(self) -> None:
        """Have a tile for each machine of this page."""
        if not self.size.width or not self.is_active:
            return
        self._page = min(self._page, self.pages - 1)
        grid, shown = self.query_one("#tiles", Grid), self.shown
        self._place = max(0, min(self._place, len(shown) - 1))
        grid.styles.grid_size_columns = self.columns
        grid.styles.grid_size_rows = self.lines
        tiles = list(self.query(Tile))
        wanted = self.columns * self.lines
        if len(tiles) < wanted:
            palette = Palette(depth_of(self.app))
            new = [Tile(self._host, palette, self) for _ in range(wanted - len(tiles))]
            await grid.mount(*new)
            tiles += new
        for place, tile in enumerate(tiles):
            tile.show(shown[place] if place < len(shown) else None)
        self._mark()

    def _mark(self) -> None:
        for place, tile in enumerate(self.query(Tile)):
            tile.set_class(place == self._place, "-here")
        bar = self.query_one(WallBar)
        count = f"{len(self._infos)} running here"
        bar.words = f"{count}, page {self._page + 1} of {self.pages}" if self.pages > 1 else count
        bar.refresh()

    async def _tick(self) -> None:
        """Dim what stands still; sort when nobody moves about."""
        if not self.is_active:
            return
        for tile in self.query(Tile):
            tile.mark()
            tile.again()
        if (self._host.now() - self._moved_at).total_seconds() >= RESORT_SECONDS:
            await self.action_sort()

    async def action_sort(self) -> None:
        """Those that changed last first; the chosen one stays chosen."""
        chosen = self._chosen
        before = list(self._infos)
        self._infos.sort(key=self._when, reverse=True)
        if self._infos == before:
            return
        if chosen is not None:
            self._page, self._place = divmod(self._infos.index(chosen), self.columns * self.lines)
        await self._fill()

    def _when(self, info: ConsoleInfo) -> float:
        change = self._changes.get(info.machine.key)
        return change.at.timestamp() if change is not None and change.at is not None else 0.0

    # -- moving and doing

    @property
    def _chosen(self) -> ConsoleInfo | None:
        shown = self.shown
        return shown[self._place] if self._place < len(shown) else None

    def choose(self, tile: Tile) -> None:
        """Have that tile chosen; a second click opens it."""
        if list(self.query(Tile)).index(tile) == self._place:
            self.action_live()
        self.point_at(tile)

    def point_at(self, tile: Tile) -> None:
        """Have that tile chosen."""
        self._place, self._moved_at = list(self.query(Tile)).index(tile), self._host.now()
        self._mark()

    def action_step(self, across: int, down: int) -> None:
        """To a tile beside."""
        place = self._place + across + down * self.columns
        self._moved_at = self._host.now()
        if 0 <= place < len(self.shown):
            self._place = place
            self._mark()

    async def action_page(self, by: int) -> None:
        """Another page."""
        self._moved_at = self._host.now()
        self._page = max(0, min(self.pages - 1, self._page + by))
        await self._fill()

    async def action_larger(self, by: int) -> None:
        """Other tiles."""
        self._scale = max(0, min(len(SIZES) - 1, self._scale + by))
        await self._fill()

    def action_live(self) -> None:
        """That machine's screen, whole."""
        if self._chosen is not None:
            self._host.do("live", self._chosen.machine.key)

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss(None)
