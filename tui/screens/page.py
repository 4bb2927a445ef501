"""What the four pages have in common: a top line, a hint line, and news from the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from broker.human import counted
from broker.model import Health, SourceStatus
from tui import keys
from tui.host import Host
from tui.snapshot import Snapshot
from tui.widgets.hint_bar import HintBar
from tui.widgets.top_bar import TopBar


class Page(Screen[None]):
    """A base screen. Subclasses compose the middle and show snapshots."""

    NAME: ClassVar[str]
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self._shown: Snapshot | None = None
        self._styled = False
        fitting = self._get_breakpoint_classes(
            self.app.size.width, self.app.HORIZONTAL_BREAKPOINTS or []
        )
        self.add_class(*fitting, update=False)  # set later, everything would be styled anew for it

    def compose(self) -> ComposeResult:
        """A line, the page, a line."""
        yield TopBar(self.host, self.NAME)
        yield from self.compose_page()
        yield HintBar(self.dimmed)

    def compose_page(self) -> ComposeResult:
        """What is between the lines."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot, /) -> None:
        """Show what the service said."""
        raise NotImplementedError

    def dimmed(self, act: keys.Act) -> bool:
        """Whether that cannot be done to the selected row. It still says why when pressed."""
        return False

    def on_mount(self) -> None:
        """Follow the app's snapshot."""
        self.watch(self.app, "snapshot", self._news)
        self.watch(self.app, "busy", self._top, init=False)

    def _news(self, snapshot: Snapshot) -> None:
        if self.is_current or self._shown is None:  # one that is not seen costs nothing
            self._shown = snapshot
            self.show(snapshot)
            self._top()

    def _top(self) -> None:
        self.query_one(TopBar).follow()

    @on(events.ScreenResume)
    def _catch_up(self, event: events.ScreenResume) -> None:
        if not self._styled:  # everything on it was a moment ago, when it was mounted
            self._styled, event.refresh_styles = True, False
        if self._shown is not self.host.snapshot:
            self._news(self.host.snapshot)

    def _compositor_refresh(self) -> None:
        """Not in a batch, as the app's start is one: Textual would paint it, and show it nobody."""
        if not self.app._batch_count:
            super()._compositor_refresh()

    def hints_changed(self) -> None:
        """Another row is selected, so other things can be done."""
        self.query_one(HintBar).follow()

    def action_refresh_sources(self) -> None:
        """Ask every source again; the pages change when they answer."""
        self.host.ask(
            "Asking every source", lambda service: service.refresh(), self._refreshed, looks=True
        )

    def _refreshed(self, sources: Sequence[SourceStatus]) -> None:
        failed = [status for status in sources if status.health is Health.FAILED]
        if failed:
            names = ", ".join(status.name for status in failed)
            self.notify(f"Failed: {names}. 3 says why", severity="warning", markup=False)
        else:
            self.notify(f"{counted(len(sources), 'source')} answered", markup=False)
