"""`/metrics` over HTTP, on the loopback only.

A thread of the supervisor answers, one request at a time. Who can open a port of this host's
loopback can read it; that is every account of the host, and nobody elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from broker.errors import BrokerError, UsageError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
REQUEST_SECONDS: Final = 5.0
"""That a client may take for its request, and for reading the answer."""
OURS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names that a request may be for: a page in somebody's browser has another, whatever it may
have had that resolve to."""

_PORT: Final = re.compile(r":[0-9]+$")
_TEXT: Final = "text/plain; charset=utf-8"


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        log.debug(format, *args)


class _Server(WSGIServer):
    def server_bind(self) -> None:
        """Without asking the resolver what the loopback is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that says nothing, or leaves early, is no news."""
        log.debug("a request for metrics came to nothing: %r", sys.exc_info()[1])


def application(
    collector: Collector,
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Answers GET /metrics, and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    def answer(environ: WSGIEnvironment) -> tuple[str, str, bytes]:
        if _PORT.sub("", str(environ.get("HTTP_HOST", ""))) not in OURS:
            return "403 Forbidden", _TEXT, b"Only for this host.\n"
        if environ.get("PATH_INFO") != "/metrics":
            return "404 Not Found", _TEXT, b"There is only /metrics.\n"
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _TEXT, b"Only GET.\n"
        try:
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
        except BrokerError as problem:
            log.warning("no metrics: %s", problem)
            return "503 Service Unavailable", _TEXT, b"The database cannot be read.\n"

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, kind, body = answer(environ)
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else body]

    return app


@contextlib.contextmanager
def exporting(port: int, collector: Collector) -> Iterator[int]:
    """Serve while the body runs; the port it came to be.

    Args:
        port: On the loopback; 0 takes a free one.

    Raises:
        UsageError: The port is busy, or not for us.
    """
    try:
        server = _Server((LOOPBACK, port), _Handler)
    except OSError as exc:
        busy = exc.errno == errno.EADDRINUSE
        raise UsageError(
            f"Port {port} for /metrics {'is busy' if busy else f'cannot be had ({exc.strerror})'}",
            fix="Set proxy.metrics_port to another port, or to 0 for a free one",
        ) from exc
    server.set_app(application(collector))
    thread = threading.Thread(
        target=lambda: server.serve_forever(poll_interval=0.1), name="metrics", daemon=True
    )
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
