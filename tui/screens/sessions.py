"""Who looks at which machine now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.binding import BindingType

from broker import human
from broker.errors import NotFound
from broker.human import counted
from broker.model import Session, SessionId
from broker.service.port import MOST_SAID, Service
from tui import keys
from tui.people import person
from tui.rows import Column, session_columns
from tui.screens.ask_line import AskLineScreen
from tui.screens.list_page import ListPage
from tui.snapshot import Snapshot


class SessionsScreen(ListPage[SessionId, Session]):
    """Live sessions, oldest first."""

    NAME = "sessions"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.SESSIONS]
    EMPTY = "Nobody is connected.\n\nSessions show up here while a viewer is open."

    def columns(self) -> Sequence[Column[Session]]:
        """Who, where from, how much."""
        return session_columns(self.host.now, self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[SessionId, Session]]:
        """The live sessions."""
        return [(session.id, session) for session in snapshot.sessions]

    def dimmed(self, act: keys.Act) -> bool:
        """What is done to sessions needs one, or marked ones; going to its console needs one."""
        if act is keys.SESSION_CONSOLE:
            return self.selected is None
        any_marked = any(id_ in self.table.marks for id_ in self.rows)
        return act.needs and self.selected is None and not any_marked

    def _whom(self, sessions: Sequence[Session]) -> str:
        if len(sessions) > 1:
            return counted(len(sessions), "session")
        one = sessions[0]
        return f"{person(one)} at {human.one_line(one.console)}"

    def action_message(self) -> None:
        """Say something to the selected or the marked sessions, in a moment; their ids are held."""
        sessions = [self.rows[id_] for id_ in self.chosen()]
        if not sessions or not self.host.may_change():
            return
        whom, held = self._whom(sessions), [session.id for session in sessions]

        async def say(text: str, service: Service) -> None:
            for id_ in held:
                with _unless_gone(len(held)):
                    await service.message(id_, text)

        def said(_: None) -> None:
            self.app.notify("Sent; most viewers only log it", title=whom, markup=False)

        def typed(text: str | None) -> None:
            if text:
                label, of = f"Telling {whom}", ("message", text, frozenset(held))
                tell = partial(say, text)
                self.host.later(label, lambda: self.host.ask(label, tell, said, of=of), of)

        hint = "Most viewers write it to their log and show nothing."
        self.app.push_screen(AskLineScreen(f"Say to {whom}", "", hint, _wrong), typed)

    def action_disconnect(self) -> None:
        """End the selected or the marked sessions, in a moment; their ids are held."""
        sessions = [self.rows[id_] for id_ in self.chosen()]
        if not sessions or not self.host.may_change():
            return
        label = f"Disconnecting {self._whom(sessions)}"
        held = [session.id for session in sessions]
        of = ("disconnect", frozenset(held))

        async def disconnect(service: Service) -> None:
            for id_ in held:
                with _unless_gone(len(held)):
                    await service.disconnect(id_)

        def disconnected(_: None) -> None:
            self.app.notify("Disconnected", title=label, markup=False)

        self.host.later(label, lambda: self.host.ask(label, disconnect, disconnected, of=of), of)
        self.table.unmark()


def _unless_gone(of: int) -> contextlib.AbstractContextManager[None]:
    """Of several, one that has left by itself meanwhile is no failure."""
    return contextlib.suppress(NotFound) if of > 1 else contextlib.nullcontext()


def _wrong(text: str) -> str:
    return "" if 0 < len(text) <= MOST_SAID else f"1 to {MOST_SAID} characters"
