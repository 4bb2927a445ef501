"""Who looks at which machine now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from broker import human
from broker.model import Session, SessionId
from tui import keys
from tui.rows import Column, counted, session_columns
from tui.screens.confirm import ConfirmScreen, Question
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
        """End the selected session, after asking; the dialog holds its id."""
        session = self.selected
        if session is None:
            return
        console, id_ = human.one_line(session.console), session.id
        question = Question(
            f"Disconnect {human.one_line(session.client)} from {console}?",
            (f"{console}  ({counted(len(session.channels), 'channel')}, session {id_})",),
            "The viewer closes. The machine goes on running.",
            "Disconnect",
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self.host.ask(
                    f"Disconnecting {console}",
                    lambda service: service.disconnect(id_),
                    lambda _: self.app.notify("Disconnected", title=console, markup=False),
                )

        self.app.push_screen(ConfirmScreen(question), answered)
