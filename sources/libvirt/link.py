"""A connection to libvirt: opened when wanted, opened anew when lost, in threads of its own.

Every call of the binding blocks. One thread of the process, begun with the first connection, runs
libvirt's event loop: keep-alives, events of domains, and streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from broker.errors import (
    BrokerError,
    ConfigError,
    NotFound,
    RightMissing,
    SourceDenied,
    SourceUnreachable,
    UsageError,
)
from broker.model import SourceName
from broker.within import within
from sources.libvirt.threads import Threads

Connection = Any
"""`libvirt.virConnect`; the binding has no types, and may not be installed."""

T = TypeVar("T")

THREADS: Final = 4
"""Calls at the same time on one connection: a long listing does not hold a viewer up."""
KEEPALIVE: Final = (5, 3)
"""Seconds between signs of life, and how many may be missing: a dead host is known in 20 s."""
CLOSE_SECONDS: Final = 2.0
"""How long closing is waited for: opening one to a host that is gone may take minutes."""

NOT_SUPPORTED: Final = 3
WRONG_STATE: Final = 55
NO_DOMAIN: Final = 42
_FORBIDDEN: Final = (29, 88)
"""A read-only connection, and polkit or ACLs that say no."""
_AUTH: Final = (45, 79, 94)
"""Authentication failed, was cancelled, or there is nobody whom polkit could ask."""
_LOST: Final = (38, 39)
"""A system's error, and one of the remote protocol: the connection is of no use any more."""


class Link:
    """One connection.

    Args:
        name: The source's, for errors.
        credentials: Gives user and password when libvirt asks for them; blocks.
    """

    def __init__(
        self,
        name: SourceName,
        uri: str,
        credentials: Callable[[], tuple[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.uri = uri
        self._credentials = credentials
        self._connection: Connection | None = None
        self._opening = threading.Lock()
        self._threads = Threads(THREADS, f"libvirt-{name}")
        self._lost: Callable[[], None] = lambda: None
        self._closed = False

    async def call(
        self, ask: Callable[[Connection], T], *, again: bool = True, right: str = ""
    ) -> T:
        """Ask something of the connection, in a thread.

        Args:
            again: It is harmless to ask twice, should the connection turn out to be lost.
            right: What it takes, should libvirt say no; it does not say that itself.

        Raises:
            SourceUnreachable: The daemon does not answer.
            SourceDenied: It refuses our credentials.
            RightMissing: We may not do that.
            NotFound: There is no such domain.
            UsageError: Not in its present state, or not at all.
            ConfigError: The binding is not installed.
        """
        if self._closed:
            raise SourceUnreachable(f"{self.name} is being closed")
        work = functools.partial(self._ask, ask, again, right)
        return await asyncio.wrap_future(self._threads.submit(work))

    def on_loss(self, told: Callable[[], None]) -> None:
        """Have that called, in libvirt's thread, when the connection is lost."""
        self._lost = told

    def forget(self, undo: Callable[[Connection], object]) -> None:
        """Undo something of the connection if there still is one; nobody waits for that."""
        connection = self._connection
        if connection is None or self._closed:
            return

        def act() -> None:
            # Held, so that nobody closes it meanwhile: libvirt would crash.
            with self._opening, contextlib.suppress(load().libvirtError):
                if self._connection is connection:
                    undo(connection)

        self._threads.submit(act)

    async def lose(self) -> None:
        """The connection is known to be lost: the next call opens another."""
        if self._closed:
            return
        await asyncio.wrap_future(self._threads.submit(self._drop))

    async def aclose(self) -> None:
        """Close it; calls under way end with an error.

        Where one of them hangs, the rest is done when it has ended, and nobody waits for that.
        """
        if self._closed:
            return
        self._closed = True
        loop, dropped = asyncio.get_running_loop(), asyncio.Event()

        def drop() -> None:
            self._drop()
            with contextlib.suppress(RuntimeError):  # our loop has ended
                loop.call_soon_threadsafe(dropped.set)

        self._threads.submit(drop)
        self._threads.end()
        with contextlib.suppress(TimeoutError):
            async with within(CLOSE_SECONDS):
                await dropped.wait()

    def _ask(self, ask: Callable[[Connection], T], again: bool, right: str) -> T:
        binding = load()
        try:
            return ask(self._open(binding))
        except binding.libvirtError as exc:
            problem = self.translated(exc, right)
            if not isinstance(problem, SourceUnreachable):
                raise problem from None
            self._drop()
            if not again:
                raise problem from None
        try:
            return ask(self._open(binding))
        except binding.libvirtError as exc:
            raise self.translated(exc, right) from None

    def _open(self, binding: Any) -> Connection:
        with self._opening:
            if self._closed:
                raise SourceUnreachable(f"{self.name} is being closed")
            if self._connection is not None:
                return self._connection
            run_events()
            if self._credentials is None:
                connection = binding.open(self.uri)
            else:
                connection = binding.openAuth(self.uri, [_kinds(binding), self._answer, None], 0)
            with contextlib.suppress(binding.libvirtError):  # drivers in this process have none
                connection.setKeepAlive(*KEEPALIVE)
            with contextlib.suppress(binding.libvirtError):
                connection.registerCloseCallback(lambda *_: self._lost(), None)
            self._connection = connection
            return connection

    def _answer(self, asked: list[list[Any]], _: object) -> int:
        """Libvirt asks for a name (2, 3) or a password (5, 7)."""
        assert self._credentials is not None
        user, password = self._credentials()
        for each in asked:
            each[4] = user if each[0] in (2, 3) else password
        return 0

    def _drop(self) -> None:
        with self._opening:
            connection, self._connection = self._connection, None
        if connection is not None:
            binding = load()
            with contextlib.suppress(binding.libvirtError):
                connection.unregisterCloseCallback()
            with contextlib.suppress(binding.libvirtError):
                connection.close()

    def translated(self, exc: Exception, right: str = "") -> BrokerError:
        """Libvirt's error in our words; its own text is kept, it names no secret."""
        code = getattr(exc, "get_error_code", lambda: 0)()
        said = str(exc).strip().splitlines()[0] if str(exc).strip() else "no reason given"
        where = shown(self.uri)
        if code == NO_DOMAIN:
            return NotFound(f"{self.name} has no such machine any more", fix="See: broker list")
        if code in _AUTH:
            return SourceDenied(
                f"{where} refuses our credentials ({said})",
                fix="Check user and password, or the group `libvirt`; then: "
                f"broker sources retry {self.name}",
            )
        if "Host key verification failed" in said:
            return SourceDenied(
                f"{where}: the key that its host shows is not known here, or another than before",
                fix="Log in there once, as who runs broker, and compare the key: ssh "
                f"{_for_ssh(self.uri)}",
            )
        if "Permission denied" in said:
            return SourceDenied(f"{where} does not let us in ({said})", fix=_let_in(self.uri))
        if code in _FORBIDDEN:
            return RightMissing(
                f"We may not do that at {where} ({said})"
                + (f": {right} is missing" if right else ""),
                right=right,
                fix="Grant it there; which rights are needed: docs/sources/libvirt.md",
            )
        if code in _LOST or "client socket is closed" in said or "onnection" in said:
            return SourceUnreachable(
                f"{where} does not answer ({said})",
                fix="Check that libvirt's daemon runs there and the way to it",
            )
        if code == NOT_SUPPORTED:
            return UsageError(f"{where} cannot do that ({said})")
        return UsageError(f"{where} says: {said}")


@functools.cache
def load() -> Any:
    """The binding.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import libvirt
    except ImportError as exc:
        raise ConfigError(
            "sources.yaml: the type libvirt needs libvirt's Python binding, which is not installed",
            fix="pip install 'console-broker[libvirt]', or: apt install python3-libvirt",
        ) from exc
    libvirt.registerErrorHandler(lambda *_: None, None)  # it would write to stderr else
    return libvirt


@functools.cache
def run_events() -> None:
    """Have libvirt's events delivered, once per process, before the first connection."""
    binding = load()
    binding.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            binding.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()


def _kinds(binding: Any) -> list[int]:
    return [
        binding.VIR_CRED_AUTHNAME,
        binding.VIR_CRED_ECHOPROMPT,
        binding.VIR_CRED_PASSPHRASE,
        binding.VIR_CRED_NOECHOPROMPT,
    ]


def _let_in(uri: str) -> str:
    """What to do about a way to the daemon that is closed to us."""
    if "+ssh" in urlsplit(uri).scheme:
        return f"This must work and ask nothing, with the key of keyfile=: ssh {_for_ssh(uri)}"
    return (
        "Join the group of its socket and log in anew (usermod -aG libvirt USER), or have polkit "
        "allow it: docs/sources/libvirt.md"
    )


def _for_ssh(uri: str) -> str:
    parts = urlsplit(uri)
    port = f"-p {parts.port} " if parts.port else ""
    return (
        f"{port}{parts.username}@{parts.hostname}" if parts.username else f"{port}{parts.hostname}"
    )


def shown(uri: str) -> str:
    """A URI without its parameters, which name files."""
    return uri.partition("?")[0]


def host_of(uri: str) -> str:
    """The host a URI names; empty for this one."""
    return urlsplit(uri).hostname or ""


def prepared(uri: str, pki: str | None) -> str:
    """A URI with what we add to it: no questions on the terminal, and the keys' directory."""
    more = []
    scheme = urlsplit(uri).scheme
    if scheme.endswith("+ssh") and "no_tty=" not in uri:
        more.append("no_tty=1")
    if pki is not None and "pkipath=" not in uri:
        from urllib.parse import quote

        more.append(f"pkipath={quote(pki, safe='/')}")
    if not more:
        return uri
    return uri + ("&" if "?" in uri else "?") + "&".join(more)
