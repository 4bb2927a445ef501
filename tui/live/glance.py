"""A picture of a guest now and then: the preview beside the list, and the tiles of the wall.

It looks on by the monitor of a VM of this host, or by a hypervisor's screenshots, and takes
nobody's place. Nothing is asked of a guest while nobody can see the answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Final

from textual.worker import Worker, get_current_worker

from broker.errors import BrokerError
from broker.model import MachineKey
from broker.view import Frame, Way
from tui.host import Host
from tui.live.cells import LETTER, Palette, Row
from tui.live.excerpt import excerpt
from tui.live.frame_view import FrameView
from tui.live.letters import Reader
from tui.live.shades import Shrinker, fit

EVERY_SECONDS: Final = 1.0
CALM_SECONDS: Final = 4.0
"""How seldom a guest is looked at that shows the same all the time."""
RETRY_SECONDS: Final = 5.0
"""How long a guest that could not be looked at is left alone."""


class Glance(FrameView):
    """A small picture of one machine, kept up while it can be seen.

    Args:
        every: Least seconds between two pictures.
        changed: Called when the picture has changed; not for the first one.
        problem: Called with why there is none; with nothing once there is one.
    """

    DEFAULT_CSS = "Glance { width: 1fr; height: 1fr; background: black; }"

    def __init__(
        self,
        host: Host,
        palette: Palette,
        *,
        every: float = EVERY_SECONDS,
        changed: Callable[[], None] = lambda: None,
        problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(palette)
        self._host = host
        self._every = every
        self._told_changed = changed
        self._told_problem = problem
        self._key: MachineKey | None = None
        self._worker: Worker[None] | None = None
        self._frame: Frame | None = None
        self._reader = Reader()
        self._dim = False
        self._leave_until = -math.inf

    def dim(self, dim: bool) -> None:
        """Show it at half its brightness, or as it is."""
        if dim != self._dim:
            self._dim = dim
            self.on_resize()

    def look_at(self, key: MachineKey | None) -> None:
        """Show that machine from now on, or none; after trouble, try again when it is asked for."""
        now = asyncio.get_running_loop().time()
        busy = self._worker is not None or now < self._leave_until
        if key == self._key and (key is None or busy):
            return
        self.rest()
        if key != self._key:
            self._key, self._frame = key, None
            self.want([])
            self.send(0)
        if key is not None:
            # The work, not its coroutine: one that is cancelled before it begins is never awaited.
            work = partial(self._keep, key)
            self._worker = self.run_worker(work, name="glance", exit_on_error=False)

    def rest(self) -> None:
        """Ask no more; what is shown stays, until a machine is looked at again."""
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        self._leave_until = -math.inf

    def on_resize(self) -> None:
        """Make the picture anew for the new size."""
        if self._frame is not None:
            self._put(self._cells(self._frame))

    async def _keep(self, key: MachineKey) -> None:
        try:
            service = await self._host.served()
            async with service.view(key, Way.WATCH, calm=CALM_SECONDS) as view:
                seen = False
                while True:
                    frame = await view.frame()
                    if not seen:
                        seen = True
                        self._told_problem("")
                    first, self._frame = self._frame is None, frame
                    size = self.size
                    cells = await asyncio.to_thread(self._cells, frame)
                    # Made for a size that is not any more, it would overwrite what is right.
                    self._put(cells if self.size == size else self._cells(frame))
                    if not first:
                        self._told_changed()
                    await asyncio.sleep(self._every)
        except BrokerError as problem:
            if self._worker is get_current_worker():
                self._worker = None
                self._leave_until = asyncio.get_running_loop().time() + RETRY_SECONDS
                self._told_problem(problem.what)

    def _cells(self, frame: Frame) -> tuple[list[Row], int, int]:
        width, height = self.size
        if not width or not height:
            return [], 0, 0
        page = self._reader.read(frame)
        if page is not None:
            return excerpt(page, width, height), 0, 0
        port = fit(frame.width, frame.height, width, height)
        return Shrinker().rows(frame, port), port.left, port.top

    def _put(self, cells: tuple[list[Row], int, int]) -> None:
        if self.is_attached:
            rows, left, top = cells
            if self._dim:
                rows = [[_halved(cell) for cell in row] for row in rows]
            self.want(rows, left=left, top=top)
            self.send(0)


def _halved(cell: int) -> int:
    return cell >> LETTER << LETTER | cell >> 1 & 0x7F7F7F7F7F7F
