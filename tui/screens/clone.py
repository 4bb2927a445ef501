"""Making a VM of one that is off: its name, whole or linked, and how far the copy is."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Label, Static

from broker import human
from broker.model import Machine, MachineKey
from broker.service.port import Service
from tui.closing import is_open
from tui.host import Host
from tui.screens.form_screen import FormScreen
from tui.widgets.choice import Choice
from tui.widgets.field import Field

WHOLE, LINKED = "whole", "linked"
_SAYS = {
    WHOLE: "Its disks are copied, and the two have nothing to do with each other.",
    LINKED: (
        "Quick: its disks hold only what differs. {name} is the base then, and is not started as"
        " long as the clone is there."
    ),
}


class CloneScreen(FormScreen[MachineKey]):
    """Dismissed with the new machine's key; Esc leaves a copy that runs to run on."""

    CSS_PATH = "../styles/dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="clone.close"),
        Binding("enter", "enter", show=False, priority=True, id="clone.enter"),
        Binding("tab,down", "step(1)", show=False, priority=True, id="clone.next"),
        Binding("shift+tab,up", "step(-1)", show=False, priority=True, id="clone.previous"),
    ]

    def __init__(self, host: Host, machine: Machine, taken: Collection[str]) -> None:
        super().__init__()
        self._host = host
        self._machine = machine
        self._under_way = False
        self._new: MachineKey | None = None
        self._proposed = free_name(machine.name, taken)

    def compose(self) -> ComposeResult:
        """Two fields, what they mean, and the answer."""
        with Vertical(classes="dialog"):
            yield Static(
                f"Clone {human.one_line(self._machine.name)}", classes="title", markup=False
            )
            with Horizontal(classes="field"):
                yield Label("Name    ")
                yield Field(self._proposed, id="name", placeholder="what the new one is called")
            with Horizontal(classes="field"):
                yield Label("Disks   ")
                yield Choice((WHOLE, LINKED), id="how")
            yield Static("", id="means", classes="consequence", markup=False)
            yield Static("", id="wrong", classes="wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Clone  ⏎", id="clone", variant="primary", compact=True)
                yield Button("Close  Esc", id="close", compact=True)

    def on_mount(self) -> None:
        """Begin in the name."""
        self.set_focus(self.query_one("#name", Input))
        self.watch(self.query_one(Choice), "place", self._explain)

    def _explain(self) -> None:
        says = _SAYS[self.query_one(Choice).value]
        self.query_one("#means", Static).update(
            says.format(name=human.one_line(self._machine.name))
        )

    def action_enter(self) -> None:
        """Do it, or close."""
        if isinstance(self.focused, Button) and self.focused.id == "close":
            self.action_close()
        else:
            self.begin()

    @on(Button.Pressed, "#clone")
    def begin(self) -> None:
        """Have it made; the dialog stays, and says how far it is."""
        name = self.query_one("#name", Input).value.strip()
        if self._under_way or not name:
            return
        self._under_way = True
        self._say("")
        linked = self.query_one(Choice).value == LINKED
        key, label = self._machine.key, f"Cloning {self._machine.name} as {name}"

        async def clone(service: Service) -> Machine:
            return await service.clone(key, name, linked=linked, tell=self._progress)

        self._host.ask(label, clone, self._made, self._failed, of=(self, label))

    def _progress(self, text: str) -> None:
        if is_open(self):
            self.query_one("#means", Static).update(f"{self._host.glyphs.busy} {text}")

    def _made(self, machine: Machine) -> None:
        self._under_way = False
        self.app.notify("is there", title=human.one_line(machine.name), markup=False)
        self._new = machine.key
        if is_open(self):
            self._leave()

    @on(events.ScreenResume)
    def _leave(self) -> None:
        """Close once there is a clone; what lies over this, where somebody types, closes first."""
        if self._new is not None and self.is_active:
            self.dismiss(self._new)

    def _failed(self, problem: str) -> None:
        self._under_way = False
        if is_open(self):
            self._explain()
            self._say(problem)
        else:
            self.app.notify(
                human.one_line(problem), title="Not cloned", severity="error", markup=False
            )

    def _say(self, text: str) -> None:
        self.query_one("#wrong", Static).update(human.one_line(text) if text else "")

    @on(Input.Changed)
    def _typed(self) -> None:
        self._say("")

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        """Go on; a copy under way goes on too, and a toast tells its end."""
        self.dismiss(None)


def free_name(name: str, taken: Collection[str]) -> str:
    """A name like it that nothing has: `web-01` makes `web-02`, `web` makes `web-2`."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    if not digits:
        stem, digits = f"{name}-", "1"
    number = int(digits)
    while True:
        number += 1
        if (found := f"{stem}{number:0{len(digits)}}") not in taken:
            return found
