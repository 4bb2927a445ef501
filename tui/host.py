"""What a screen asks of the app. Screens know this Protocol, never the app itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from textual.events import Event

    from broker.errors import BrokerError
    from broker.model import MachineKey, MachineSpec
    from broker.service.port import ConsoleInfo, Service
    from tui.catalog import Catalog
    from tui.checkup import Verdict
    from tui.glyphs import Glyphs
    from tui.snapshot import Snapshot

T = TypeVar("T")


class Captor(Protocol):
    """Has every key while a guest's screen is shown, before any binding does."""

    def take(self, event: Event) -> bool:
        """Whether it was taken, so that nobody else gets it."""
        ...


class Host(Protocol):
    """The app, as screens see it."""

    snapshot: Snapshot
    catalog: Catalog
    glyphs: Glyphs
    now: Callable[[], datetime]
    log_path: Path | None
    busy: tuple[str, ...]
    """Labels of what is under way."""
    proxy_problem: BrokerError | None
    """Why no proxy is served here."""
    captor: Captor | None
    """Who has keys before anybody else."""

    @property
    def demo(self) -> MachineSpec | None:
        """The demo guest; None when it did not come with this installation."""

    async def served(self) -> Service:
        """The service, once it is open.

        Raises:
            BrokerError: There is none.
        """
        ...

    def checkup(self, info: ConsoleInfo) -> Verdict | None:
        """How the way to a console was found lately; begins a look where that is due."""

    def ask(
        self,
        label: str,
        work: Callable[[Service], Awaitable[T]],
        done: Callable[[T], None] | None = None,
        failed: Callable[[str], None] | None = None,
        *,
        looks: bool = False,
        of: Hashable = None,
    ) -> None:
        """Ask the service in the background; see `jobs.Jobs.run`."""

    def do(self, verb: str, key: MachineKey) -> None:
        """Do a verb of keys.py to a machine, or say why not."""

    columns: tuple[str, ...] | None
    """Titles of the columns that the list of consoles shows; None for all. May be set."""
    readonly: bool
    """Nothing may be changed; viewers may look only."""

    def do_all(self, verb: str, keys: Sequence[MachineKey]) -> None:
        """Do a verb of power to machines, or say why not."""

    def power_menu(self, keys: Sequence[MachineKey]) -> None:
        """The menu of what can be done to their power."""

    def new_vm(self) -> None:
        """The form for a new VM of this host."""

    def start_demo(self) -> None:
        """Have the demo guest running, and go to it."""

    def may_change(self) -> bool:
        """Whether anything may be changed; says that not when it may not."""

    def later(self, label: str, act: Callable[[], None], of: Hashable) -> None:
        """Do it in a few seconds, unless it is undone; see `undo.Undo.later`."""

    def show_console(self, key: MachineKey) -> None:
        """Go to the console list with that machine selected."""

    def show_filtered(self, text: str) -> None:
        """Go to the console list with that filter."""
