"""The proxy: where it listens, which workers relay, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from broker import human
from broker.errors import BrokerError
from broker.findings import CertificateFacts, Mark
from broker.human import counted
from broker.model import ProxyStatus, Session
from tui import keys
from tui.glyphs import Glyphs
from tui.rows import Cell, Column, count_cell
from tui.screens.list_page import ListPage
from tui.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Worker:
    """A relay worker and the sessions it holds."""

    pid: int
    sessions: tuple[Session, ...]

    @property
    def channels(self) -> int:
        """Live channels of all its sessions."""
        return sum(len(session.channels) for session in self.sessions)

    @property
    def to_client(self) -> float:
        """Bytes a second towards viewers, of late."""
        return sum(session.rate_to_client for session in self.sessions)

    @property
    def to_server(self) -> float:
        """The same, towards machines."""
        return sum(session.rate_to_server for session in self.sessions)


def worker_columns(glyphs: Glyphs) -> list[Column[Worker]]:
    """The columns of the workers."""

    def rate(value: float) -> Cell:
        return Cell(f"{human.size(round(value))}/s") if value >= 1 else Cell(glyphs.none, "dim")

    return [
        Column("WORKER", 14, lambda w: Cell(f"pid {w.pid}"), 0, flex=True, sort=lambda w: w.pid),
        Column("SESSIONS", 8, lambda w: count_cell(len(w.sessions), glyphs), 1, right=True),
        Column("CHANNELS", 8, lambda w: count_cell(w.channels, glyphs), 2, right=True),
        Column("DOWN", 12, lambda w: rate(w.to_client), 3, right=True, sort=lambda w: -w.to_client),
        Column("UP", 12, lambda w: rate(w.to_server), 4, right=True, sort=lambda w: -w.to_server),
    ]


class ProxyScreen(ListPage[int, Worker]):
    """Relay workers, and above them where viewers come in."""

    NAME = "proxy"
    CSS_PATH = "../styles/lists.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [act.binding() for act in keys.PROXY]
    _certificate: CertificateFacts | BrokerError | None = None
    EMPTY = "No proxy is serving, so no viewer can come in.\n\nOne is hosted while this app runs."

    def compose_page(self) -> ComposeResult:
        """The workers, and the facts under them."""
        yield from super().compose_page()
        with VerticalScroll(id="advice", can_focus=False):
            yield Static("", markup=False)

    @on(events.ScreenResume)
    def look(self) -> None:
        """Read the certificate, each time one comes here."""
        self._look()

    @work(exclusive=True, exit_on_error=False, name="certificate")
    async def _look(self) -> None:
        try:
            service = await self.host.served()
            self._certificate = await service.certificate()
        except BrokerError as problem:
            self._certificate = problem
        if self.is_attached:
            self.changed()

    def columns(self) -> Sequence[Column[Worker]]:
        """Who relays how much."""
        return worker_columns(self.host.glyphs)

    def read(self, snapshot: Snapshot) -> Sequence[tuple[int, Worker]]:
        """The workers of the proxy, and any that still hold sessions."""
        serving = snapshot.proxy.workers if snapshot.proxy is not None else ()
        pids = dict.fromkeys((*serving, *(session.worker for session in snapshot.sessions)))
        return [
            (pid, Worker(pid, tuple(s for s in snapshot.sessions if s.worker == pid)))
            for pid in pids
        ]

    def changed(self) -> None:
        """The facts of the whole."""
        self.query_one("#advice Static", Static).update(self._facts())

    def _facts(self) -> Text:
        host, text = self.host, Text()
        proxy = host.snapshot.proxy
        if proxy is None or not proxy.serving:
            if (problem := host.proxy_problem) is not None:
                text.append(f"{host.glyphs.bad} {human.one_line(problem.what)}\n", "bold")
                text.append("Fix: ", "bold").append(f"{human.one_line(problem.fix)}\n")
            else:
                text.append("Not serving yet.\n")
            return text
        text.append(f"{host.glyphs.on} serving  ", "bold").append(_listener(proxy))
        if proxy.draining:
            text.append(f"\n{host.glyphs.half} being stopped: nobody new is let in", "bold")
        whose = "hosted by this app; it goes with it" if proxy.ours else f"hosted by {proxy.pid}"
        text.append(f"\n{whose}; {counted(len(proxy.workers), 'relay worker')}")
        text.append(f"; {counted(len(host.snapshot.sessions), 'session')}\n")
        self._tell_certificate(text)
        where = "broker status says more; broker doctor walks the way to a console\n"
        if proxy.metrics_port is not None:
            where = f"metrics: http://127.0.0.1:{proxy.metrics_port}/metrics\n{where}"
        text.append(where, "dim")
        return text

    def _tell_certificate(self, text: Text) -> None:
        """Until when it is good, and for whom; in full where it is not good for long."""
        found, glyphs = self._certificate, self.host.glyphs
        if isinstance(found, BrokerError):
            text.append(f"\n{glyphs.bad} {human.one_line(found.what)}\n", "bold")
            text.append("Fix: ", "bold").append(f"{human.one_line(found.fix)}\n")
            return
        if found is None:
            return
        judged = found.judged(self.host.now())
        mark = {Mark.OK: glyphs.on, Mark.WARN: glyphs.busy}.get(judged.mark, glyphs.bad)
        text.append(f"\n{mark} certificate  ", "bold")
        text.append(f"until {found.not_after:%Y-%m-%d}, {judged.words}\n")
        if judged.fix:
            text.append("Fix: ", "bold").append(f"{judged.fix}\n")
        for name, value in (
            ("subject", found.subject),
            ("names", ", ".join(found.names)),
            ("issuer", found.issuer),
            ("SHA-256", found.fingerprint),
        ):
            text.append(f"{name:<9}", "dim").append(f"{human.one_line(value)}\n")
        text.append("\n")

    def action_worker_sessions(self) -> None:
        """To the sessions."""
        self.app.switch_mode("sessions")


def _listener(proxy: ProxyStatus) -> str:
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return f"{host}:{proxy.tls_port}, TLS only"
