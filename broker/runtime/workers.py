"""Relay workers as processes: start them, start them again when they crash, end them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

from broker.clock import Clock
from broker.errors import BrokerError
from broker.runtime import announce
from broker.runtime.spares import SpareHolder
from broker.within import within

log = logging.getLogger(__name__)

PAUSES = (0.0, 1.0, 2.0, 5.0, 15.0)
"""Seconds before a crashed worker is started again: the first time at once, then growing."""

STEADY_SECONDS = 60.0
"""A worker that lived this long is started again at once."""

START_SECONDS = 60.0
"""How long a worker may take until viewers can connect: its imports, on a busy machine."""

END_SECONDS = 8.0
"""How long a worker may take to end its sessions before it is killed, and to be gone then."""


class Workers:
    """The relay workers that share the listening sockets.

    Args:
        descriptors: The listening sockets, inherited by every worker.
        count: How many there are to be.
        changed: Called when a worker came or went; with its process id when it went.
        log_format: Of the workers' log, `text` or `json`.
    """

    def __init__(
        self,
        descriptors: Sequence[int],
        clock: Clock,
        *,
        count: int,
        changed: Callable[[int | None], Awaitable[None]],
        log_format: str = "text",
    ) -> None:
        self._descriptors = tuple(descriptors)
        self._count = count
        self._clock = clock
        self._changed = changed
        self._log_format = log_format
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._spares = SpareHolder()
        self._ending = False
        self.first_ready = asyncio.Event()
        """Set once viewers can connect and `changed` has been told so."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that live."""
        return tuple(sorted(p.pid for p in self._processes.values() if p.returncode is None))

    @property
    def by_number(self) -> dict[int, int]:
        """The same by the workers' numbers."""
        alive = {n: p.pid for n, p in self._processes.items() if p.returncode is None}
        return dict(sorted(alive.items()))

    async def keep(self, number: int) -> None:
        """Have worker `number` running until `end` is called.

        Raises:
            BrokerError: It could not start, and no worker ever did.
        """
        failures = 0
        while not self._ending:
            began = self._clock.monotonic()
            try:
                process = await self._start(number)
            except BrokerError as problem:
                if not self.first_ready.is_set():
                    raise
                log.error("relay worker %d did not start: %s", number, problem)
            else:
                if self._ending:  # the others were told before it was one of them
                    await _end(process, signal.SIGTERM)
                    return
                self._processes[number] = process
                await self._changed(None)
                self.first_ready.set()
                code = await process.wait()
                if self._ending:
                    return
                _tell_end(number, process.pid, code)
                await self._changed(process.pid)
            steady = self._clock.monotonic() - began > STEADY_SECONDS
            failures = 0 if steady else failures + 1
            await asyncio.sleep(PAUSES[min(max(failures - 1, 0), len(PAUSES) - 1)])

    def tell(self, number: signal.Signals) -> list[asyncio.subprocess.Process]:
        """Send every worker a signal; returns those that live."""
        alive = [p for p in self._processes.values() if p.returncode is None]
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        return alive

    async def drain(self) -> None:
        """Let nobody new in, and wait until the workers have ended after their sessions."""
        self._ending = True
        await asyncio.gather(*(process.wait() for process in self.tell(signal.SIGTERM)))

    async def end(self) -> None:
        """End all sessions in the order that is safe for their VMs, then the workers."""
        self._ending = True
        alive = [p for p in self._processes.values() if p.returncode is None]
        await asyncio.gather(*(_end(process, signal.SIGINT) for process in alive))
        await self._spares.let_go()

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        try:
            process, ready_read = await self._spawn(number)
        except OSError as exc:
            raise BrokerError(
                f"Relay worker {number} cannot be started ({exc.strerror})",
                fix="Free memory, or raise the limits of processes and of open files",
            ) from exc
        try:
            async with within(START_SECONDS):
                document = await announce.hear(ready_read)
                if document is not None and "ready" in document:
                    log.info("relay worker %d is process %d", number, process.pid)
                    return process
                await process.wait()
        except TimeoutError as exc:
            await _end(process, signal.SIGTERM)
            raise BrokerError(
                f"Relay worker {number} was not ready within {START_SECONDS:g} seconds",
                fix="See the log, and what else keeps this host busy",
            ) from exc
        except BaseException:  # we are told to stop, and nobody else knows of it yet
            await _end(process, signal.SIGTERM)
            raise
        if document is not None:
            raise announce.failure(document)
        raise BrokerError(f"Relay worker {number} ended before it was ready", fix="See the log")

    async def _spawn(self, number: int) -> tuple[asyncio.subprocess.Process, int]:
        """The process, and where it will say whether it is ready."""
        ready_read, ready_write = os.pipe()
        command = [sys.executable, "-P", "-m", "broker.worker"]
        command += ["--listen-fds", ",".join(map(str, self._descriptors))]
        command += ["--ready-fd", str(ready_write), "--number", str(number)]
        command += ["--workers", str(self._count)]
        command += ["--log-format", self._log_format]
        try:
            with self._spares.line() as line:
                process = await asyncio.create_subprocess_exec(
                    *(*command, "--spare-fd", str(line.fileno())),
                    stdin=asyncio.subprocess.PIPE,  # its end tells the worker that we have gone
                    pass_fds=(*self._descriptors, ready_write, line.fileno()),
                    start_new_session=True,
                )
        except BaseException:
            os.close(ready_read)
            raise
        finally:
            os.close(ready_write)
        return process, ready_read


def _tell_end(number: int, pid: int, code: int) -> None:
    from broker.vm.failures import how_it_ended  # here, because workers seldom end

    how = how_it_ended(code)
    log.error("relay worker %d (process %d) ended (%s); another is started", number, pid, how)


async def _end(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Tell it to end by that signal; it is killed if it does not, or if we are in a hurry."""
    try:
        await _told(process, number)
    finally:
        if process.returncode is None:
            log.error("relay worker %d did not end and is killed", process.pid)
            await _told(process, signal.SIGKILL)


async def _told(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send it a signal, and wait a while for its end."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    with contextlib.suppress(TimeoutError):
        async with within(END_SECONDS):
            await process.wait()
