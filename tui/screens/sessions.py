"""Who looks at which machine now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from broker import human
from broker.errors import NotFound
from broker.model import Session, SessionId
from broker.service.port import Service
from tui import keys
from tui.rows import Column, counted, session_columns
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
        """Both verbs need a session."""
        return act in (keys.DISCONNECT, keys.SESSION_CONSOLE) and self.selected is None

    def action_disconnect(self) -> None:
        """End the selected or the marked sessions, in a moment; their ids are held."""
        sessions = [self.rows[id_] for id_ in self.chosen()]
        if not sessions or not self.host.may_change():
            return
        if len(sessions) == 1:
            one = sessions[0]
            whom = f"{human.one_line(one.client)} from {human.one_line(one.console)}"
        else:
            whom = counted(len(sessions), "session")
        label = f"Disconnecting {whom}"
        held = [session.id for session in sessions]

        async def disconnect(service: Service) -> None:
            if len(held) == 1:
                await service.disconnect(held[0])
                return
            for id_ in held:
                with contextlib.suppress(NotFound):  # it has left by itself meanwhile
                    await service.disconnect(id_)

        def disconnected(_: None) -> None:
            self.app.notify("Disconnected", title=label, markup=False)

        self.host.later(label, lambda: self.host.ask(label, disconnect, disconnected))
        self.table.unmark()
