"""What a local VM said: QEMU's own output, or the guest's serial port."""

from __future__ import annotations

import re
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from broker import human
from broker.model import MachineKey
from tui import keys
from tui.closing import is_open
from tui.copying import copy
from tui.host import Host
from tui.widgets.hint_bar import HintBar
from tui.widgets.reading import Reading

_KEPT_LINES = 2000
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class MachineLogScreen(Screen[None]):
    """The newest lines, the end in sight."""

    KEYS = "Log"
    CSS_PATH = "../styles/log.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        act.binding() for act in (*keys.MACHINE_LOG, keys.HELP)
    ]

    def __init__(self, host: Host, key: MachineKey, name: str) -> None:
        super().__init__()
        self._host = host
        self._key = key
        self._machine = human.one_line(name)
        self._serial = False
        self._text = ""

    def compose(self) -> ComposeResult:
        """A title, the text, the keys."""
        yield Static("", id="title", markup=False)
        with Reading():
            yield Static("", id="text", markup=False)
        yield HintBar(lambda _: False)

    def on_mount(self) -> None:
        """Read it."""
        self.query_one(Reading).focus()
        self.action_again()

    def action_again(self) -> None:
        """Read it once more."""
        serial = self._serial
        which = "serial port" if serial else "QEMU's output"
        self.query_one("#title", Static).update(f" {self._machine}: {which}")
        self._host.ask(
            f"Reading {which} of {self._machine}",
            lambda service: service.machine_log(self._key, serial=serial),
            lambda text: self._show(text, serial=serial),
            lambda problem: self._show(problem, serial=serial),
            looks=True,
            of=(self, serial),
        )

    def _show(self, text: str, *, serial: bool) -> None:
        if not is_open(self) or serial != self._serial:
            return
        self._text = clean(text)
        empty = "The guest has sent nothing." if serial else "QEMU has said nothing."
        self.query_one("#text", Static).update(self._text or empty)
        self.query_one(Reading).scroll_end(animate=False)

    def action_other(self) -> None:
        """The other of the two."""
        self._serial = not self._serial
        self.action_again()

    def action_copy(self) -> None:
        """Through the terminal's own clipboard (OSC 52)."""
        copy(self.app, self._text)

    def action_close(self) -> None:
        """Back to where one was."""
        self.dismiss(None)


def clean(text: str) -> str:
    """A guest's output as lines that cannot move the cursor: escape sequences are cut out."""
    plain = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\t", "    ")
    lines = plain.split("\n")[-_KEPT_LINES:]
    return "\n".join(human.one_line(line.rsplit("\r", 1)[-1]) for line in lines).strip("\n")
