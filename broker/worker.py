"""The relay worker: the small process that holds the sockets of sessions.

Started by the supervisor (`broker.runtime.serving`) with the listening sockets inherited. SIGTERM
lets nobody new in, and ends what is left after `proxy.drain_grace`; SIGINT ends all sessions now;
either way in the order that is safe for their VMs. SIGHUP has it read its certificate again. When
the supervisor is gone without a word, it takes nobody new and ends after its last session.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from broker import logs
from broker.errors import BrokerError
from broker.human import counted
from broker.owned import owned
from broker.proxy import engines
from broker.proxy.dial import TargetDialer
from broker.proxy.gate import NoSpares, Spares
from broker.proxy.limits import Limits, share
from broker.proxy.listener import Door
from broker.proxy.neighbours import Place
from broker.proxy.proxy import Proxy
from broker.proxy.watch import new_loop, settle
from broker.runtime import announce
from broker.runtime.asking import Asking
from broker.runtime.gatekeeper import StoreGate
from broker.runtime.spares import SpareLine
from broker.runtime.wiring import House, open_house
from broker.runtime.worker_life import life_of
from broker.service.admission import Admission
from broker.unwrap import unwrapped
from broker.vm.handover import hand_over
from broker.within import within

log = logging.getLogger(__name__)


class LocalVms:
    """Hands channels over to QEMU processes of this host."""

    async def hand_over(self, control_path: str) -> socket.socket:
        """A connected socket to that VM's SPICE server."""
        return await hand_over(control_path)


class Worker:
    """One proxy, its gate, and what makes it stop."""

    def __init__(self, house: House, number: int, workers: int, spares: Spares) -> None:
        self._house = house
        self._workers = workers
        self._spares = spares
        self._place = Place(number, house.locations.runtime_dir)
        self._asking = Asking(house.inventory, house.locations.runtime_dir / "asking")
        self._gate = StoreGate(
            house.store,
            Admission(
                house.store,
                house.clock,
                worker=os.getpid(),
                worker_life=life_of(os.getpid()),
                per_label=house.settings.proxy.sessions_per_label,
            ),
            house.clock,
            worker=os.getpid(),
            ask_driver=self._asking.console,
            sessions_max=house.settings.proxy.sessions_max,
            channels_max=house.settings.proxy.channels_per_session,
        )
        self._stopping = asyncio.Event()
        self._draining = asyncio.Event()
        self._proxy: Proxy | None = None
        self._certificate: Path | None = None

    async def run(self, doors: list[Door], ready_fd: int | None) -> None:
        """Serve until told to stop, or alone and idle."""
        self._certificate = (await asyncio.to_thread(self._house.identity)).server_path
        proxy = self._proxy = Proxy(
            doors,
            engines.server(self._certificate),
            self._gate,
            TargetDialer(LocalVms(), give=self._asking.give),
            limits=self._limits(),
            place=self._place,
            spares=self._spares,
        )
        ready = asyncio.Event()
        with self._signals():
            writer = owned(self._gate.write(), name="ledger")
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(proxy.run(ready), name="proxy"),
                        group.create_task(
                            self._gate.watch_ends(proxy.end_session, proxy.say),
                            name="sessions to end",
                        ),
                        group.create_task(self._watch_supervisor(proxy), name="supervisor"),
                        group.create_task(self._drain(proxy), name="drain"),
                    ]
                    await ready.wait()
                    settle()
                    announce.say_ready(ready_fd, pid=os.getpid())
                    await self._stopping.wait()
                    for task in tasks:
                        task.cancel()
            finally:
                # last, so that the ends of sessions that stopping caused are written too
                writer.cancel()
                await asyncio.wait([writer])

    def _limits(self) -> Limits:
        settings = self._house.settings.proxy
        return Limits(
            tls_seconds=settings.handshake_timeout,
            link_seconds=settings.handshake_timeout,
            backend_seconds=settings.dial_timeout,
            turn_seconds=settings.turn_timeout,
            bad_tokens=settings.bad_tokens,
            backoff_seconds=settings.bad_token_wait,
            firewall_warns=settings.firewall == "warn",
            half_open=share(settings.half_open_max, self._workers),
            half_open_per_address=share(settings.half_open_per_address, self._workers),
        )

    async def _drain(self, proxy: Proxy) -> None:
        """Told to stop: let sessions end by themselves for a while, then end what is left."""
        await self._draining.wait()
        proxy.drain()
        grace = self._house.settings.proxy.drain_grace
        if count := proxy.session_count:  # of none, each worker would say so
            log.info("%s may go on for %g s, nobody new", counted(count, "session"), grace)
        with contextlib.suppress(TimeoutError):
            async with within(grace):
                await proxy.drained()
        self._stopping.set()

    def _renew_certificate(self) -> None:
        """Show the certificate that is on disk now to viewers from now on."""
        if self._proxy is None or self._certificate is None:
            return
        try:
            self._proxy.renew_tls(engines.server(self._certificate))
        except BrokerError as problem:
            log.error("the certificate is not renewed: %s", problem)
        else:
            log.info("viewers are shown the certificate anew")

    async def _watch_supervisor(self, proxy: Proxy) -> None:
        """Our standard input closes when the supervisor has gone."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        try:
            await reader.read()
        finally:
            transport.close()
        count = proxy.session_count
        left = f"; {counted(count, 'session')} may go on" if count else ""
        log.warning("the supervisor is gone: nobody new%s", left)
        proxy.stop_accepting()
        await proxy.drained()
        self._stopping.set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        acts = {
            signal.SIGTERM: self._draining.set,
            signal.SIGINT: self._stopping.set,
            signal.SIGHUP: self._renew_certificate,
        }
        for number, act in acts.items():
            loop.add_signal_handler(number, act)
        yield
        for number in acts:
            loop.remove_signal_handler(number)


async def _main(
    listen_fds: list[int], ready_fd: int | None, number: int, workers: int, spare_fd: int | None
) -> None:
    listening = [socket.socket(fileno=descriptor) for descriptor in listen_fds]
    doors = [Door(sock, private=sock.family == socket.AF_UNIX) for sock in listening]
    spares = NoSpares() if spare_fd is None else SpareLine(socket.socket(fileno=spare_fd))
    async with open_house() as house, unwrapped():
        logging.getLogger().setLevel(house.settings.log.level.upper())
        await Worker(house, number, workers, spares).run(doors, ready_fd)


def main(argv: list[str] | None = None) -> int:
    """The process; says how it went to the supervisor and in the log only."""
    parser = argparse.ArgumentParser(prog="broker-worker")
    parser.add_argument("--listen-fds", required=True, help="descriptors, separated by commas")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--number", type=int, default=0, help="which of the workers this is")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--workers", type=int, default=1, help="how many there are")
    parser.add_argument("--spare-fd", type=int, help="line to whoever keeps opening displays")
    options = parser.parse_args(argv)
    logs.configure(1, form=options.log_format)
    descriptors = [int(each) for each in options.listen_fds.split(",")]
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(
                _main(
                    descriptors,
                    options.ready_fd,
                    options.number,
                    options.workers,
                    options.spare_fd,
                )
            )
    except BrokerError as problem:
        log.error("%s", problem)
        announce.say_failed(options.ready_fd, problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
