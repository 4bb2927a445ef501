"""The interface in a browser of this host: textual-serve behind a token, on the loopback alone.

Whoever shows the token once gets a cookie. Names that only look like this host (DNS rebinding) and
pages of other origins are refused, because a browser would send the cookie for them too. Each tab
is an app of its own, and speaks to the same store and proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from broker.within import within

COOKIE: Final = "broker-web"
HOST: Final = "127.0.0.1"
LOCAL_NAMES: Final = frozenset({HOST, "localhost"})
APP: Final = (sys.executable, "-c", "from broker.cli.main import entry; entry()", "tui")
LEAVING_SECONDS: Final = 10.0
"""How long a tab's app may take to end when its tab is closed; it is killed then."""
DENIED: Final = "Open the address that broker --web printed, with its token.\n"
HEADERS: Final = {
    # textual-serve's page asks Google for a font; the browser of a host's owner asks nobody else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    f"connect-src 'self' ws://{HOST}:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


FOCUS: Final = """<script>
new MutationObserver((changes, watch) => {
  const keys = document.querySelector(".xterm-helper-textarea");
  if (keys && document.body.classList.contains("-first-byte")) { watch.disconnect(); keys.focus(); }
}).observe(document.body, {attributes: true, childList: true, subtree: true});
</script>"""
"""What is typed goes to the interface from its first picture on, not from the first click on it."""


class Tab(AppService):
    """The app behind one tab. It ends with its tab, also when it hangs."""

    async def stop(self) -> None:
        """Ask it to quit and see it gone."""
        process = self._process
        if process is None:
            return
        try:
            async with within(LEAVING_SECONDS):
                await super().stop()
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self.stdin.close()
        with contextlib.suppress(OSError):
            await self.stdin.wait_closed()


class Guarded(Server):
    """textual-serve, for whoever knows the token.

    Args:
        sock: Listens already, on the loopback.
        arguments: Of `broker tui`, for each tab's app.
    """

    def __init__(self, sock: socket.socket, arguments: tuple[str, ...] = ()) -> None:
        port = sock.getsockname()[1]
        super().__init__(shlex.join((*APP, *arguments)), host=HOST, port=port, title="broker")
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"{COOKIE}-{port}"
        """Browsers keep one jar for all ports of a host: two of us would put each other out."""
        self._sock = sock

    @property
    def address(self) -> str:
        """What to open; a secret is in it."""
        return f"{self.public_url}/?token={self.token}"

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_startup.clear()  # its banner; what to open is said by whoever started us
        return app

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        name = request.host.rpartition(":")[0] or request.host
        origin = request.headers.get("Origin")
        ours = {f"http://{local}:{self.port}" for local in LOCAL_NAMES}
        if name not in LOCAL_NAMES or (origin is not None and origin not in ours):
            raise web.HTTPForbidden(text=DENIED, headers=HEADERS)
        shown = request.query.get("token")
        if request.path == "/" and shown is not None and self._is_token(shown):
            answer = web.HTTPSeeOther("/", headers=HEADERS)
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            raise answer
        if not self._is_token(request.cookies.get(self.cookie, "")):
            raise web.HTTPForbidden(text=DENIED, headers=HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        if request.path == "/" and isinstance(response, web.Response) and response.text:
            response.text = response.text.replace("</body>", f"{FOCUS}</body>")
        return response

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run an app for a tab, for as long as the tab is open."""
        tab = web.WebSocketResponse(heartbeat=15)
        width, height = (
            to_int(request.query.get(name, ""), usual)
            for name, usual in (("width", 80), ("height", 24))
        )
        await tab.prepare(request)
        app = Tab(
            self.command,
            write_bytes=tab.send_bytes,
            write_str=tab.send_str,
            close=tab.close,  # type: ignore[arg-type]  # whether it was open is of no use there
            download_manager=self.download_manager,
        )
        try:
            await app.start(width, height)
            await self._process_messages(tab, app)
        finally:
            await app.stop()
            await tab.close()
        return tab

    def _is_token(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self.token.encode())

    async def serve_until(self, stop: asyncio.Event) -> None:
        """Serve until told to stop; the tabs' apps are ended then."""
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            await web.SockSite(runner, self._sock).start()
            await stop.wait()
        finally:
            await runner.cleanup()


def listen(port: int) -> socket.socket:
    """A socket on the loopback.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: It is taken.
    """
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(16)
    except OSError:
        sock.close()
        raise
    return sock


def serve(port: int, arguments: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        say: Told the address to open.

    Raises:
        OSError: The port is taken.
    """

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        with contextlib.closing(listen(port)) as sock:
            server = Guarded(sock, arguments)
            say(server.address)
            await server.serve_until(stop)

    asyncio.run(main())
