"""What is known about one console, and what cannot be done to it and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Static

from broker import human
from broker.events import Kind
from broker.model import GivenTarget, HandOverTarget, TcpTarget, UnixTarget
from tui import trends
from tui.checkup import Verdict
from tui.glyphs import ASCII, Glyphs
from tui.live.preview import Preview
from tui.people import person
from tui.rows import moment, state_cell
from tui.trends import Point

if TYPE_CHECKING:
    from broker.events import Event
    from broker.model import Session
    from broker.service.info import ConsoleInfo

_EVENTS_SHOWN = 6
_COLOURS = {"ok": "state-ok", "warn": "state-warn", "bad": "state-bad"}


class _Text(Static):
    """A text as high as it is; what it measures itself is nothing to lay the screen out for."""

    virtual_size = Reactive(Size(0, 0), repaint=False)


_OF_EVERY_SESSION: Final = (Kind.CHANNEL_OPENED, Kind.CHANNEL_CLOSED)
"""A dozen of these come with each viewer; who it was would be out of sight behind them."""


class DetailPanel(VerticalScroll, can_focus=False):
    """Facts, sessions and events of one console."""

    def __init__(
        self, now: Callable[[], datetime], glyphs: Glyphs, preview: Preview | None = None
    ) -> None:
        super().__init__()
        self._preview = preview
        self._now = now
        self._glyphs = glyphs
        self._text = Text()

    def compose(self) -> ComposeResult:
        """The screen where there is one to be seen, and a text."""
        if self._preview is not None:
            yield self._preview
        yield _Text("", markup=False)

    def show(
        self,
        info: ConsoleInfo | None,
        sessions: Sequence[Session],
        events: Sequence[Event],
        verdict: Verdict | None = None,
        points: Sequence[Point] = (),
    ) -> None:
        """Show a console with its own sessions and events, or nothing.

        Args:
            verdict: How the way to it was found; None when nobody has looked.
            points: Of its sessions' last half minute.
        """
        if self._preview is not None:
            self._preview.look_at(info)
        text = Text()
        if info is not None:
            text.append(human.one_line(info.machine.name), "bold")
            text.append(f"\n{state_cell(info, self._glyphs).text}\n")
            if info.machine.reason:
                text.append(f"{human.one_line(info.machine.reason)}\n", "italic")
            if verdict is not None:
                self._verdict(text, verdict)
            text.append("\n")
            for name, value in facts(info, self._now()):
                text.append(f"{name:<9}", "dim").append(f"{human.one_line(value)}\n")
            self._sessions(text, sessions)
            self._trends(text, points)
            self._events(text, events)
        if text != self._text:
            self._text = text
            self.query_one(Static).update(text)

    def _verdict(self, text: Text, verdict: Verdict) -> None:
        """A dot in a colour; the mark and the words say the same without it."""
        colours = self.app.theme_variables
        mark = {"ok": self._glyphs.on, "warn": self._glyphs.half}.get(verdict.tone)
        style = colours.get(_COLOURS[verdict.tone], "")
        text.append(f"{mark or self._glyphs.bad} ", style)
        text.append(f"{human.one_line(verdict.words)}\n", "dim" if verdict.tone == "ok" else "")

    def _sessions(self, text: Text, sessions: Sequence[Session]) -> None:
        if not sessions:
            return
        text.append("\nConnected\n", "bold")
        for session in sessions:
            age = human.age((self._now() - session.started_at).total_seconds())
            text.append(f"{person(session)}  {age}\n")
            if session.policy.words:
                text.append(f"  {human.one_line(', '.join(session.policy.words))}\n", "dim")
            down, up = human.size(session.bytes_to_client), human.size(session.bytes_to_server)
            text.append(f"  down {down}, up {up}\n", "dim")

    def _trends(self, text: Text, points: Sequence[Point]) -> None:
        drawn = trends.lines(points, ascii_only=self._glyphs is ASCII) if len(points) > 1 else {}
        for name, (bars, value) in drawn.items():
            newest = f"{value * 1000:.1f} ms" if name == "rtt" else f"{human.size(int(value))}/s"
            text.append(f"  {name:<5}", "dim").append(bars).append(f"  {newest}\n")

    def _events(self, text: Text, events: Sequence[Event]) -> None:
        told = [event for event in events if event.kind not in _OF_EVERY_SESSION]
        if not told:
            return
        text.append("\nEvents\n", "bold")
        for event in reversed(told[-_EVENTS_SHOWN:]):
            text.append(f"{moment(event.at)[-8:]}  ", "dim")
            text.append(f"{human.one_line(event.text)}\n")


def facts(info: ConsoleInfo, now: datetime) -> Iterator[tuple[str, str]]:
    """What is known, name and value; what is not known is left out."""
    machine = info.machine
    yield "source", machine.key.source
    if machine.hypervisor:
        same = machine.hypervisor_ip in ("", machine.hypervisor)
        yield (
            "host",
            machine.hypervisor if same else f"{machine.hypervisor} ({machine.hypervisor_ip})",
        )
    yield "via", _via(info)
    if machine.pid is not None:
        yield "process", str(machine.pid)
    if machine.started_at is not None:
        yield "up", human.age((now - machine.started_at).total_seconds())
    if info.seen_at is not None:
        yield "seen", f"{human.age((now - info.seen_at).total_seconds())} ago"
    if machine.adopted:
        yield "kind", "seen: adopted, never started from here"
    yield "uuid", machine.key.uuid


def _via(info: ConsoleInfo) -> str:
    machine = info.machine
    match machine.target:
        case HandOverTarget() | GivenTarget():
            return f"{machine.protocol}, handed over, no port"
        case UnixTarget():
            return f"{machine.protocol}, unix socket"
        case TcpTarget(tls_port=tls_port, port=port, host=host):
            return (
                f"{machine.protocol}, {'TLS' if tls_port else 'TCP'} to {host}:{tls_port or port}"
            )
        case _:
            return "no screen" if machine.protocol == "none" else machine.protocol.value
