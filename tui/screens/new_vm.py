"""A small form for a local VM: what most people need, each field with its mistake beside it."""

from __future__ import annotations

from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from broker.model import Accel, Display, Machine, MachineKey, MachineSpec, Network
from broker.service.port import Service
from tui.host import Host
from tui.newvm import Form, read
from tui.widgets.choice import Choice
from tui.widgets.field import Field

_TEXTS: Final = (
    ("name", "Name", "web-01"),
    ("image", "Image", "path of a .qcow2 .img .raw or .iso"),
    ("memory", "Memory", "1024, 512M, 2G"),
    ("cpus", "CPUs", "1"),
)
_CHOICES: Final = (
    ("accel", "Runs on", tuple(Accel)),
    ("display", "Display", tuple(Display)),
    ("network", "Network", (Network.USER, Network.NONE)),
    ("start", "Start it", ("now", "later")),
)


class NewVmScreen(ModalScreen[MachineKey]):
    """Dismissed with the new machine's key once the service has it."""

    CSS_PATH = "../styles/new_vm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="new.close"),
        Binding("ctrl+s", "create", "Create", id="new.create"),
        # Priority: what is typed right behind them must land in the next field, not in this one.
        Binding("enter", "enter", show=False, priority=True, id="new.enter"),
        Binding("tab,down", "step(1)", show=False, priority=True, id="new.next"),
        Binding("shift+tab,up", "step(-1)", show=False, priority=True, id="new.previous"),
    ]

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def compose(self) -> ComposeResult:
        """A line per field, with room for what is wrong under it."""
        with Vertical(classes="dialog"):
            yield Static("New VM on this host", classes="title")
            for name, title, example in _TEXTS:
                demo = name == "image" and self._host.demo is not None
                with Horizontal(classes="field"):
                    yield Label(title)
                    hint = f"{example}, or: demo" if demo else example
                    yield Field(id=name, placeholder=hint)
                yield Static("", id=f"{name}-wrong", classes="wrong", markup=False)
            for name, title, words in _CHOICES:
                with Horizontal(classes="field"):
                    yield Label(title)
                    yield Choice(words, id=name)
            yield Static("", id="form-wrong", classes="wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Create  ^s", id="create", variant="primary", compact=True)
                yield Button("Close  Esc", id="close", compact=True)

    def on_mount(self) -> None:
        """Defaults that work for most."""
        self._input("memory").value = "1024"
        self._input("cpus").value = "1"
        self.set_focus(self._input("name"))

    def _input(self, name: str) -> Input:
        return self.query_one(f"#{name}", Input)

    def _choice(self, name: str) -> str:
        return self.query_one(f"#{name}", Choice).value

    def _say(self, field: str, text: str) -> None:
        line = self.query_one(f"#{field}-wrong", Static)
        line.update(text)
        line.set_class(bool(text), "-said")

    def action_step(self, by: int) -> None:
        """To another field, at once."""
        chain = self.focus_chain
        here = chain.index(self.focused) if self.focused in chain else -by
        self.set_focus(chain[(here + by) % len(chain)])

    def action_enter(self) -> None:
        """Press the button, or go to the next field."""
        if isinstance(self.focused, Button):
            self.focused.press()
        else:
            self.action_step(1)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._say(event.input.id or "", "")

    @on(Button.Pressed, "#create")
    def action_create(self) -> None:
        """Check the fields; if they hold, define the VM and perhaps start it."""
        form = Form(
            **{name: self._input(name).value for name, _, _ in _TEXTS},
            **{name: self._choice(name) for name, _, _ in _CHOICES if name != "start"},
        )
        catalog = self._host.catalog
        local = (catalog.row(number) for number in catalog.order)
        taken = {info.machine.name for info in local if info.startable}
        spec, wrong = read(form, taken=taken, demo=self._host.demo)
        for name, _, _ in _TEXTS:
            self._say(name, wrong.get(name, ""))
        self._say("form", "")
        if spec is None:
            self.set_focus(self._input(next(name for name, _, _ in _TEXTS if name in wrong)))
            return
        self._define(spec, start=self._choice("start") == "now")

    def _define(self, spec: MachineSpec, *, start: bool) -> None:
        host = self._host

        async def define(service: Service) -> Machine:
            return await service.define(spec)

        def defined(machine: Machine) -> None:
            if self.is_mounted:
                self.dismiss(machine.key)
            if start:
                host.ask(
                    f"Starting {machine.name}",
                    lambda service: service.start(machine.key),
                    lambda _: self.app.notify("runs", title=machine.name, markup=False),
                )

        host.ask(
            f"Defining {spec.name}", define, defined, lambda problem: self._say("form", problem)
        )

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        """Define nothing."""
        self.dismiss(None)
