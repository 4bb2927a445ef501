"""The doctor's steps for the machine that the cursor rests on, taken in the background.

Nothing waits for them: moving on ends those under way, and what was found is kept for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from textual.app import App

from broker.errors import BrokerError
from broker.model import Machine, MachineKey, State
from tui.background import begin

if TYPE_CHECKING:
    from broker.findings import Step
    from broker.service.port import ConsoleInfo, Service

REST_SECONDS: Final = 0.7
"""A look begins when the cursor has rested that long."""
KEPT_SECONDS: Final = 120.0
"""For how long what was found is shown without a new look, while the machine is as it was."""
_OFF: Final = frozenset({State.STOPPED, State.SHUTDOWN, State.CRASHED})
_LAST: Final = "ticket"
"""The machine's last step. What follows is not about it, and a proxy that is knocked at writes down
that somebody came and went: that is for a doctor who was asked."""


class Verdict(NamedTuple):
    """How the way to a console was found.

    Attributes:
        tone: `ok`, `warn` or `bad`.
        words: What is odd or broken, and the fix; that all is well, otherwise.
    """

    tone: str
    words: str


def verdict(steps: Sequence[Step]) -> Verdict | None:
    """What the steps come to; None when none was taken."""
    from broker.findings import Mark

    for mark, tone in ((Mark.FAIL, "bad"), (Mark.WARN, "warn")):
        for step in steps:
            finding = step.finding
            if finding.mark is mark:
                fix = f". {finding.fix}" if finding.fix else ""
                return Verdict(tone, f"{step.name}: {finding.words}{fix}")
    return Verdict("ok", "the way to its screen is clear") if steps else None


class _Found(NamedTuple):
    of: tuple[object, ...]
    at: float
    verdict: Verdict | None


class Checkups:
    """What was found lately, and one look under way at most.

    Args:
        changed: Called when something new was found.
    """

    def __init__(
        self, app: App[Any], service: asyncio.Future[Service], changed: Callable[[], None]
    ) -> None:
        self._app = app
        self._service = service
        self._changed = changed
        self._found: dict[MachineKey, _Found] = {}
        self._looking: tuple[object, ...] | None = None

    def of(self, info: ConsoleInfo) -> Verdict | None:
        """What was found of that console as it is now; begins a look where that is due.

        None of a machine that is off, which its state says already.
        """
        if info.machine.state in _OFF:
            return None
        found = self._found.get(info.machine.key)
        face = _face(info.machine)
        fresh = found is not None and found.of == face
        if not (fresh and found is not None and self._now() - found.at < KEPT_SECONDS):
            self._begin(info.machine, face)
        return found.verdict if found is not None and fresh else None

    def _begin(self, machine: Machine, face: tuple[object, ...]) -> None:
        if self._looking == face:
            return
        self._looking = face
        look = partial(self._look, machine, face)
        begin(self._app, look, name="checkup", group="checkup", exclusive=True)

    async def _look(self, machine: Machine, face: tuple[object, ...]) -> None:
        steps: list[Step] = []
        try:
            await asyncio.sleep(REST_SECONDS)
            service = await asyncio.shield(self._service)
            async with aclosing(service.diagnose(machine.key)) as taking:
                async for step in taking:
                    steps.append(step)
                    if step.name == _LAST:
                        break
            found = verdict(steps)
        except BrokerError as problem:
            found = Verdict("bad", str(problem))
        finally:
            if self._looking == face:
                self._looking = None
        self._found[machine.key] = _Found(face, self._now(), found)
        self._changed()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _face(machine: Machine) -> tuple[object, ...]:
    """What makes an earlier finding void when it changes."""
    return machine.key, machine.state, machine.pid, machine.target
