"""The states of a VM that were kept: taken, gone back to, forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from broker import human
from broker.guest import Guest, Snapshot
from broker.service.port import ConsoleInfo, Service
from tui import keys
from tui.closing import is_open
from tui.glyphs import Glyphs
from tui.host import Host
from tui.people import who
from tui.rows import Cell, Column, moment
from tui.screens.ask_line import AskLineScreen
from tui.screens.confirm import ConfirmScreen, Question
from tui.widgets.hint_bar import HintBar
from tui.widgets.table import VirtualTable

_TAKE_HINT: Final = "Memory and disks are written to its qcow2 disks; the guest is held meanwhile."


def snapshot_columns(now: Callable[[], datetime], glyphs: Glyphs) -> list[Column[Snapshot]]:
    """The columns of the kept states."""

    def whole(one: Snapshot) -> Cell:
        if one.complete:
            return Cell("")
        lacks = "a disk is not in it" if one.memory_bytes else "no memory in it"
        return Cell(f"{glyphs.half} {lacks}", "warn")

    def memory(one: Snapshot) -> Cell:
        return Cell(human.size(one.memory_bytes)) if one.memory_bytes else Cell("none", "dim")

    return [
        Column("NAME", 18, lambda s: Cell(human.one_line(s.tag)), 0, flex=True),
        Column("KEPT", 15, lambda s: Cell(moment(s.saved_at)), 1),
        Column(
            "AGE",
            6,
            lambda s: Cell(human.age(max(0.0, (now() - s.saved_at).total_seconds())), "dim"),
            4,
            right=True,
        ),
        Column("MEMORY", 8, memory, 3, right=True),
        Column("", 22, whole, 2),
    ]


class SnapshotsScreen(ModalScreen[None]):
    """Newest first. The machine is held by key, a state by its name."""

    KEYS = "Snapshots"
    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.SNAPSHOT_KEYS]

    def __init__(self, host: Host, info: ConsoleInfo) -> None:
        super().__init__()
        self._host = host
        self._vm = info
        self._called = human.one_line(info.machine.name)
        self._kept: dict[str, Snapshot] = {}
        self._said = "Asking QEMU…"
        self._busy = False
        self._next: deque[Callable[[], None]] = deque()
        """What was decided on while something was under way."""

    def compose(self) -> ComposeResult:
        """The list, what is wrong, the keys."""
        with Vertical(classes="dialog large"):
            yield Static(f"Snapshots of {self._called}", classes="title", markup=False)
            yield VirtualTable[str, Snapshot](
                snapshot_columns(self._host.now, self._host.glyphs),
                self._kept.__getitem__,
                glyphs=self._host.glyphs,
            )
            yield Static("", id="doing", classes="consequence", markup=False)
        yield HintBar(self._dimmed)

    @property
    def _table(self) -> VirtualTable[str, Snapshot]:
        return self.query_one(VirtualTable)

    def _dimmed(self, act: keys.Act) -> bool:
        needs = act in (keys.SNAPSHOT_REVERT, keys.SNAPSHOT_DELETE)
        return self._busy or (needs and self._table.key is None)

    def on_mount(self) -> None:
        """Read them."""
        self.set_focus(self._table)
        self._read()

    def _read(self) -> None:
        self._said = "Nothing can be shown."  # unless they are listed
        self._ask("Reading snapshots of", lambda guest: guest.snapshots(), self._listed, looks=True)

    def _listed(self, kept: Sequence[Snapshot]) -> None:
        self._kept.clear()
        self._kept.update((one.tag, one) for one in reversed(kept))
        self._said = f"None yet.\n\n{keys.SNAPSHOT_TAKE.sign} keeps the present state."
        self._show()

    def _show(self) -> None:
        if is_open(self):
            self._table.show_view(list(self._kept), empty=self._said)
            self._table.rows_changed(self._kept)
            self.query_one(HintBar).refresh()

    def _ask(
        self,
        doing: str,
        work: Callable[[Guest], Awaitable[object]],
        done: Callable[..., None],
        *,
        looks: bool = False,
    ) -> None:
        label = f"{doing} {self._called}"
        if self._busy:
            self._next.append(partial(self._ask, doing, work, done, looks=looks))
            self.app.notify("Comes after what is under way", title=label, markup=False)
            return
        self._tell(label, busy=True)

        async def ask(service: Service) -> object:
            return await work(await service.guest(self._vm.machine.key))

        def answered(answer: object) -> None:
            self._tell("", busy=False)
            done(answer)
            if self._next and not self._busy:
                self._next.popleft()()

        self._host.ask(label, ask, answered, self._failed, looks=looks, of=object())

    def _failed(self, problem: str) -> None:
        if self._next:  # whoever goes back to a state may count on the present one being kept
            self._next.clear()
            problem = f"{problem}. What was to come after it is not done"
        if is_open(self):
            self._tell(problem, busy=False)
            self._show()
        else:
            text = human.one_line(problem)
            self.app.notify(text, title=self._called, severity="error", markup=False)

    def _tell(self, text: str, *, busy: bool) -> None:
        self._busy = busy
        if is_open(self):
            mark = f"{self._host.glyphs.busy} " if busy else ""
            line = self.query_one("#doing", Static)
            line.update(f"{mark}{human.one_line(text)}" if text else "")
            line.set_class(bool(text) and not busy, "wrong")
            self.query_one(HintBar).refresh()

    def _now_read(self, said: str) -> None:
        self.app.notify(said, title=self._called, markup=False)
        if is_open(self):
            self._read()

    # -- verbs

    def action_take(self) -> None:
        """Keep the present state, under a name."""
        if not self._host.may_change():
            return
        number = 1
        while f"state-{number}" in self._kept:
            number += 1

        def wrong(tag: str) -> str:
            if not tag:
                return "A name is needed"
            return f"{tag} is there already" if tag in self._kept else ""

        def named(tag: str | None) -> None:
            if tag:
                self._ask(
                    f"Keeping {tag} of",
                    lambda guest: guest.save_snapshot(tag),
                    lambda _: self._now_read(f"{tag} is kept"),
                )

        title = f"Keep the present state of {self._called} as"
        self.app.push_screen(AskLineScreen(title, f"state-{number}", _TAKE_HINT, wrong), named)

    @on(VirtualTable.Chosen)
    def action_revert(self) -> None:
        """Go back to the selected state."""
        self._sure(
            "Go back to {tag}?",
            "The guest is as it was then. What it did since is lost, for whoever is connected too.",
            "Go back",
            lambda tag: self._ask(
                f"Going back to {tag} of",
                lambda guest: guest.load_snapshot(tag),
                lambda _: self._now_read(f"is as it was at {tag}"),
            ),
        )

    def action_delete(self) -> None:
        """Forget the selected state."""
        self._sure(
            "Delete {tag}?",
            "The guest goes on as it is. Nobody can go back to that state any more.",
            "Delete",
            lambda tag: self._ask(
                f"Deleting {tag} of",
                lambda guest: guest.delete_snapshot(tag),
                lambda _: self._now_read(f"{tag} is deleted"),
            ),
        )

    def _sure(self, title: str, consequence: str, verb: str, act: Callable[[str], None]) -> None:
        tag = self._table.key
        if tag is None or not self._host.may_change():
            return
        number = self._host.catalog.number(self._vm.machine.key)
        now = self._vm if number is None else self._host.catalog.row(number)
        asked = title.format(tag=human.one_line(tag))
        question = Question(asked, (who(self._host, now),), consequence, verb)

        def answered(yes: bool | None) -> None:
            if yes:
                act(tag)

        self.app.push_screen(ConfirmScreen(question), answered)

    def action_close(self) -> None:
        """Go on; what is under way goes on too, and a toast tells its end."""
        self.dismiss(None)
