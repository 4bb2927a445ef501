"""The list alone, to be measured: `python -m bench.list_app ours|stock ROWS UPDATES_A_SECOND`.

`ours` is the whole application over a service in memory. `stock` is Textual's own DataTable with
the same columns, filter and updates, written as its documentation has it; it shows what the home
(`BROKER_HOME`) has stored. Updates begin when F9 is pressed, so that the same process can be looked
at in peace before.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import DataTable, Input, Label

from broker.model import (
    Health,
    Machine,
    MachineId,
    MachineKey,
    ProxyStatus,
    SourceName,
    SourceStatus,
    State,
    TcpTarget,
)
from broker.service.port import ConsoleInfo

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STATES = (State.RUNNING, State.RUNNING, State.PAUSED, State.STOPPED)
BURST = 10
"""Updates come ten at a time; half of them are for rows on the screen."""


def rows(count: int) -> list[ConsoleInfo]:
    """So many consoles of five sources."""
    return [_row(number) for number in range(count)]


def _row(number: int) -> ConsoleInfo:
    source = SourceName(f"source-{number % 5}")
    return ConsoleInfo(
        Machine(
            MachineKey(source, MachineId(f"6f4e2c1a-0000-0000-0000-{number:012d}")),
            f"{('k8s-node', 'db', 'web')[number % 3]}-{number:06d}",
            STATES[number % 4],
            hypervisor=f"host-{number % 40:02d}",
            hypervisor_ip=f"192.0.2.{number % 250}",
            started_at=NOW,
            target=TcpTarget("192.0.2.7", tls_port=5900 + number % 1000),
        ),
        seen_at=NOW,
    )


def _places(count: int, turn: int) -> list[int]:
    """Which rows the next burst changes: five of the first forty, five anywhere."""
    near = [(turn * 7 + step * 11) % min(40, count) for step in range(BURST // 2)]
    return near + [(turn * 7919 + step * 104_729) % count for step in range(BURST // 2)]


class Memory:
    """As much of the service as the application needs to show a list."""

    notes: tuple[str, ...] = ()

    def __init__(self, infos: list[ConsoleInfo]) -> None:
        self.rows = infos
        self.turn = 0
        self._news = asyncio.Event()

    def burst(self) -> None:
        """Ten rows look different."""
        self.turn += 1
        for place in _places(len(self.rows), self.turn):
            old = self.rows[place]
            self.rows[place] = replace(old, sessions=(old.sessions + 1) % 10)
        self._news.set()

    async def consoles(self) -> list[ConsoleInfo]:
        return list(self.rows)

    async def sessions(self) -> list[Any]:
        return []

    async def sources(self) -> list[SourceStatus]:
        return [SourceStatus(SourceName("source-0"), "static", Health.OK)]

    async def events(self, *, limit: int = 200, after: int = 0) -> list[Any]:
        return []

    async def changes(self) -> AsyncIterator[None]:
        while True:
            yield None
            await self._news.wait()
            self._news.clear()

    async def proxy_status(self) -> ProxyStatus:
        return ProxyStatus(True, host="127.0.0.1", tls_port=5920)

    async def host_proxy(self) -> ProxyStatus:
        return await self.proxy_status()

    async def leave_proxy(self, *, keep_sessions: bool) -> None:
        return None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        yield self


async def _updates(rate: int, burst: Any) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        burst()
        due += BURST / rate
        await asyncio.sleep(max(0.0, due - loop.time()))


def ours(count: int, rate: int) -> None:
    """The application."""
    import gc

    import tui
    from tui.__main__ import mind_garbage
    from tui.app import BrokerApp

    gc.disable()
    memory = Memory(rows(count))

    class Measured(BrokerApp):
        CSS_PATH = Path(tui.__file__).parent / "styles" / "app.tcss"
        BINDINGS: ClassVar[list[Any]] = [Binding("f9", "updates", priority=True)]

        def action_updates(self) -> None:
            self.run_worker(_updates(rate, memory.burst))

    initial = list(memory.rows)
    Measured(memory.opened, initial=initial, now=lambda: NOW, preload=mind_garbage).run()


def stock(count: int, rate: int) -> None:
    """DataTable over what is stored, read on the quick path; what that checks first is left out."""
    from broker.config.locations import Locations
    from broker.service.consoles import info_of
    from broker.store.hot import open_hot

    store = open_hot(Locations.from_env().database)
    if store is None:
        raise RuntimeError("the store cannot be read on the quick path")
    stored = [info_of(found) for found in store.first_machines(count)]
    store.close()
    Stock(stored, rate).run()


class Stock(App[None]):
    """DataTable, filtered by filling it anew; one types into its filter from the start."""

    BINDINGS: ClassVar[list[Any]] = [Binding("f9", "updates", priority=True)]
    CSS = "Input { dock: top; height: 1; border: none; } #count { dock: bottom; }"
    COLUMNS = ("NAME", "STATE", "VIA", "SOURCE", "HOST", "SES", "UP")

    def __init__(self, infos: list[ConsoleInfo], rate: int) -> None:
        super().__init__()
        self.memory = Memory(infos)
        self._rate = rate
        self._shown: set[str] = set()

    def compose(self) -> ComposeResult:
        yield Input()
        yield DataTable(cursor_type="row")
        yield Label("", id="count")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        table = self.query_one(DataTable)
        for title in self.COLUMNS:
            table.add_column(title, key=title)
        self._fill("")

    def _fill(self, text: str) -> None:
        table = self.query_one(DataTable)
        table.clear()
        self._shown.clear()
        for info in self.memory.rows:
            shown = cells(info)
            if text in " ".join(shown).lower():
                self._shown.add(info.machine.key.uuid)
                table.add_row(*shown, key=info.machine.key.uuid)
        count = f"{table.row_count:,} of {len(self.memory.rows):,}"
        self.query_one("#count", Label).update(count)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def action_updates(self) -> None:
        self.run_worker(_updates(self._rate, self._burst))

    def _burst(self) -> None:
        self.memory.burst()
        table = self.query_one(DataTable)
        for place in _places(len(self.memory.rows), self.memory.turn):
            info = self.memory.rows[place]
            if info.machine.key.uuid in self._shown:
                table.update_cell(info.machine.key.uuid, "SES", str(info.sessions))


def cells(info: ConsoleInfo) -> tuple[str, ...]:
    """What DataTable shows of a console, and searches."""
    machine = info.machine
    return (
        machine.name,
        machine.state.value,
        machine.protocol.value,
        machine.key.source,
        machine.hypervisor,
        str(info.sessions),
        "4h",
    )


if __name__ == "__main__":
    which, how_many, how_often = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if which == "ours":
        ours(how_many, how_often)
    else:
        stock(how_many, how_often)
