"""The screen of the selected machine, small, beside what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.containers import Container

from broker.model import MachineKey, State
from broker.service.info import ConsoleInfo
from tui.host import Host
from tui.live.cells import Palette

if TYPE_CHECKING:
    from tui.live.glance import Glance

_SHOWN: Final = frozenset({State.RUNNING, State.PAUSED, State.SUSPENDED, State.UNRESPONSIVE})


def can_glance(info: ConsoleInfo) -> bool:
    """Whether there is a picture to be had without taking anybody's place."""
    return info.watchable and info.machine.state in _SHOWN


class Preview(Container):
    """Shown while there is a picture to be had, and nowhere in the way otherwise.

    What draws the picture is imported with the first one.
    """

    DEFAULT_CSS = """
    Preview { height: 13; display: none; margin: 0 0 1 0; background: black; }
    .-narrow Preview { height: 0; }
    """

    def __init__(self, host: Host, palette: Palette) -> None:
        super().__init__()
        self._host = host
        self._palette = palette
        self._wanted: ConsoleInfo | None = None
        self._rests = False
        self._troubled: MachineKey | None = None
        """A machine that could not be looked at, the last time it was tried."""
        self._glance: Glance | None = None

    def look_at(self, info: ConsoleInfo | None) -> None:
        """Show that machine from now on, or none."""
        wanted = info if info is not None and can_glance(info) and self._has_room() else None
        self._wanted, self._rests = wanted, False
        key = wanted.machine.key if wanted is not None else None
        if key != self._troubled:
            self._troubled = None
        self.display = wanted is not None and self._troubled is None
        if wanted is not None and self._glance is None:
            from tui.live.glance import Glance

            self._glance = Glance(self._host, self._palette, problem=self._gone)
            self.mount(self._glance)
            self.call_after_refresh(self._look)
        else:
            self._look()

    def rest(self) -> None:
        """Nobody sees it: ask no guest for anything. What is shown stays."""
        self._rests = True
        if self._glance is not None:
            self._glance.rest()

    def _look(self) -> None:
        if self._glance is not None and not self._rests:
            self._glance.look_at(None if self._wanted is None else self._wanted.machine.key)

    def _has_room(self) -> bool:
        return not self.screen.has_class("-narrow")

    def _gone(self, problem: str) -> None:
        wanted = self._wanted
        self._troubled = wanted.machine.key if problem and wanted is not None else None
        self.display = wanted is not None and not problem
