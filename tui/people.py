"""Whom something is done to: a machine, and who is at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import human
from broker.service.info import ConsoleInfo
from tui.host import Host
from tui.rows import state_word

if TYPE_CHECKING:
    from broker.model import Session


def person(session: Session) -> str:
    """Whom a session was opened for, where that is known, and where they are."""
    return human.one_line(f"{session.label} {session.client}".strip())


def who(host: Host, info: ConsoleInfo) -> str:
    """A machine by its full name, its state, and the people connected to it."""
    machine = info.machine
    there = [s for s in host.snapshot.sessions if s.key == machine.key]
    people = ", ".join(map(person, there[:2]))
    if len(there) > 2:
        people += f" and {len(there) - 2} more"
    connected = f", {info.sessions} connected" if info.sessions else ""
    line = f"{human.one_line(machine.full_name)}   {state_word(machine.state)}{connected}"
    return f"{line}: {people}" if people else line
