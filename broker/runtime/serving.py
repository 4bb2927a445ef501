"""The supervisor: binds the port, starts relay workers, restarts them, and lets go in order.

`broker serve` runs it in the foreground; a face that needs a proxy starts it as a process of its
own (`hosting`), tied to the face by a lease. It relays nothing itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

from broker import logs
from broker.config.load import load_settings
from broker.errors import BrokerError
from broker.events import Event, Kind
from broker.model import ProxyStatus
from broker.owned import owned
from broker.reconcile.expiry import forget_old
from broker.runtime import announce
from broker.runtime.binding import bind, private_door
from broker.runtime.certificate import current_identity
from broker.runtime.hosting import END
from broker.runtime.proxy_file import remove_status, serving_lock, write_status
from broker.runtime.wiring import House, open_house
from broker.runtime.worker_life import worker_alive
from broker.runtime.workers import Workers
from broker.unwrap import unwrapped

log = logging.getLogger(__name__)

DRAIN_MARGIN = 5.0
"""Seconds beyond the grace for the workers to end what is left of their sessions."""

DRAIN_EVERY = 0.5
"""Seconds between looks whether the last session has ended."""

UNTOLD_SECONDS = 60.0
"""After which a store that cannot say whether one is left is no longer waited for."""


async def serve(
    *,
    listen: str | None = None,
    tls_port: int | None = None,
    lease_fd: int | None = None,
    log_format: str | None = None,
    ready: Callable[[ProxyStatus], None] = lambda _: None,
) -> None:
    """Run the proxy until SIGTERM or SIGINT, or until the lease is given up.

    Args:
        listen: Overrides `proxy.listen`.
        tls_port: Overrides `proxy.tls_port`; 0 takes any free port.
        lease_fd: Read end of the lease; see `hosting`.
        log_format: Overrides `log.format` for the workers, whose log goes where ours goes.
        ready: Called once viewers can connect.

    Raises:
        AlreadyServing: Another process of this user hosts the proxy.
        UsageError: The port is busy, or the address is not ours.
        StoreError: Keys, database or directories cannot be used.
    """
    async with open_house() as house, unwrapped():
        if lease_fd is not None:  # else the command line has said how much it wants to hear
            logging.getLogger().setLevel(house.settings.log.level.upper())
        for note in house.notes:
            log.warning("%s", note)
        proxy = house.settings.proxy
        supervisor = Supervisor(
            house,
            proxy.listen if listen is None else listen,
            log_format=log_format or house.settings.log.format,
        )
        await supervisor.run(
            proxy.tls_port if tls_port is None else tls_port,
            fall_back=lease_fd is not None and not house.port_was_set,
            lease_fd=lease_fd,
            ready=ready,
        )


def workers_of(wanted: int) -> int:
    """How many relay workers that setting means on this host."""
    return wanted or min(2, len(os.sched_getaffinity(0)))


class Supervisor:
    """Holds the lock and the sockets, keeps the workers, and lets go in order."""

    def __init__(self, house: House, listen: str, *, log_format: str) -> None:
        self._house = house
        self._listen = listen
        self._log_format = log_format
        self._port = 0
        self._metrics_port: int | None = None
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._renew = asyncio.Event()
        self._writing = asyncio.Lock()
        self._workers: Workers | None = None

    async def run(
        self,
        tls_port: int,
        *,
        fall_back: bool,
        lease_fd: int | None,
        ready: Callable[[ProxyStatus], None],
    ) -> None:
        """Serve until told to stop, and put everything back."""
        path = self._house.locations.proxy_json
        with serving_lock(path), contextlib.ExitStack() as opened:
            sockets = bind(self._listen, tls_port, fall_back=fall_back)
            for bound in sockets:
                opened.callback(bound.close)
            self._port = sockets[0].getsockname()[1]
            sockets += opened.enter_context(private_door(self._house.locations.proxy_sock))
            await asyncio.to_thread(self._house.identity)
            await self._end_orphans()
            opened.callback(remove_status, path)
            opened.enter_context(self._signals())
            self._workers = Workers(
                [bound.fileno() for bound in sockets],
                self._house.clock,
                count=workers_of(self._house.settings.proxy.workers),
                changed=self._on_worker,
                log_format=self._log_format,
            )
            self._metrics_port = opened.enter_context(self._metrics())
            await self._serve(self._workers, lease_fd, ready)
            await self._end_orphans_if_possible()
            await self._event(Kind.PROXY_STOPPED, "The proxy stopped")

    async def _serve(
        self, workers: Workers, lease_fd: int | None, ready: Callable[[ProxyStatus], None]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(workers.keep(number), name=f"relay worker {number}")
                for number in range(workers_of(self._house.settings.proxy.workers))
            ]
            tasks.append(group.create_task(self._house.inventory.run(), name="inventory"))
            tasks.append(group.create_task(self._house.keep(), name="keeper"))
            tasks.append(group.create_task(self._forget_old(), name="expiry"))
            tasks.append(group.create_task(self._renew_on_hup(), name="certificate"))
            tasks.append(group.create_task(self._announce(workers, ready), name="announce"))
            if lease_fd is not None:
                tasks.append(group.create_task(self._hold_lease(lease_fd), name="lease"))
            await self._stopping.wait()
            await self._drain(workers)
            await workers.end()
            for task in tasks:
                task.cancel()

    async def _drain(self, workers: Workers) -> None:
        """Let sessions end by themselves for a while, unless it is to be at once."""
        draining = owned(workers.drain(), name="drain")
        await self._on_worker(None)  # whoever opens a console is told why it cannot be now
        hurry = owned(self._at_once.wait(), name="at once")
        await asyncio.wait(
            (draining, hurry),
            timeout=self._house.settings.proxy.drain_grace + DRAIN_MARGIN,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for waiting in (draining, hurry):
            waiting.cancel()

    def _on_signal(self) -> None:
        """The first lets sessions end by themselves, the second ends them."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    async def _renew_on_hup(self) -> None:
        """Have the certificate made anew where that is due, and shown by every worker."""
        house = self._house
        while True:
            await self._renew.wait()
            self._renew.clear()
            try:
                loaded = await asyncio.to_thread(load_settings, house.locations)
                await asyncio.to_thread(current_identity, house.locations, loaded.settings.proxy)
            except BrokerError as problem:
                log.error("the certificate is not renewed: %s", problem)
            if self._workers is not None:
                self._workers.tell(signal.SIGHUP)

    async def _announce(self, workers: Workers, ready: Callable[[ProxyStatus], None]) -> None:
        await workers.first_ready.wait()
        status = self._status()
        await self._event(Kind.PROXY_STARTED, f"Serving on {self._listen}, port {self._port}")
        ready(status)

    async def _on_worker(self, gone: int | None) -> None:
        """Keep proxy.json and the sessions true when a worker came or went.

        What cannot be written then is no reason to end the sessions of the others.

        Raises:
            StoreError: proxy.json cannot be written, and never was.
        """
        if gone is not None:
            await self._end_orphans_if_possible()
        async with self._writing:
            path = self._house.locations.proxy_json
            try:
                await asyncio.to_thread(write_status, path, self._status())
            except BrokerError as problem:
                if self._workers is None or not self._workers.first_ready.is_set():
                    raise
                log.warning("%s", problem)

    def _status(self) -> ProxyStatus:
        return ProxyStatus(
            serving=True,
            host=self._house.settings.proxy.public_host or self._listen,
            tls_port=self._port,
            pid=os.getpid(),
            workers=self._workers.pids if self._workers else (),
            metrics_port=self._metrics_port,
            draining=self._stopping.is_set(),
        )

    @contextlib.contextmanager
    def _metrics(self) -> Iterator[int | None]:
        """Answer /metrics while the body runs, where that is wanted; the port."""
        port = self._house.settings.proxy.metrics_port
        if port is None:
            yield None
            return
        from broker.runtime.exporter import exporting
        from broker.runtime.metrics import Metrics

        def processes() -> dict[str, int]:
            workers = self._workers.by_number if self._workers else {}
            named = {f"worker-{number}": pid for number, pid in workers.items()}
            return {"supervisor": os.getpid(), **named}

        store = self._house.store
        with exporting(port, Metrics(store.counts, store.sessions, processes)) as bound:
            yield bound

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        acts = {
            signal.SIGTERM: self._on_signal,
            signal.SIGINT: self._on_signal,
            signal.SIGHUP: self._renew.set,
        }
        for number, act in acts.items():
            loop.add_signal_handler(number, act)
        try:
            yield
        finally:
            for number in acts:
                loop.remove_signal_handler(number)

    async def _hold_lease(self, descriptor: int) -> None:
        """Stop when the face says so; when it is gone, once the last session has ended."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            said = await reader.read()
        finally:
            transport.close()
        if END in said:
            log.info("the face that hosts us said to end")
            self._at_once.set()
        else:
            log.info("the face that hosts us has gone; going on until the last session ends")
            await self._last_session()
        self._stopping.set()

    async def _last_session(self) -> None:
        """Wait until it has ended; a store that cannot be asked does not end it."""
        clock = self._house.clock
        told = clock.monotonic()
        while clock.monotonic() - told < UNTOLD_SECONDS:
            try:
                if not await asyncio.to_thread(self._house.store.sessions):
                    return
                await self._end_orphans()
                told = clock.monotonic()
            except BrokerError as problem:
                log.warning("cannot see whether sessions are left: %s", problem)
            await asyncio.sleep(DRAIN_EVERY)

    async def _forget_old(self) -> None:
        house = self._house
        await forget_old(house.store, house.clock, keep_days=house.settings.store.keep_days)

    async def _end_orphans(self) -> None:
        """Close the sessions of workers that died without a word."""
        now = self._house.clock.now()
        await asyncio.to_thread(self._house.store.end_orphans, worker_alive, now)

    async def _end_orphans_if_possible(self) -> None:
        try:
            await self._end_orphans()
        except BrokerError as problem:
            log.warning("sessions of a worker that died stay for now: %s", problem)

    async def _event(self, kind: Kind, text: str) -> None:
        event = Event(at=self._house.clock.now(), kind=kind, text=text)
        with contextlib.suppress(BrokerError):
            await asyncio.to_thread(self._house.store.add_event, event)


def main(argv: list[str] | None = None) -> int:
    """The supervisor as a process of its own, started by `hosting`; talks to its log only."""
    parser = argparse.ArgumentParser(prog="broker-serving")
    parser.add_argument("--lease-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args(argv)
    logs.configure(1)
    try:
        asyncio.run(
            serve(
                lease_fd=options.lease_fd,
                ready=lambda status: announce.say_ready(options.ready_fd, port=status.tls_port),
            )
        )
    except BrokerError as problem:
        log.error("%s", problem)
        announce.say_failed(options.ready_fd, problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
