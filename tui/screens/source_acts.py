"""What can be done to sources from the interface: added, edited, paused, looked into, removed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from textual.app import App

from broker import human
from broker.findings import Step
from broker.human import counted
from broker.model import LOCAL_TYPE, Health, SourceName, SourceStatus
from broker.service.configuring import Draft, SourceType
from broker.service.port import Service
from tui import keys, lending
from tui.background import begin
from tui.forms import specs
from tui.host import Host
from tui.screens.confirm import ConfirmScreen, Question
from tui.screens.entry_form import EntryForm
from tui.screens.pick import PickScreen
from tui.screens.steps import StepsScreen

STATIC: Final = "static"
_SAYS: Final = {
    STATIC: "a console whose address you know",
    "libvirt": "domains of libvirt, on this host or another",
    "proxmox": "guests of a Proxmox VE cluster",
    "ovirt": "VMs of oVirt, OLVM or RHV",
    "openstack": "servers of OpenStack's Nova",
    "shakenfist": "instances of a Shaken Fist cluster",
}
_ADD: Final = "+"


class SourceActs:
    """The flows. What they do is done to a name that was chosen, not to a row."""

    def __init__(self, app: App[Any], host: Host) -> None:
        self._app = app
        self._host = host

    # -- adding

    def add(self) -> None:
        """Ask what, then the form for it."""
        if self._host.may_change():
            self._host.ask(
                "Looking for drivers",
                lambda service: service.source_types(),
                self._offer,
                looks=True,
            )

    def _offer(self, types: Sequence[SourceType]) -> None:
        fit = {one.name: one for one in types if one.schema and one.name != LOCAL_TYPE}
        names = sorted(
            fit, key=lambda name: (list(_SAYS).index(name) if name in _SAYS else 99, name)
        )

        def picked(name: str | None) -> None:
            if name is not None:
                self._new(fit[name])

        choices = [(name, f"{name:<11} {_SAYS.get(name, '')}") for name in names]
        self._app.push_screen(PickScreen("Where do consoles come from?", choices), picked)

    def _new(self, kind: SourceType) -> None:
        taken = {status.name for status in self._host.snapshot.sources}
        if kind.name == STATIC:
            mine = (s.name for s in self._host.snapshot.sources if s.type == STATIC)
            self._new_console(kind, next(mine, SourceName(_free("consoles", taken))))
            return
        draft = Draft(SourceName(_free(kind.name, taken)), kind.name)
        form = EntryForm(
            self._host, f"New source of type {kind.name}", draft, specs(kind.schema), new=True
        )
        self._app.push_screen(form, self._saved)

    def _new_console(self, kind: SourceType, source: SourceName) -> None:
        draft = Draft(source, STATIC, {"uuid": str(uuid.uuid4())}, console="")
        fields = specs(_console_schema(kind))
        form = EntryForm(self._host, "New console", draft, fields, new=True)
        self._app.push_screen(form, self._saved)

    # -- editing

    def edit(self, status: SourceStatus) -> None:
        """The form for its entry; of a static source, for one of its consoles."""
        if not self._host.may_change():
            return
        name = status.name

        async def read(
            service: Service,
        ) -> tuple[Sequence[SourceType], Draft | None, Sequence[tuple[str, str]]]:
            types = await service.source_types()
            if status.type == STATIC:
                return types, None, await service.static_consoles(name)
            return types, await service.draft_of(name), ()

        def found(
            answer: tuple[Sequence[SourceType], Draft | None, Sequence[tuple[str, str]]],
        ) -> None:
            types, draft, consoles = answer
            kind = next((one for one in types if one.name == status.type and one.schema), None)
            if kind is None:
                self._app.notify(
                    "Its driver does not tell its options; edit sources.yaml by hand: "
                    f"{keys.SOURCE_FILE.sign} opens it",
                    title=human.one_line(name),
                    severity="warning",
                    markup=False,
                )
            elif draft is None:
                self._pick_console(kind, name, consoles)
            else:
                self._form(kind, draft, f"{human.one_line(name)}, of type {kind.name}")

        self._host.ask(f"Reading {name}", read, found, looks=True)

    def _pick_console(
        self, kind: SourceType, name: SourceName, consoles: Sequence[tuple[str, str]]
    ) -> None:
        choices = [(_ADD, "add a console"), *((id_, f"{what}  {id_}") for id_, what in consoles)]

        def picked(id_: str | None) -> None:
            if id_ == _ADD:
                self._new_console(kind, name)
            elif id_ is not None:
                self.edit_console(name, id_, kind)

        self._app.push_screen(PickScreen(f"Consoles of {human.one_line(name)}", choices), picked)

    def edit_console(self, name: SourceName, console: str, kind: SourceType) -> None:
        """The form for one console of a static source."""
        self._host.ask(
            f"Reading {console}",
            lambda service: service.draft_of(name, console),
            lambda draft: self._form(kind, draft, f"Console of {human.one_line(name)}"),
            looks=True,
        )

    def _form(self, kind: SourceType, draft: Draft, title: str) -> None:
        schema = kind.schema if draft.console is None else _console_schema(kind)
        form = EntryForm(self._host, title, draft, specs(schema), new=False)
        self._app.push_screen(form, self._saved)

    def _saved(self, draft: Draft | None) -> None:
        if draft is None:
            return
        title = human.one_line(draft.source)
        if draft.console is not None:
            name = human.one_line(str(draft.options.get("name", "")))
            self._app.notify(f"{name} is written down", title=title, markup=False)
            return
        self._app.notify("Written; asking it", title=title, markup=False)
        self.retry(draft.source)

    def edit_file(self) -> None:
        """All of sources.yaml in the person's own editor, then what came of it.

        A file that is wrong stays as it was written, and what was known before goes on.
        """
        if not lending.can_lend(self._app):
            self._app.notify("There is no terminal to lend here", severity="warning")
        elif self._host.may_change():
            self._host.ask(
                "Looking for sources.yaml", lambda service: service.sources_file(), self._lend
            )

    def _lend(self, path: Path) -> None:
        async def edited() -> None:
            if await lending.edit(self._app, path, "sources.yaml is as the editor left it"):
                self._host.ask(
                    "Reading sources.yaml", lambda service: service.take_up_sources(), self._taken
                )

        begin(self._app, edited, name="editor", group="editor")

    def _taken(self, odd: Sequence[str]) -> None:
        text = human.one_line("; ".join(odd)) or "What it says is in force"
        severity = "warning" if odd else "information"
        self._app.notify(text, title="sources.yaml", severity=severity, markup=False)  # type: ignore[arg-type] # one of its words

    # -- asking

    def retry(self, name: SourceName) -> None:
        """Ask it anew, paused or not."""
        self._host.ask(
            f"Asking {name}",
            lambda service: service.retry_source(name),
            lambda _: self._told(name),
            looks=True,
        )

    def _told(self, name: SourceName) -> None:
        self._app.notify("It answered", title=human.one_line(name), markup=False)

    def pause(self, status: SourceStatus) -> None:
        """Leave it alone; go on with it when it is."""
        if not self._host.may_change():
            return
        name = status.name
        if status.health is Health.PAUSED:
            self.retry(name)
            return

        def paused(_: None) -> None:
            text = f"Paused: it is not asked for anything, until {keys.SOURCE_PAUSE.sign}"
            self._app.notify(text, title=human.one_line(name), markup=False)

        self._host.ask(f"Pausing {name}", lambda service: service.pause_source(name), paused)

    def check(self, name: SourceName) -> None:
        """Log in, list, and say what is missing."""

        def looked(steps: Sequence[Step]) -> None:
            self._app.push_screen(StepsScreen(name, steps, self._host.glyphs))

        self._host.ask(
            f"Checking {name}", lambda service: service.check_source(name), looked, looks=True
        )

    # -- removing

    def remove(self, status: SourceStatus) -> None:
        """Take it out of sources.yaml, when that is confirmed."""
        if not self._host.may_change():
            return
        name = status.name

        def ask(draft: Draft) -> None:
            known = counted(status.machines, "console")
            there = [one for one in self._host.snapshot.sessions if one.key.source == name]
            people = f", {counted(len(there), 'session')} open" if there else ""
            question = Question(
                f"Remove {human.one_line(name)}?",
                (f"{human.one_line(name)}  {status.type}, {known} known{people}",),
                "Its entry goes from sources.yaml, and its consoles from the list. "
                "Nothing changes on its machines; open sessions go on.",
                "Remove",
            )
            self._app.push_screen(
                ConfirmScreen(question), lambda yes: self._remove(draft) if yes else None
            )

        self._host.ask(f"Reading {name}", lambda service: service.draft_of(name), ask, looks=True)

    def _remove(self, draft: Draft) -> None:
        self._host.ask(
            f"Removing {draft.source}",
            lambda service: service.remove_draft(draft),
            lambda _: self._app.notify(
                "Removed from sources.yaml", title=human.one_line(draft.source), markup=False
            ),
        )


def _console_schema(kind: SourceType) -> Any:
    schema: Any = kind.schema
    return schema["properties"]["consoles"]["items"]


def _free(name: str, taken: set[SourceName]) -> str:
    """A name that no source has yet."""
    numbers = range(2, len(taken) + 3)
    return next(n for n in (name, *(f"{name}-{number}" for number in numbers)) if n not in taken)
