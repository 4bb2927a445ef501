"""The page one lives on: every console of every source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.timer import Timer

from broker import human
from broker.model import Health, MachineKey, State
from broker.service.info import ConsoleInfo
from tui import keys
from tui.allowed import why_not
from tui.catalog import FIELDS, Order
from tui.host import Host
from tui.live.cells import Palette, depth_of
from tui.live.preview import Preview, can_glance
from tui.query import Query, parse
from tui.rows import Column, console_columns, state_word
from tui.screens.listing import Listing
from tui.snapshot import Snapshot
from tui.trends import Trends
from tui.widgets.detail_panel import DetailPanel
from tui.widgets.filter_bar import FilterBar
from tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from broker.model import FoundQemu

REST_SECONDS: Final = 0.08
"""The detail panel follows when the cursor rests that long, not on every row passed."""
MINUTE: Final = 60.0

EMPTY: Final = """\
No consoles yet. Begin with one of these:

  {demo:<3} the demo guest, a tiny VM that comes with broker
  {new:<3} a VM of your own, from a disk image or an ISO
  {adopt:<3} a QEMU that runs on this host already
  {add:<3} a console whose address you know, or a hypervisor:
      libvirt, Proxmox VE, oVirt, OpenStack, Shaken Fist

What {add} writes stands in sources.yaml, which may be edited by hand, too."""

_VERB: Final = {
    keys.OPEN.id: "open",
    keys.LIVE.id: "live",
    keys.SERIAL.id: "serial",
    keys.EXPORT.id: "export",
    keys.START.id: "start",
    keys.POWER.id: "power",
    keys.LOG.id: "log",
}


class ConsolesScreen(Listing):
    """A filter, the table, and the detail of the selected row."""

    NAME = "consoles"
    CSS_PATH = "../styles/consoles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.CONSOLES]
    EXAMPLE = "type to narrow: words  state:running  source:lab  -word"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._resting: Timer | None = None
        self._wanted: MachineKey | None = None
        self._trends = Trends()

    def compose_page(self) -> ComposeResult:
        """The filter line over the table and the detail."""
        yield FilterBar(self.EXAMPLE)
        with Container(id="body"):
            yield VirtualTable[int, ConsoleInfo](
                self.columns(), self.host.catalog.row, glyphs=self.host.glyphs
            )
            preview = Preview(self.host, Palette(depth_of(self.app)))
            yield DetailPanel(self.host.now, self.host.glyphs, preview)

    def on_mount(self) -> None:
        """Ages change once a minute."""
        self.set_interval(MINUTE, self.table.forget)

    def columns(self) -> Sequence[Column[ConsoleInfo]]:
        """What is shown of a console."""
        every = console_columns(self.host.now, self.host.glyphs)
        wanted = self.host.columns
        if wanted is None:
            return every
        named = {column.title: column for column in every}
        return [named[title] for title in wanted if title in named] or every

    @property
    def selected(self) -> ConsoleInfo | None:
        """The console under the cursor."""
        number = self.table.key
        return None if number is None else self.host.catalog.row(number)

    def chosen(self) -> list[ConsoleInfo]:
        """The marked consoles that are still there, or the one under the cursor."""
        self.settle()
        catalog, marks = self.host.catalog, self.table.marks
        if marks:
            return [catalog.row(number) for number in catalog.order if number in marks]
        return [] if self.selected is None else [self.selected]

    def machines(self) -> Sequence[ConsoleInfo]:
        """For the menu of a row."""
        return self.chosen()

    # -- showing -----------------------------------------------------------------------------

    def show(self, snapshot: Snapshot, /) -> None:
        """Take the new list: repaint what changed, find anew when that can matter."""
        self._trends.take(snapshot.sessions, self.host.now())
        catalog = self.host.catalog
        applied = catalog.take_changes()
        self.table.rows_changed(applied.changed)
        if applied.reordered or not catalog:
            self.table.show_unasked(self.refilter)
        elif applied.changed and (self.filter.text or catalog.sorted_by is not None):
            self.refilter_soon()
        if self._wanted is not None and self.select(self._wanted):
            self._wanted = None
        if self.table.key in applied.changed:
            self.hints_changed()
        self._show_detail()

    def find(self, text: str) -> tuple[Sequence[int], Query]:
        """The consoles that match."""
        return self.host.catalog.find(text)

    def total(self) -> int:
        """All consoles."""
        return len(self.host.catalog)

    def sort(self, column: Column[Any] | None, *, down: bool) -> None:
        """Order by that column."""
        order = None if column is None else Order(column.title, column.order, down)
        self.host.catalog.sort_by(order)

    def when_empty(self, text: str) -> str:
        """Whether there is nothing, nothing that matches, or nothing yet."""
        if self.host.snapshot.consoles is None:
            return f"Reading the list{self.host.glyphs.dots}"
        if self.host.snapshot.partial:
            return f"Nothing so far; reading the rest of the list{self.host.glyphs.dots}"
        if self.host.catalog:
            return self.nothing_matches(text)
        new, add = keys.NEW.sign, keys.CONSOLE_ADD.sign
        return EMPTY.format(demo=keys.DEMO.sign, new=new, adopt=keys.ADOPT.sign, add=add)

    def known(self) -> Mapping[str, Callable[[], Collection[str]]]:
        """Fields, and what consoles have in them, or could be in; names are too many to judge."""
        catalog = self.host.catalog
        states = {state_word(state) for state in State} | {"stale"}
        return {
            "state": lambda: states | catalog.values("state"),
            "source": lambda: self._sources() | catalog.values("source"),
            "host": partial(catalog.values, "host"),
            "name": set,
            "via": partial(catalog.values, "via"),
        }

    def _sources(self) -> set[str]:
        """Names of sources, also of those that have no consoles."""
        return {status.name.lower() for status in self.host.snapshot.sources}

    def nothing_matches(self, text: str) -> str:
        """Also that a source which is asked for cannot be read."""
        said = super().nothing_matches(text)
        asked = parse(text, FIELDS).fields
        for status in self.host.snapshot.sources:
            if status.health is Health.FAILED and ("source", status.name.lower()) in asked:
                why = f"{keys.GO_SOURCES.sign} says why"
                return f"{human.one_line(status.name)} cannot be read now; {why}.\n\n{said}"
        return said

    def changed(self) -> None:
        """The detail follows when the cursor has rested."""
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
            self._seen(info),
            [session for session in snapshot.sessions if session.key == key],
            [event for event in snapshot.events if event.key == key] if key is not None else [],
            self.host.checkup(info) if info is not None else None,
            self._trends.of(key) if key is not None else (),
        )

    def _seen(self, info: ConsoleInfo | None) -> ConsoleInfo | None:
        """With the moment its source was listed last: a row that stays as it is keeps its own."""
        if info is None or info.stale:
            return info
        listed = [
            status.listed_at
            for status in self.host.snapshot.sources
            if status.name == info.machine.key.source and status.listed_at is not None
        ]
        seen_at = max([*listed, *([info.seen_at] if info.seen_at else [])], default=None)
        return replace(info, seen_at=seen_at)

    @on(events.Resize)
    def _wider(self) -> None:
        """There may be room for the detail now."""
        self.changed()

    @on(events.ScreenSuspend)
    def _hidden(self) -> None:
        """Nothing is asked of a guest for a picture that nobody sees."""
        if not self.is_current:  # behind a dialog it is seen
            self.query_one(Preview).rest()

    @on(events.ScreenResume)
    def _back_again(self) -> None:
        self.table.painter.show_columns(self.columns())  # others may be wanted by now
        self.table.forget()
        self.call_after_refresh(self._show_detail)

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
        return not (action in ("find", "new_vm") and self.types_or_waits())

    def action_verb(self, verb: str) -> None:
        """Do it to the selected console."""
        self.settle()
        if verb in ("power", "start"):
            held = [info.machine.key for info in self.chosen()]
            if verb == "power":
                self.host.power_menu(held)
            elif held:
                self.host.do_all(verb, held)
        elif self.selected is not None:
            self.host.do(verb, self.selected.machine.key)

    @on(VirtualTable.Chosen)
    def _chosen(self) -> None:
        self.action_verb("open")

    def action_back(self) -> None:
        """One step back: the marks, the filter's text, then the detail."""
        if not self.step_back() and self.query_one(DetailPanel).display:
            self.action_detail()

    def action_detail(self) -> None:
        """Show or hide the detail; a wide terminal shows it unless told otherwise."""
        shown = self.query_one(DetailPanel).display
        self.set_class(not shown, "-detail")
        self.set_class(shown, "-no-detail")
        self.call_after_refresh(self._show_detail)

    def action_wall(self) -> None:
        """The screens of the marked machines, or of all that are listed."""
        from tui.screens.wall import WallScreen

        catalog = self.host.catalog
        infos = (
            self.chosen()
            if self.table.marks
            else [catalog.row(number) for number in self.find(self.filter.text)[0]]
        )
        if shown := [info for info in infos if can_glance(info)]:
            self.app.push_screen(WallScreen(self.host, shown))
        else:
            self.notify("None of these runs and can be looked at from here", severity="warning")

    def action_new_vm(self) -> None:
        """The form for a local VM."""
        self.host.new_vm()

    def action_demo(self) -> None:
        """The demo guest, in one key."""
        if self.host.may_change():
            self.host.start_demo()

    def action_add_source(self) -> None:
        """A console elsewhere, or a hypervisor."""
        from tui.screens.source_acts import SourceActs

        SourceActs(self.app, self.host).add()

    def action_adopt(self) -> None:
        """Look for QEMUs of this host, and offer them."""
        self.host.ask("Looking for QEMUs", lambda service: service.scan(), self._offer, looks=True)

    def _offer(self, found: Sequence[FoundQemu]) -> None:
        from tui.screens.adopt import AdoptScreen

        def chosen(pid: int | None) -> None:
            if pid and self.host.may_change():
                self.host.ask(
                    f"Adopting process {pid}",
                    lambda service: service.adopt(str(pid)),
                    lambda machine: self.host.show_console(machine.key),
                )

        self.app.push_screen(AdoptScreen(found), chosen)

    def select(self, key: MachineKey) -> bool:
        """Put the cursor on a machine, now or when it appears, clearing a filter that hides it."""
        number = self.host.catalog.number(key)
        if number is None:
            self._wanted = key
            return False
        if not self.table.select(number):
            self.filter.write("")
            self.refilter()
            return self.table.select(number)
        return True

    def filter_by(self, text: str) -> None:
        """Show what matches."""
        self.filter.write(text)
        self.leave_filter()
