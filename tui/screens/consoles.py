"""The page one lives on: every console of every source."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.timer import Timer
from textual.widgets import Input

from broker.model import MachineKey
from broker.service.port import ConsoleInfo
from tui import keys
from tui.allowed import why_not
from tui.host import Host
from tui.rows import console_columns
from tui.screens.new_vm import NewVmScreen
from tui.screens.page import Page
from tui.snapshot import Snapshot
from tui.widgets.detail_panel import DetailPanel
from tui.widgets.filter_bar import FilterBar, FilterInput
from tui.widgets.table import VirtualTable

REST_SECONDS: Final = 0.08
"""The detail panel follows when the cursor rests that long, not on every row passed."""
MINUTE: Final = 60.0

EMPTY: Final = """\
No consoles yet.

  n   defines a VM on this host and starts it
  r   asks every source again

Machines that run elsewhere come from sources.yaml.
Where it is: broker config path"""

_VERB: Final = {
    keys.OPEN.id: "open",
    keys.EXPORT.id: "export",
    keys.START.id: "start",
    keys.POWER.id: "power",
    keys.LOG.id: "log",
}


class ConsolesScreen(Page):
    """A filter, the table, and the detail of the selected row."""

    NAME = "consoles"
    CSS_PATH = "../styles/consoles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.CONSOLES]

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._resting: Timer | None = None
        self._wanted: MachineKey | None = None

    def compose_page(self) -> ComposeResult:
        """The filter line over the table and the detail."""
        yield FilterBar("type to narrow: words  state:running  source:lab  -word")
        with Container(id="body"):
            yield VirtualTable[int, ConsoleInfo](
                console_columns(self.host.now, self.host.glyphs),
                self.host.catalog.row,
                glyphs=self.host.glyphs,
            )
            yield DetailPanel(self.host.now, self.host.glyphs)

    def on_mount(self) -> None:
        """Begin in the table; ages change once a minute."""
        self.set_focus(self.table)
        self.set_interval(MINUTE, self.table.forget)

    @property
    def table(self) -> VirtualTable[int, ConsoleInfo]:
        """The list."""
        return self.query_one(VirtualTable)

    @property
    def filter(self) -> FilterBar:
        """The filter line."""
        return self.query_one(FilterBar)

    @property
    def selected(self) -> ConsoleInfo | None:
        """The console under the cursor."""
        number = self.table.key
        return None if number is None else self.host.catalog.row(number)

    # -- showing -----------------------------------------------------------------------------

    def show(self, _: Snapshot, /) -> None:
        """Take the new list: repaint what changed, re-filter when that can matter."""
        applied = self.host.catalog.take_changes()
        self.table.rows_changed(applied.changed)
        if applied.reordered or (applied.changed and self.filter.text) or not self.host.catalog:
            self._refilter()
        if self._wanted is not None and self.select(self._wanted):
            self._wanted = None
        if applied.changed:
            self.hints_changed()
        self._show_detail()

    def _refilter(self, *, top: bool = False) -> None:
        catalog = self.host.catalog
        found, query = catalog.find(self.filter.text)
        self.table.show_view(found, words=query.words, empty=self._when_empty(), top=top)
        total = f"{len(catalog):,}"
        self.filter.count(total if query.is_empty else f"{len(found):,} of {total}")

    def _when_empty(self) -> str:
        if self.host.snapshot.consoles is None:
            return f"Reading the list{self.host.glyphs.dots}"
        if self.host.catalog:
            return "Nothing matches this filter.\n\nEsc clears it."
        return EMPTY

    @on(FilterBar.Changed)
    def _filter_changed(self) -> None:
        self._refilter(top=True)

    @on(VirtualTable.Moved)
    def _moved(self) -> None:
        self.hints_changed()
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_SECONDS, self._show_detail)

    def _show_detail(self) -> None:
        panel = self.query_one(DetailPanel)
        if not panel.display:
            return
        info, snapshot = self.selected, self.host.snapshot
        key = info.machine.key if info is not None else None
        panel.show(
            info,
            [session for session in snapshot.sessions if session.key == key],
            [event for event in snapshot.events if event.key == key] if key is not None else [],
            self.host.checkup(info) if info is not None else None,
        )

    def checked(self) -> None:
        """Something new was found of the selected console."""
        self._show_detail()

    # -- doing -------------------------------------------------------------------------------

    def dimmed(self, act: keys.Act) -> bool:
        """What cannot be done to the selected console."""
        verb = _VERB.get(act.id)
        if verb is None:
            return False
        return self.selected is None or bool(why_not(verb, self.selected))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys with priority are letters while one types, and nothing behind a dialog."""
        typing = not self.is_current or isinstance(self.focused, Input)
        return not (action in ("find", "new_vm") and typing)

    def action_verb(self, verb: str) -> None:
        """Do it to the selected console."""
        if self.selected is not None:
            self.host.do(verb, self.selected.machine.key)

    @on(VirtualTable.Chosen)
    def _chosen(self) -> None:
        self.action_verb("open")

    def action_find(self) -> None:
        """To the filter. `set_focus` and not `focus()`: the next key may be here already."""
        self.set_focus(self.filter.input)

    @on(FilterInput.Left)
    def _to_list(self) -> None:
        self.set_focus(self.table)

    def action_back(self) -> None:
        """One step back: the filter's text, then the detail."""
        if self.filter.text:
            self.filter.write("")
        elif self.query_one(DetailPanel).display:
            self.action_detail()

    def action_detail(self) -> None:
        """Show or hide the detail; a wide terminal shows it unless told otherwise."""
        shown = self.query_one(DetailPanel).display
        self.set_class(not shown, "-detail")
        self.set_class(shown, "-no-detail")
        self.call_after_refresh(self._show_detail)

    def action_new_vm(self) -> None:
        """The form for a local VM."""
        self.app.push_screen(NewVmScreen(self.host), self._created)

    def _created(self, key: MachineKey | None) -> None:
        if key is not None:
            self.host.show_console(key)

    def select(self, key: MachineKey) -> bool:
        """Put the cursor on a machine, now or when it appears, clearing a filter that hides it."""
        number = self.host.catalog.number(key)
        if number is None:
            self._wanted = key
            return False
        if not self.table.select(number):
            with self.prevent(Input.Changed):
                self.filter.write("")
            self._refilter()
            return self.table.select(number)
        return True

    def filter_by(self, text: str) -> None:
        """Show what matches."""
        self.filter.write(text)
        self.set_focus(self.table)
