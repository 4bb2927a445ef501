"""One invocation of the command line: its output, its talk, and how it reaches the broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from broker.cli.diagnostics import Talk
from broker.cli.output import Output

if TYPE_CHECKING:
    from broker.model import MachineKey, ProxyStatus
    from broker.service.port import ConsoleInfo, Exported, ExportRequest, Service

T = TypeVar("T")


class Quick(Protocol):
    """What can be answered without an event loop and without heavy imports.

    Attributes:
        notes: What a person should hear of, whatever is asked.
    """

    notes: tuple[str, ...]

    def consoles(self) -> Sequence[ConsoleInfo]:
        """All known consoles, ordered by name then source."""
        ...

    def find(self, reference: str) -> ConsoleInfo:
        """The console called `name`, `source/name` or uuid."""
        ...

    def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        """Mint a token and render a .vv file."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


def runtime_quick() -> Quick | None:
    """The fast path of this installation."""
    from broker import runtime

    return runtime.quick()


def runtime_service() -> AbstractAsyncContextManager[Service]:
    """The full service of this installation.

    While its modules are imported, no garbage is looked for: nearly all that an import makes stays,
    and to look through that again and again takes a third of the time.
    """
    import gc
    import sys

    from broker import runtime

    if "broker.runtime.wiring" in sys.modules or not gc.isenabled():
        return runtime.open_service()
    gc.disable()
    try:
        return runtime.open_service()
    finally:
        gc.freeze()
        gc.enable()


def runtime_proxy_status() -> ProxyStatus:
    """Whether a proxy serves here; asks no database, so that waiting for one makes none."""
    from broker.config.locations import Locations
    from broker.runtime.proxy_file import read_status

    return read_status(Locations.from_env().proxy_json)


Opening = Callable[[], "AbstractAsyncContextManager[Service]"]


class Call(NamedTuple):
    """What a command gets.

    Attributes:
        out: Its stdout.
        talk: Its stderr.
        verbose: How often `-v` was given.
        quick: The fast path, or None when it cannot answer.
        open_service: The full service.
        proxy_status: Whether a proxy serves on this host.
        log_format: The form of the log that was chosen; None leaves it to the setting.
    """

    out: Output
    talk: Talk
    verbose: int = 0
    quick: Callable[[], Quick | None] = runtime_quick
    open_service: Opening = runtime_service
    proxy_status: Callable[[], ProxyStatus] = runtime_proxy_status
    log_format: str | None = None

    def quickly(
        self, question: Callable[[Quick], T], otherwise: Callable[[Service], Awaitable[T]]
    ) -> T:
        """Put a question to the fast path, and to the full service when it cannot answer.

        The notes of either go to stderr.

        Raises:
            BrokerError: The answer, or the way to it, failed.
        """
        quick = self.quick()
        if quick is None:
            return self.ask(otherwise)
        try:
            for note in quick.notes:
                self.talk.note_once(note)
            return question(quick)
        finally:
            quick.close()

    def ask(self, question: Callable[[Service], Awaitable[T]]) -> T:
        """Open the service, put a question, and close it again; its notes go to stderr.

        SIGTERM ends the question as Ctrl+C does, so that what was opened is closed.

        Raises:
            BrokerError: Whatever the service had to say.
        """

        async def put() -> T:
            async with self.open_service() as service:
                for note in service.notes:
                    self.talk.note_once(note)
                return await question(service)

        return self.alone(put)

    def alone(self, question: Callable[[], Awaitable[T]]) -> T:
        """Carry out what needs no service, with the signals of `ask`.

        Raises:
            BrokerError: Whatever came of it.
        """
        import asyncio
        import signal

        async def put() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
            return await question()

        try:
            return asyncio.run(put())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
