"""Colours, marks, columns and keys: chosen here, in force at once, kept in the person's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from broker.service.configuring import Preferences
from tui import keymap, keys, preferences
from tui.keeping import LEAD, keep, keep_theme
from tui.preferences import COLUMN, GLYPHS, KEY, Choice
from tui.rows import Column, console_columns
from tui.screens.list_page import ListPage
from tui.screens.press_key import PressKeyScreen
from tui.snapshot import Snapshot
from tui.widgets.table import VirtualTable

READING: Final = "Reading settings"


class SettingsScreen(ListPage[tuple[str, str], Choice]):
    """Every choice is a row; Enter takes it."""

    NAME = "settings"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.SETTINGS_KEYS]
    EXAMPLE = "type to narrow: theme, column, key, or what it does"
    EMPTY = ""

    _wanted: Preferences | None = None
    _once_more = False

    def compose_page(self) -> ComposeResult:
        """The list, and what the selected one means."""
        yield from super().compose_page()
        with VerticalScroll(id="advice", can_focus=False):
            yield Static("", markup=False)

    def columns(self) -> Sequence[Column[Choice]]:
        """Kind, name, how it stands."""
        return preferences.choice_columns(self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[tuple[str, str], Choice]]:
        """Every choice there is."""
        rows = preferences.choices(
            self._wanted,
            themes=[name.removeprefix(LEAD) for name in self.app.available_themes],
            theme=self.app.theme.removeprefix(LEAD),
            titles=self._titles,
            columns=self.host.columns,
        )
        return [(row.id, row) for row in rows]

    @property
    def _titles(self) -> list[str]:
        return [column.title for column in console_columns(self.host.now, self.host.glyphs)]

    @on(events.ScreenResume)
    def look(self) -> None:
        """Somebody may have edited the files."""
        self._once_more = READING in self.host.busy
        if not self._once_more:
            self.host.ask(READING, lambda service: service.preferences(), self._read, looks=True)

    def _read(self, wanted: Preferences) -> None:
        self._wanted = wanted
        self._redraw()
        if self._once_more:  # something was kept after that reading began
            self.call_later(self.look)

    def _redraw(self) -> None:
        if self.is_attached:
            self.show(self.host.snapshot)

    def changed(self) -> None:
        """Explain the selected one."""
        text = preferences.explained(self.selected) if self.selected is not None else ""
        self.query_one("#advice Static", Static).update(text)

    def dimmed(self, act: keys.Act) -> bool:
        """Only columns move; only keys can be more than one."""
        kind = self.selected.kind if self.selected is not None else ""
        if act.id in ("settings.earlier", "settings.later"):
            return kind != COLUMN
        return act.id == "settings.more" and kind != KEY

    # -- choosing ----------------------------------------------------------------------------

    @on(VirtualTable.Chosen)
    def action_change(self) -> None:
        """Take the selected one."""
        self.settle()
        match self.selected:
            case Choice(kind="theme", name=name):
                keep_theme(self.app, self.host, name, self.look)
            case Choice(kind="glyphs", name=name):
                keep(self.app, self.host, GLYPHS, name, self.look)
            case Choice(kind="column", name=title):
                self._show_columns(preferences.toggled(title, self._titles, self.host.columns))
            case Choice(kind="key", name=id_):
                self._press(id_, more=False)

    def action_more(self) -> None:
        """One more key."""
        self.settle()
        if self.selected is not None and self.selected.kind == KEY:
            self._press(self.selected.name, more=True)

    def action_shift(self, by: int) -> None:
        """That column further left or right."""
        self.settle()
        if self.selected is not None and self.selected.kind == COLUMN:
            title = self.selected.name
            self._show_columns(preferences.shifted(title, by, self._titles, self.host.columns))

    def action_default(self) -> None:
        """As it comes."""
        self.settle()
        match self.selected:
            case Choice(kind="theme"):
                keep_theme(self.app, self.host, None, self.look)
            case Choice(kind="glyphs"):
                keep(self.app, self.host, GLYPHS, None, self.look)
            case Choice(kind="column"):
                self._show_columns(None)
            case Choice(kind="key", name=id_):
                self._use(id_, None)

    def _show_columns(self, columns: tuple[str, ...] | None) -> None:
        if columns == ():
            self.notify("One column must stay", severity="warning")
            return
        self.host.columns = columns
        keep(self.app, self.host, "columns", columns, self.look)
        self._redraw()

    # -- keys --------------------------------------------------------------------------------

    def _press(self, id_: str, *, more: bool) -> None:
        act = keys.BY_ID[id_]

        def pressed(key: str | None) -> None:
            if key is not None:
                self._use(id_, f"{act.key_now},{key}" if more else key)

        self.app.push_screen(PressKeyScreen(act), pressed)

    def _use(self, id_: str, wanted: str | None) -> None:
        taken = [
            (name, other)
            for key in (wanted or keys.BY_ID[id_].key).split(",")
            for name, other in keymap.taken_by(id_, key)
        ]
        if taken:
            name, other = taken[0]
            self.notify(
                f"One of its keys is {other.id} on {name} now",
                title=keys.BY_ID[id_].label,
                severity="warning",
                markup=False,
            )
            return

        def kept(_: None) -> None:
            keymap.use(id_, wanted)
            self.app.set_keymap(keymap.bound())
            self.look()

        self.host.ask(
            f"Keeping {id_}",
            lambda service: service.prefer_keys(id_, wanted),
            kept,
            of=object(),  # as in keeping.py
        )
