"""Work in the background, and the one place that decides between a toast and a dialog."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Hashable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from textual.app import App

from broker.errors import BrokerError
from tui.background import begin

if TYPE_CHECKING:
    from broker.service.port import Service

log = logging.getLogger(__name__)
T = TypeVar("T")

TROUBLE_SECONDS: Final = 12.0
"""How long a toast with an error stays: long enough to read two sentences twice."""


class Jobs:
    """Runs what a person asked for; the same thing is never under way twice."""

    def __init__(
        self,
        app: App[Any],
        service: asyncio.Future[Service],
        *,
        log_path: Path | None,
        changed: Callable[[], None],
    ) -> None:
        self._app = app
        self._service = service
        self._log_path = log_path
        self._changed = changed
        self.running: list[str] = []
        """Labels of what is under way, oldest first."""
        self.changing: list[str] = []
        """Those of them that are more than a look at something."""
        self._under_way: set[Hashable] = set()
        self._noted: set[str] = set()

    def run(
        self,
        label: str,
        work: Callable[[Service], Awaitable[T]],
        done: Callable[[T], None] | None = None,
        failed: Callable[[str], None] | None = None,
        *,
        looks: bool = False,
        of: Hashable = None,
    ) -> None:
        """Do `work` once the service is there, then call `done` with what it gave.

        Args:
            label: `Starting web-01`: shown while it lasts, and names it for the log.
            failed: Takes the message of a BrokerError instead of a toast.
            looks: It changes nothing, so that nobody need be told when it is cut short.
            of: What tells it from other things that people call the same; None takes the label.
        """
        what = label if of is None else of
        if what in self._under_way:
            self._app.notify("That is under way already", title=label, markup=False)
            return
        self._under_way.add(what)
        self.running.append(label)
        if not looks:
            self.changing.append(label)
        self._changed()
        guarded = partial(self._guarded, label, what, work, done, failed)
        begin(self._app, guarded, name=label, group="job")

    async def _guarded(
        self,
        label: str,
        what: Hashable,
        work: Callable[[Service], Awaitable[T]],
        done: Callable[[T], None] | None,
        failed: Callable[[str], None] | None,
    ) -> None:
        try:
            result = await work(await asyncio.shield(self._service))
            if done is not None:
                done(result)
        except BrokerError as problem:
            log.info("%s: %s", label, problem)
            if failed is None:
                self.say(problem)
            else:
                failed(str(problem))
        except Exception as problem:
            log.exception("%s failed", label)
            self.trouble(problem)
        finally:
            self._under_way.remove(what)
            self.running.remove(label)
            if label in self.changing:
                self.changing.remove(label)
            self._changed()

    def say(self, problem: BrokerError) -> None:
        """An error a person can be told about: what, and the fix."""
        self._app.notify(
            problem.fix or "The event log may tell more",
            title=problem.what,
            severity="error",
            timeout=TROUBLE_SECONDS,
            markup=False,
        )

    def note(self, texts: Iterable[str], title: str = "Note") -> None:
        """Something that is odd, and no answer to what was asked; each once."""
        for text in texts:
            if text not in self._noted:
                self._noted.add(text)
                log.warning("%s", text)  # a toast goes
                self._app.notify(
                    text, title=title, severity="warning", timeout=TROUBLE_SECONDS, markup=False
                )

    def trouble(self, problem: BaseException) -> None:
        """A bug of ours: show it, so that it can be copied into a report, and go on."""
        from tui.screens.trouble import TroubleScreen

        text = "".join(traceback.format_exception(problem))
        self._app.push_screen(TroubleScreen(text, self._log_path))
