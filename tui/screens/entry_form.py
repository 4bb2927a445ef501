"""The form for an entry of sources.yaml: a hypervisor, this host, or a console written down.

It is made from what the driver says of its options. Mistakes stand beside their fields as one
types; a hypervisor is logged in to and listed before its entry is written. A console may be looked
at where it is, but is written down all the same: its machine may be off today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Button, Static

from broker import human
from broker.errors import BrokerError, Refused
from broker.findings import Mark, Step
from broker.model import LOCAL_TYPE
from broker.service.configuring import Draft
from broker.service.port import Service
from tui.closing import is_open
from tui.forms import Filled, Kind, Spec, filled, options_of
from tui.host import Host
from tui.screens.form_screen import FormScreen
from tui.screens.steps import StepsScreen
from tui.widgets.form_row import FormRow

REST_SECONDS: Final = 0.15
"""What is typed is looked at when typing rests that long."""
SOURCE: Final = Spec("source", Kind.TEXT, "What this source is called here.", needed=True)


class EntryForm(FormScreen[Draft]):
    """Dismissed with the draft once it is written."""

    CSS_PATH = "../styles/form.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="form.close"),
        Binding("ctrl+s", "save", "Save", id="form.save"),
        Binding("ctrl+t", "try", "Check", id="form.try"),
        # Priority: what is typed right behind them must land in the next field, not in this one.
        Binding("enter", "enter", show=False, priority=True, id="form.enter"),
        Binding("tab,down", "step(1)", show=False, priority=True, id="form.next"),
        Binding("shift+tab,up", "step(-1)", show=False, priority=True, id="form.previous"),
    ]

    def __init__(
        self, host: Host, title: str, draft: Draft, specs: Sequence[Spec], *, new: bool
    ) -> None:
        super().__init__()
        self._host = host
        self._head = title
        self._draft = draft
        self._new = new
        self._specs = [SOURCE, *specs] if new else list(specs)
        self._resting: Timer | None = None
        self._asked_for = False
        """Saving was tried, so that what is missing is said too."""

    @property
    def _can_try(self) -> bool:
        return self._draft.type != LOCAL_TYPE

    @property
    def _must_try(self) -> bool:
        return self._can_try and self._draft.console is None

    def compose(self) -> ComposeResult:
        """A line per field, and what the one with the focus is for."""
        with Vertical(classes="dialog"):
            yield Static(self._head, classes="title", markup=False)
            with VerticalScroll(id="fields", can_focus=False):
                for spec in self._specs:
                    held = filled(spec, self._draft.options, self._draft.kept)
                    if spec is SOURCE:
                        held = Filled(self._draft.source)
                    yield FormRow(spec, held)
            yield Static("", id="help", markup=False)
            yield Static("", id="form-wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Save  ^s", id="save", variant="primary", compact=True)
                if self._can_try:
                    yield Button("Check  ^t", id="try", compact=True)
                yield Button("Close  Esc", id="close", compact=True)

    def on_mount(self) -> None:
        """Begin in the first field that wants something."""
        rows = list(self.query(FormRow))
        empty = (row for row in rows if row.spec.needed and not row.held.text)
        next(empty, rows[0]).begin()
        if self._draft.unknown:
            names = ", ".join(map(human.one_line, self._draft.unknown))
            self._say(f"Not an option, and taken out when this is saved: {names}")

    # -- moving ------------------------------------------------------------------------------

    @on(events.DescendantFocus)
    def _explain(self) -> None:
        row = next((row for row in self.query(FormRow) if row.has_focus_within), None)
        self.query_one("#help", Static).update(row.spec.help if row is not None else "")

    # -- what is wrong -----------------------------------------------------------------------

    @on(FormRow.Changed)
    def _changed(self, event: FormRow.Changed) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_SECONDS, self._rested)

    def _hold_back(self) -> None:
        """What was typed is looked at now; a look that comes later would wipe what is said."""
        if self._resting is not None:
            self._resting.stop()
        self.workers.cancel_group(self, "vet")

    def _rested(self) -> None:
        self._vet()

    @work(group="vet", exclusive=True, exit_on_error=False)
    async def _vet(self) -> None:
        try:
            problems = await (await self._host.served()).vet(self._now())
        except BrokerError as problem:
            self._say(str(problem))
            return
        self._show(problems)

    def _show(self, problems: Mapping[str, str]) -> bool:
        """Say each mistake beside its field; whether there is none."""
        left = dict(problems)
        for row in self.query(FormRow):
            wrong = next((left.pop(key) for key in row.spec.keys if key in left), "")
            if row.spec is SOURCE:
                wrong = "" if row.held.text.strip() else "is needed"
            missing = wrong == "is needed" or not (row.held.text or row.held.way)
            silent = missing and not (row.touched or self._asked_for)
            row.say("" if silent else wrong)
        whole = left.pop("", "")
        told = [f"{key}: {text}" for key, text in left.items()]
        self._say("\n".join([whole, *told]).strip() if self._asked_for else "")
        source = self._source()
        return not problems and bool(source)

    def _say(self, text: str) -> None:
        if is_open(self):  # what was asked for may end after the form was closed
            self.query_one("#form-wrong", Static).update(human.one_line(text))

    # -- what is asked for -------------------------------------------------------------------

    def _source(self) -> str:
        if not self._new:
            return self._draft.source
        return self.query_one("#row-source", FormRow).held.text.strip()

    def _now(self) -> Draft:
        """What the form says."""
        rows = [(row.spec, row.held) for row in self.query(FormRow) if row.spec is not SOURCE]
        options, kept = options_of(rows, self._draft.options)
        if self._draft.console is not None:
            if options.get("hypervisor_ip"):
                options.setdefault("hypervisor", options["hypervisor_ip"])
            options = {"uuid": options.pop("uuid", ""), **options}
        source = type(self._draft.source)(self._source())
        return replace(self._draft, source=source, options=options, kept=kept)

    def action_try(self) -> None:
        """Log in and list, or knock at a console, and say how that went; nothing is written."""
        if self._can_try:
            self._ask(write=False)

    def action_save(self) -> None:
        """Look at the fields, then at the hypervisor, then write."""
        if self._host.may_change():
            self._ask(write=True)

    def _ask(self, *, write: bool) -> None:
        draft, app = self._now(), self.app
        tries = self._must_try if write else self._can_try
        self._asked_for = True
        self._hold_back()
        self._say(f"Checking{self._host.glyphs.dots}")

        async def look(service: Service) -> tuple[Mapping[str, str], Sequence[Step]]:
            problems = await service.vet(draft)
            if problems or not draft.source or not tries:
                return problems, ()
            return {}, await service.try_draft(draft)

        def looked(found: tuple[Mapping[str, str], Sequence[Step]]) -> None:
            problems, steps = found
            if not is_open(self):
                return
            if not self._show(problems):
                self._to_first_wrong()
                return
            self._say("")
            bad = any(step.finding.mark is Mark.FAIL for step in steps)
            if write and not bad:
                self._write(draft)
            else:
                name = draft.source if draft.console is None else str(draft.options["name"])
                screen = StepsScreen(name, steps, self._host.glyphs, anyway=write and bad)
                app.push_screen(screen, lambda yes: self._write(draft) if yes else None)

        label = f"Checking {draft.source or 'the form'}"
        self._host.ask(label, look, looked, self._say, looks=not write, of=(self, label))

    def _to_first_wrong(self) -> None:
        for row in self.query(FormRow):
            if row.query(".wrong.-said"):
                row.begin()
                return

    def _write(self, draft: Draft) -> None:
        async def write(service: Service) -> Draft | None:
            try:
                await service.save_draft(draft)
            except Refused as problem:
                if problem.reason != "changed-meanwhile":
                    raise
                return await service.draft_of(draft.source, draft.console)
            return None

        app, name = self.app, human.one_line(draft.source)

        def written(theirs: Draft | None) -> None:
            if theirs is None:
                if not self.finish(draft):
                    app.notify("Written, though its form was closed", title=name, markup=False)
                return
            options = {**theirs.options, **self._draft.options}
            differ = [
                key for key in options if theirs.options.get(key) != self._draft.options.get(key)
            ]
            self._draft = replace(self._draft, seen=theirs.seen)
            said = f" ({', '.join(differ)})" if differ else ""
            text = f"Somebody else changed this entry meanwhile{said}. Nothing was written; "
            here = is_open(self)
            then = "^s again writes yours over it, Esc leaves theirs" if here else "look at it anew"
            failed(text + then)

        def failed(text: str) -> None:
            if is_open(self):
                self._say(text)
            else:  # the form was closed meanwhile
                app.notify(text, title=name, severity="error", markup=False)

        # Two consoles of one source are two entries.
        self._host.ask(f"Writing {draft.source}", write, written, failed, of=(self, "write"))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        {"save": self.action_save, "try": self.action_try, "close": self.action_close}[
            event.button.id or "close"
        ]()

    def action_close(self) -> None:
        """Write nothing."""
        self.dismiss(None)
