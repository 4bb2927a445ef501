"""What a cell says: nouns in, columns of text and tone out. No Textual, no I/O.

A tone is a word (`ok`, `bad`, …) that the stylesheet gives a colour; the text says the same
thing without it. Everything from elsewhere passes `human.one_line` before it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from broker import human
from broker.events import Event, Kind
from broker.model import Health, Protocol, SourceStatus, State
from broker.service.info import ConsoleInfo
from tui.glyphs import UNICODE, Glyphs

if TYPE_CHECKING:
    from broker.latency import Counts
    from broker.model import Session

R = TypeVar("R")


class Cell(NamedTuple):
    """Text and what it means."""

    text: str
    tone: str = ""


class Column(NamedTuple, Generic[R]):
    """One column of a table.

    Attributes:
        width: Least width; columns with `flex` share what is left.
        rank: When room is short the column with the highest rank goes first.
        hits: Filter words are marked in it.
        sort: What rows are ordered by when it is chosen; None takes what the cell says.
    """

    title: str
    width: int
    cell: Callable[[R], Cell]
    rank: int = 0
    flex: bool = False
    right: bool = False
    hits: bool = False
    sort: Callable[[R], Any] | None = None

    def order(self, row: R) -> Any:
        """What to sort that row by."""
        return self.cell(row).text if self.sort is None else self.sort(row)


_TONES: Final = {
    State.RUNNING: "ok",
    State.PAUSED: "warn",
    State.SUSPENDED: "warn",
    State.STARTING: "busy",
    State.BUSY: "busy",
    State.MIGRATING: "busy",
    State.CRASHED: "bad",
    State.ERROR: "bad",
    State.UNRESPONSIVE: "bad",
    State.STOPPED: "dim",
    State.SHUTDOWN: "dim",
    State.UNKNOWN: "dim",
}
_WORDS: Final = {State.STOPPED: "off", State.SHUTDOWN: "shut down"}


def state_word(state: State) -> str:
    """A state in the word that people use for it."""
    return _WORDS.get(state, state.value)


def _mark(tone: str, glyphs: Glyphs, state: State) -> str:
    if state is State.UNKNOWN:
        return glyphs.none
    return {
        "ok": glyphs.on,
        "warn": glyphs.half,
        "busy": glyphs.busy,
        "bad": glyphs.bad,
        "dim": glyphs.off,
    }[tone]


def state_cell(info: ConsoleInfo, glyphs: Glyphs = UNICODE) -> Cell:
    """The state as mark and word; a stale one says so instead of looking fresh."""
    state = info.machine.state
    word = state_word(state)
    if info.stale:
        return Cell(f"{glyphs.faint} stale ({word})", "dim")
    tone = _TONES[state]
    seen = " (seen)" if info.machine.adopted else ""
    return Cell(f"{_mark(tone, glyphs, state)} {word}{seen}", tone)


def protocol_cell(info: ConsoleInfo) -> Cell:
    """What its console speaks."""
    if info.machine.protocol is Protocol.NONE:
        return Cell("—", "dim")
    return Cell(info.machine.protocol.value)


def count_cell(count: int, glyphs: Glyphs = UNICODE) -> Cell:
    """A number; zero steps back so that others stand out."""
    return Cell(str(count)) if count else Cell(glyphs.none, "dim")


def console_columns(
    now: Callable[[], datetime], glyphs: Glyphs = UNICODE
) -> list[Column[ConsoleInfo]]:
    """The columns of the console list."""

    def up(info: ConsoleInfo) -> Cell:
        started = info.machine.started_at
        if started is None or info.machine.state is not State.RUNNING:
            return Cell("")
        return Cell(minutes((now() - started).total_seconds()), "dim")

    def age(info: ConsoleInfo) -> float:
        started = info.machine.started_at
        running = started is not None and info.machine.state is State.RUNNING
        return -started.timestamp() if started is not None and running else 1.0

    return [
        Column(
            "NAME",
            16,
            lambda i: Cell(human.one_line(i.machine.name)),
            0,
            flex=True,
            hits=True,
            sort=lambda i: i.machine.name,
        ),
        Column(
            "STATE",
            17,
            lambda i: state_cell(i, glyphs),
            1,
            sort=lambda i: (i.stale, i.machine.state.value),
        ),
        Column("VIA", 5, protocol_cell, 6, sort=lambda i: i.machine.protocol.value),
        Column(
            "SOURCE",
            12,
            lambda i: Cell(human.one_line(i.machine.key.source)),
            3,
            hits=True,
            sort=lambda i: i.machine.key.source,
        ),
        Column(
            "HOST",
            14,
            lambda i: Cell(human.one_line(i.machine.hypervisor)),
            4,
            flex=True,
            hits=True,
            sort=lambda i: i.machine.hypervisor,
        ),
        Column(
            "SES",
            3,
            lambda i: count_cell(i.sessions, glyphs),
            2,
            right=True,
            sort=lambda i: -i.sessions,
        ),
        Column("UP", 7, up, 7, right=True, sort=age),
        Column(
            "ADDRESS",
            16,
            lambda i: Cell(human.one_line(i.machine.hypervisor_ip), "dim"),
            8,
            hits=True,
            sort=lambda i: i.machine.hypervisor_ip,
        ),
        Column(
            "WHY",
            24,
            lambda i: Cell(human.one_line(i.machine.reason), "bad"),
            9,
            flex=True,
            sort=lambda i: i.machine.reason or "\U0010ffff",
        ),
        Column(
            "UUID",
            36,
            lambda i: Cell(i.machine.key.uuid, "dim"),
            10,
            hits=True,
            sort=lambda i: i.machine.key.uuid,
        ),
    ]


def _rate(value: float, glyphs: Glyphs) -> Cell:
    return Cell(f"{human.size(round(value))}/s") if value >= 1 else Cell(glyphs.none, "dim")


def _typical(counts: Counts, glyphs: Glyphs) -> Cell:
    """The time that half of them took, in milliseconds."""
    from broker.latency import quantile

    seconds = quantile(counts, 0.5)
    return Cell(glyphs.none, "dim") if seconds is None else Cell(f"{seconds * 1000:.1f} ms")


def session_columns(now: Callable[[], datetime], glyphs: Glyphs = UNICODE) -> list[Column[Session]]:
    """The columns of the session list."""

    def policy(session: Session) -> Cell:
        return Cell(human.one_line(", ".join(session.policy.words)), "dim")

    return [
        Column("CONSOLE", 16, lambda s: Cell(human.one_line(s.console)), 0, flex=True, hits=True),
        Column("SOURCE", 11, lambda s: Cell(human.one_line(s.key.source)), 5, hits=True),
        Column("FROM", 21, lambda s: Cell(human.one_line(s.client)), 1, hits=True),
        Column("FOR", 10, lambda s: Cell(human.one_line(s.label)), 2, flex=True, hits=True),
        Column("CHANNELS", 8, lambda s: count_cell(len(s.channels), glyphs), 6, right=True),
        Column(
            "DOWN",
            8,
            lambda s: Cell(human.size(s.bytes_to_client)),
            3,
            right=True,
            sort=lambda s: -s.bytes_to_client,
        ),
        Column(
            "UP",
            8,
            lambda s: Cell(human.size(s.bytes_to_server)),
            4,
            right=True,
            sort=lambda s: -s.bytes_to_server,
        ),
        Column(
            "DOWN/s",
            9,
            lambda s: _rate(s.rate_to_client, glyphs),
            7,
            right=True,
            sort=lambda s: -s.rate_to_client,
        ),
        Column("PING", 7, lambda s: _typical(s.timing.ping, glyphs), 8, right=True),
        Column("KEY", 7, lambda s: _typical(s.timing.draw, glyphs), 9, right=True),
        Column("POLICY", 12, policy, 10, flex=True, hits=True),
        Column(
            "AGE",
            7,
            lambda s: Cell(human.age((now() - s.started_at).total_seconds())),
            1,
            right=True,
        ),
    ]


_HEALTH: Final = {
    Health.OK: "ok",
    Health.DEGRADED: "warn",
    Health.PAUSED: "warn",
    Health.FAILED: "bad",
    Health.NEW: "busy",
}


def health_cell(status: SourceStatus, glyphs: Glyphs = UNICODE) -> Cell:
    """How a source does, as mark and word; warnings count as less than well."""
    if status.health is Health.OK and status.warnings:
        return Cell(f"{glyphs.half} ok, {human.counted(len(status.warnings), 'warning')}", "warn")
    tone = _HEALTH[status.health]
    mark = {"ok": glyphs.on, "warn": glyphs.half, "bad": glyphs.bad, "busy": glyphs.busy}[tone]
    return Cell(f"{mark} {status.health.value}", tone)


def source_columns(
    now: Callable[[], datetime], glyphs: Glyphs = UNICODE
) -> list[Column[SourceStatus]]:
    """The columns of the source list."""

    def listed(status: SourceStatus) -> Cell:
        if status.listed_at is None:
            return Cell("never", "dim")
        return Cell(f"{human.age((now() - status.listed_at).total_seconds())} ago", "dim")

    return [
        Column("SOURCE", 16, lambda s: Cell(human.one_line(s.name)), 0, hits=True),
        Column("TYPE", 12, lambda s: Cell(human.one_line(s.type)), 3),
        Column("HEALTH", 18, lambda s: health_cell(s, glyphs), 1),
        Column("MACHINES", 8, lambda s: count_cell(s.machines, glyphs), 2, right=True),
        Column("LAST READ", 12, listed, 4, right=True),
        Column("", 10, lambda s: Cell(human.one_line(s.problem), "bad"), 5, flex=True),
    ]


_EVENT_TONES: Final = {
    Kind.SESSION_REFUSED: "bad",
    Kind.CHANNEL_REFUSED: "bad",
    Kind.MESSAGE_REFUSED: "bad",
    Kind.MACHINE_FAILED: "bad",
    Kind.SOURCE_FAILED: "bad",
    Kind.SESSION_OPENED: "ok",
    Kind.MACHINE_STARTED: "ok",
    Kind.SOURCE_RECOVERED: "ok",
}


def event_columns(glyphs: Glyphs = UNICODE) -> list[Column[Event]]:
    """The columns of the event log; times are local, to the second."""

    def kind(event: Event) -> Cell:
        tone = _EVENT_TONES.get(event.kind, "dim")
        mark = {"bad": glyphs.bad, "ok": glyphs.on}.get(tone, glyphs.none)
        return Cell(f"{mark} {event.kind.value}", tone)

    return [
        Column("TIME", 15, lambda e: Cell(moment(e.at), "dim"), 1),
        Column("KIND", 18, kind, 2, hits=True),
        Column("WHAT", 40, lambda e: Cell(human.one_line(e.text)), 0, flex=True, hits=True),
        Column("CONSOLE", 16, lambda e: Cell(human.one_line(e.console)), 3, hits=True),
        Column("FROM", 21, lambda e: Cell(human.one_line(e.client), "dim"), 4, hits=True),
    ]


def moment(at: datetime) -> str:
    """A time in this place's own zone: `21 Nov 08:15:00`."""
    return at.astimezone().strftime("%d %b %H:%M:%S")


def minutes(seconds: float) -> str:
    """An age that changes at most once a minute, so that a still list stays still."""
    if seconds < 60:
        return "<1m"
    return f"{int(seconds) // 60}m" if seconds < 3600 else human.age(seconds)
