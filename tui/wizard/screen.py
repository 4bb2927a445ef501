"""The form for a VM of this host, new or there: fields in groups, its YAML, and what comes of it.

What is typed goes into one document, which the service judges while one types. The YAML is the
same document; whichever was written last holds. Nothing that was typed is thrown away unasked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

from textual import events, on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Button, Input, Label, Static, TextArea

from broker import human
from broker.errors import BrokerError
from broker.model import Machine, MachineKey
from broker.provisioning import VmDraft
from broker.service.port import Service
from tui import lending
from tui.closing import is_open
from tui.host import Host
from tui.screens.confirm import ConfirmScreen, Question
from tui.screens.form_screen import FormScreen
from tui.widgets.choice import Choice
from tui.wizard.form import GroupForm
from tui.wizard.items import FIRST_DISK, GROUP_OF, GROUPS, ITEMS
from tui.wizard.preview import preview
from tui.wizard.sheet import DEMO, Sheet
from tui.wizard.tabs import Tabs

JUDGE_SECONDS: Final = 0.15
"""The service judges when the typing has rested that long."""
YAML, PREVIEW = "YAML", "Preview"


class WizardScreen(FormScreen[MachineKey]):
    """Dismissed with the machine's key once the service has it.

    Args:
        present: The VM that is to be changed, and what it is now; None makes a new one.
    """

    CSS_PATH = "../styles/wizard.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="new.close"),
        Binding("ctrl+s", "create", "Create", id="new.create"),
        Binding("f4", "editor", "Editor", id="new.editor"),
        Binding("pagedown", "turn(1)", "Next", priority=True, id="new.group"),
        Binding("pageup", "turn(-1)", "Previous", priority=True, id="new.group-before"),
        # Priority: what is typed right behind them must land in the next field, not in this one.
        Binding("enter", "enter", show=False, priority=True, id="new.enter"),
        Binding("tab,down", "step(1)", show=False, priority=True, id="new.next"),
        Binding("shift+tab,up", "step(-1)", show=False, priority=True, id="new.previous"),
    ]

    def __init__(self, host: Host, present: tuple[Machine, VmDraft] | None = None) -> None:
        super().__init__()
        self._host = host
        self._machine = present[0] if present is not None else None
        self._yaml_due = False
        """The YAML page waits for what is shown there."""
        self._loaded = ""
        self._turn_to = ""
        """The page to turn to once the YAML is some."""
        if present is None:
            self._sheet = Sheet(host.demo)
        else:
            self._sheet = Sheet(host.demo, present[0].key, present[1])
        self._group = next(iter(GROUPS))
        self._resting: Timer | None = None

    # -- looks -------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Groups of fields, their YAML, and what comes of it beside them if there is room."""
        hints = {}
        if self._host.demo is not None:
            hints[FIRST_DISK[0].id] = f"{DEMO}, {FIRST_DISK[0].hint}"
        with Vertical(classes="dialog"):
            title = "New VM on this host"
            if self._machine is not None:
                title = f"Edit {human.one_line(self._machine.name)}"
            yield Static(title, classes="title", markup=False)
            yield Tabs()
            with Horizontal(id="middle"):
                with Vertical(id="forms"):
                    for name, items in GROUPS.items():
                        form = GroupForm(items, editing=self._machine is not None, hints=hints)
                        form.add_class(f"group-{name}")
                        yield form
                    yield TextArea("", id="yaml", show_line_numbers=False, tab_behavior="focus")
                with VerticalScroll(id="preview"):
                    yield Static("", markup=False)
            yield Static("", id="form-wrong", classes="wrong", markup=False)
            if self._machine is None:
                with Horizontal(classes="field", id="starting"):
                    yield Label("Start it")
                    yield Choice(("now", "later"), id="start")
            with Horizontal(classes="buttons"):
                yield Static("PgDn next page  F4 editor", classes="hint", markup=False)
                done = "Create" if self._machine is None else "Save"
                yield Button(f"{done}  ^s", id="create", variant="primary", compact=True)
                yield Button("Close  Esc", id="close", compact=True)

    def on_mount(self) -> None:
        """Begin in the first field."""
        self.query_one("#yaml", TextArea).cursor_blink = False
        self._show_document()
        self.show_group(self._group)
        self._judge()

    @on(events.Resize)
    def _resized(self) -> None:
        """There is another page where there is no room beside the fields."""
        if self.query(Tabs):
            self.show_group(self._group)

    @property
    def groups(self) -> list[str]:
        """The names of the pages, in order."""
        narrow = self.app.size.width < 120
        return [*GROUPS, YAML, *([PREVIEW] if narrow else [])]

    def show_group(self, name: str, field: str = "") -> None:
        """Turn to a page, and to a field of it."""
        if self._sheet.raw is not None and name != YAML and self._group == YAML:
            self._turn_to = name
            self._judge()
            return
        turned = name != self._group or name not in self.groups
        self._group = name if name in self.groups else YAML
        for group in GROUPS:
            self.query_one(f".group-{group}").display = group == self._group
        text = self.query_one("#yaml", TextArea)
        text.display = self._group == YAML
        if self._group == YAML and turned:
            self._take_fields()
            self._yaml_due = True
            if self._sheet.is_stale:
                self._judge()
        self.set_class(self._group == PREVIEW, "-preview")
        self._tell()
        if turned or field or self.focused is None:
            self.call_after_refresh(self._focus, field)

    def _focus(self, field: str) -> None:
        if self._group == YAML:
            self.set_focus(self.query_one("#yaml"))
        elif self._group == PREVIEW:
            self.set_focus(self.query_one("#preview"))
        else:
            form = self.query_one(f".group-{self._group}")
            wanted = form.query(f"#{field}") if field else form.query("Input, Choice")
            able = [widget for widget in wanted if not widget.disabled]
            if able:
                self.set_focus(able[0])

    def _show_document(self) -> None:
        for form in self.query(GroupForm):
            form.show(self._sheet.document)

    def _tell(self) -> None:
        """What is wrong, where, as far as one was there."""
        if self._yaml_due and not self._sheet.is_stale:
            self._yaml_due = False
            self._loaded = self._sheet.text
            self.query_one("#yaml", TextArea).load_text(self._loaded)
        wrong, rest = self._sheet.wrong()
        for form in self.query(GroupForm):
            form.tell(wrong)
        self.query_one(Tabs).turn(self.groups, self._group, {GROUP_OF[id_] for id_ in wrong})
        whole = self._group in (YAML, PREVIEW)
        self._say("; ".join(self._sheet.mistakes() if whole else rest))
        self.query_one("#preview Static", Static).update(preview(self._sheet.draft))

    def _say(self, text: str) -> None:
        line = self.query_one("#form-wrong", Static)
        line.update(human.one_line(text) if text else "")
        line.set_class(bool(text), "-said")

    # -- typing ------------------------------------------------------------------------------

    @on(GroupForm.Typed)
    def _typed(self, event: GroupForm.Typed) -> None:
        self._sheet.write(event.item, event.text)
        self._judge_soon()

    @on(TextArea.Changed)
    def _wrote(self) -> None:
        if self._take_yaml():
            self._judge_soon()

    def _take_yaml(self) -> bool:
        """Whether the YAML says something else by now; what was put there says nothing."""
        text = self.query_one("#yaml", TextArea).text
        if self._group != YAML or self._yaml_due or text == self._loaded:
            return False
        self._sheet.raw = self._loaded = text
        return True

    def _take_fields(self) -> None:
        """What was typed and was not told yet: keys overtake what fields say of themselves."""
        for form in self.query(GroupForm):
            for item, text in form.untold():
                self._sheet.write(item, text)

    def _take_all(self) -> None:
        self._take_fields()
        self._take_yaml()

    def _judge_soon(self) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(JUDGE_SECONDS, self._judge)

    @work(group="judge", exclusive=True, exit_on_error=False, name="judging a VM")
    async def _judge(self) -> None:
        try:
            await self._judged(await self._host.served())
        except BrokerError as problem:
            if is_open(self):
                self._say(str(problem))

    async def _judged(self, service: Service) -> None:
        """Have it judged as it is now, and show what came of it."""
        if await self._sheet.judge(service) and is_open(self):
            self._show_document()
        if not is_open(self):
            return
        self._tell()
        turn_to, self._turn_to = self._turn_to, ""
        if turn_to and self._sheet.raw is None:
            self.show_group(turn_to)
        elif turn_to:
            self._say("Mend the YAML first; what you typed is kept")

    # -- keys --------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the YAML, keys that move are the text's; behind a dialog nothing moves."""
        if not self.is_current:
            return False
        writing = isinstance(self.focused, TextArea)
        return not (writing and action in ("enter", "step") and parameters != ("tab",))

    def action_turn(self, by: int) -> None:
        """To another page."""
        groups = self.groups
        here = groups.index(self._group) if self._group in groups else 0
        self.show_group(groups[(here + by) % len(groups)])

    def action_group(self, name: str) -> None:
        """To that page."""
        self.show_group(name)

    def action_editor(self) -> None:
        """Write the YAML in the person's own editor."""
        if lending.can_lend(self.app):
            self._edit()
        else:
            self.notify("There is no terminal to lend here; the YAML page does the same")

    @work(group="editor", exclusive=True, exit_on_error=False, name="editor")
    async def _edit(self) -> None:
        self._take_all()
        before = self._sheet.text
        try:
            after = await _edited(self.app, before)
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is not UTF-8"
            text = human.one_line(f"{why}. What you had typed is as it was; the YAML page edits it")
            self.notify(text, title="Not taken over", severity="error", markup=False)
            return
        if after not in (None, before):
            self._sheet.raw = after
            self.show_group(YAML)
            self._yaml_due = self._sheet.is_stale = False
            self._loaded = after
            self.query_one("#yaml", TextArea).load_text(after)
            self._judge()

    # -- the end -----------------------------------------------------------------------------

    @on(Button.Pressed, "#create")
    def action_create(self) -> None:
        """Have it judged once more, and kept if nothing is wrong."""
        if self._resting is not None:
            self._resting.stop()
        self._take_all()
        start = self._machine is None and self.query_one("#start", Choice).value == "now"
        doing = "Defining" if self._machine is None else "Saving"
        label = f"{doing} {self._sheet.document.get('name') or 'a VM'}"
        self._host.ask(
            label,
            self._make,
            lambda machine: self._made(machine, start=start),
            self._failed,
            of=self,
        )

    async def _make(self, service: Service) -> Machine | None:
        await self._judged(service)
        if self._sheet.raw is None:
            await self._judged(service)
        spec = self._sheet.draft.spec if self._sheet.draft is not None else None
        if spec is None or self._sheet.raw is not None:
            return None
        if self._machine is not None:
            return await service.redefine(self._machine.key, spec)
        return await service.define(spec)

    def _failed(self, problem: str) -> None:
        if is_open(self):
            self._say(problem)
        else:  # the form was closed meanwhile
            text = human.one_line(problem)
            self.app.notify(text, title="Not kept", severity="error", markup=False)

    def _made(self, machine: Machine | None, *, start: bool) -> None:
        if machine is None:
            if is_open(self):
                self._show_mistakes()
            return
        self.finish(machine.key)
        if start:
            self._host.ask(
                f"Starting {machine.name}",
                lambda service: service.start(machine.key),
                lambda _: self.app.notify("runs", title=machine.name, markup=False),
                of=("start", frozenset({machine.key})),
            )
        elif self._machine is not None and machine.pid is not None:
            text = "It runs on as it was started; this holds from its next start"
            self.app.notify(text, title=human.one_line(machine.name), markup=False)

    def _show_mistakes(self) -> None:
        """All of them from now on; to the first."""
        self._sheet.touch_all()
        self._tell()
        wrong, _ = self._sheet.wrong()
        if self._sheet.raw is not None:
            self.show_group(YAML)
        elif (first := next((id_ for id_ in ITEMS if id_ in wrong), None)) is not None:
            self.show_group(GROUP_OF[first], first)

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        """Keep nothing; asks when something was typed."""
        self._take_all()
        if not self._sheet.is_changed:
            self.dismiss(None)
            return
        question = Question(
            "Throw away what you typed?", (), "Nothing of it is kept anywhere.", "Throw away"
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self.dismiss(None)

        self.app.push_screen(ConfirmScreen(question), answered)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()


async def _edited(app: App[Any], before: str) -> str | None:
    """What a person made of a text in an editor; None when that failed, and was said.

    Raises:
        OSError: There is no room for the file, or it is gone.
        UnicodeDecodeError: The editor writes another encoding.
    """
    with tempfile.TemporaryDirectory(prefix="broker-vm-") as place:
        path = Path(place) / "machine.yaml"
        path.touch(mode=0o600)
        path.write_text(before, encoding="utf-8")
        if not await lending.edit(app, path, "What you had typed is as it was"):
            return None
        return path.read_text(encoding="utf-8")
