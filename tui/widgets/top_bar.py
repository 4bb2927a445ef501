"""The first line: where one is, what is under way, how sources and proxy do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.geometry import Offset

from broker import human
from broker.human import counted
from tui import keys
from tui.host import Host
from tui.jumping import Place
from tui.widgets.line import Line, Piece, length


class TopBar(Line):
    """Pages on the left, health on the right."""

    def __init__(self, host: Host, here: str) -> None:
        """Show `host`'s state; `here` is the page one is on."""
        super().__init__()
        self._host = host
        self._here = here

    def pieces(self) -> tuple[list[Piece], list[Piece]]:
        """Brand and tabs; then what is under way, sources, proxy."""
        glyphs = self._host.glyphs
        left = [Piece(f" {glyphs.brand} broker ", "brand", keep=-1)]
        here = f"go('{self._here}')"
        for number, act in enumerate(keys.PAGES, 1):
            tone, keep = ("here", 10) if act.action == here else ("text", 6 - number)
            left.append(Piece(f" {act.sign} {act.label} ", tone, f"app.{act.action}", keep))
        if here == keys.SETTINGS.action:
            act = keys.SETTINGS
            left.append(Piece(f" {act.sign} {act.label} ", "here", keep=10))
        port = self._port()
        over = length([*left[1:], *self._health(port)]) - self.size.width
        return left, self._health("" if 0 < over <= len(port) else port)  # all tabs, if that helps

    def places(self) -> Iterator[Place]:
        """The tabs (jumping.Places)."""
        for begin, piece in self.laid_out():
            if piece.action.startswith("app.go("):
                yield Place(
                    Offset(self.region.x + begin, self.region.y), partial(self._press, piece)
                )

    def _press(self, piece: Piece) -> None:
        self.call_later(self.run_action, piece.action)

    def _port(self) -> str:
        proxy = self._host.snapshot.proxy
        return f" :{proxy.tls_port}" if proxy is not None and proxy.tls_port else ""

    def _health(self, port: str) -> list[Piece]:
        host, snapshot, glyphs = self._host, self._host.snapshot, self._host.glyphs
        pieces: list[Piece] = []
        if host.busy:
            more = f" +{len(host.busy) - 1}" if len(host.busy) > 1 else ""
            text = human.one_line(host.busy[0])
            pieces.append(Piece(f"{glyphs.busy} {text}{more}  ", "busy", keep=7))
        if snapshot.problem is not None:
            pieces.append(Piece(f"{glyphs.bad} not up to date  ", "bad", "app.explain", 9))
        if failed := snapshot.failed_sources:
            text = f"{glyphs.bad} {counted(failed, 'source')} failed  "
            pieces.append(Piece(text, "bad", "app.go('sources')", 8))
        pieces.append(self._proxy(port))
        return pieces

    def _proxy(self, port: str) -> Piece:
        host, glyphs = self._host, self._host.glyphs
        proxy = host.snapshot.proxy
        if proxy is not None and proxy.draining:
            return Piece(f"{glyphs.half} proxy stops ", "busy", keep=8)
        if proxy is not None and proxy.serving:
            return Piece(f"{glyphs.on} proxy{port} ", "ok", keep=6)
        if host.proxy_problem is not None:
            return Piece(f"{glyphs.bad} no proxy ", "bad", "app.explain", 8)
        return Piece(f"{glyphs.busy} proxy ", "busy", keep=7)
