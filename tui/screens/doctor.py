"""The steps from a console to its picture, as the doctor takes them, up to the first broken one."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from broker import human
from broker.findings import Mark, Step
from broker.model import MachineKey
from broker.service.port import Service
from tui import keys
from tui.closing import is_open
from tui.copying import copy
from tui.host import Host
from tui.widgets.hint_bar import HintBar
from tui.widgets.reading import Reading


class DoctorScreen(Screen[None]):
    """One console's way, step by step."""

    KEYS = "Doctor"
    CSS_PATH = "../styles/log.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in (*keys.DOCTOR, keys.HELP)]

    def __init__(self, host: Host, key: MachineKey, name: str) -> None:
        super().__init__()
        self._host = host
        self._key = key
        self._machine = human.one_line(name)
        self._text = Text()
        self._looking = False

    def compose(self) -> ComposeResult:
        """A title, the steps, the keys."""
        yield Static(f" Doctor: {self._machine}", id="title", markup=False)
        with Reading():
            yield Static("", id="text", markup=False)
        yield HintBar(lambda _: False)

    def on_mount(self) -> None:
        """Look."""
        self.query_one(Reading).focus()
        self.action_again()

    def action_again(self) -> None:
        """Take the steps once more."""
        if self._looking:
            return
        self._looking = True
        self._text = Text()
        self._show(f"Looking{self._host.glyphs.dots}")

        async def look(service: Service) -> bool:
            well = True
            async for step in service.diagnose(self._key):
                self._add(step)
                well = well and step.finding.mark is not Mark.FAIL
            return well

        def over(well: bool) -> None:
            self._looking = False
            if well:
                self._text.append("\nThe way to its screen is clear.\n", "bold")
            self._show()

        def failed(problem: str) -> None:
            self._looking = False
            self._show(problem)

        label = f"Looking into {self._machine}"
        self._host.ask(label, look, over, failed, looks=True, of=self)

    def _add(self, step: Step) -> None:
        glyphs, finding = self._host.glyphs, step.finding
        mark = {Mark.OK: glyphs.on, Mark.WARN: glyphs.half, Mark.FAIL: glyphs.bad}[finding.mark]
        word = {Mark.OK: "", Mark.WARN: "odd: ", Mark.FAIL: "broken: "}[finding.mark]
        self._text.append(f"{mark} {step.name:<10} ", "bold")
        self._text.append(f"{word}{human.one_line(finding.words)}")
        self._text.append(f"   {step.seconds * 1000:.0f} ms\n", "dim")
        if finding.fix:
            self._text.append(f"  {'':<10} Fix: {human.one_line(finding.fix)}\n")
        self._show()

    def _show(self, more: str = "") -> None:
        if is_open(self):
            self.query_one("#text", Static).update(self._text + more if more else self._text)

    def action_copy(self) -> None:
        """Through the terminal's own clipboard (OSC 52)."""
        copy(self.app, self._text.plain)

    def action_close(self) -> None:
        """Back to where one was."""
        self.dismiss(None)
