from __future__ import annotations

from datetime import timedelta

import pytest

from broker.events import Kind, session_closed
from tests.broker.store.nouns import NOW, session


@pytest.mark.parametrize(
    ("reason", "more", "why"),
    [
        ("client-closed", "", ""),
        ("taken-over", "", ": somebody took the console over"),
        ("backend-closed", "", ": the machine closed the connection"),
        ("client-reset", "Connection reset by peer", ": Connection reset by peer"),
        ("driver-failed", "", ": driver failed"),
    ],
)
def test_the_end_of_a_session_says_after_how_long_and_why(reason: str, more: str, why: str) -> None:
    """Who was thrown out has not simply left."""
    event = session_closed(session("abcdefghijkl"), reason, NOW + timedelta(seconds=162), more=more)
    assert event.text == f"192.0.2.1:4000 left lab/name-u1 after 2m42s{why}"
    assert (event.kind, event.reason) == (Kind.SESSION_CLOSED, reason)
    assert (event.session, event.label) == ("abcdefghijkl", "for Ada")
