"""The service's life behind the app: opened after the first paint, left when the person quits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from broker.errors import BrokerError
from broker.model import State
from broker.within import within
from tui.bridge import Bridge
from tui.snapshot import Snapshot

if TYPE_CHECKING:
    from broker.model import Machine, MachineSpec
    from broker.service.port import ConsoleInfo, Service

log = logging.getLogger(__name__)

LEAVE_SECONDS: Final = 15.0
"""How long leaving may take before the app goes anyway."""

REHOST_SECONDS: Final = 1.0
"""How long after a proxy has gone we host one: long enough for a restart by its own supervisor."""

OpenService = Callable[[], "AbstractAsyncContextManager[Service]"]
More = Callable[[], "tuple[Sequence[ConsoleInfo], bool] | None"]
"""Gets more of a list, and whether there is still more of it; None when that is not to be had."""


class Leave(Enum):
    """What becomes of live sessions when the app goes."""

    KEEP = "keep"
    END = "end"


class Watcher(Protocol):
    """Who is told how it goes: the app."""

    snapshot: Snapshot

    def receive(self, snapshot: Snapshot) -> None:
        """The service said something new."""

    def no_proxy(self, problem: BrokerError) -> None:
        """No proxy can be served; everything else goes on."""

    def lost(self, problem: BrokerError, cause: BaseException | None) -> None:
        """There is no service (any more); `cause` when that is a bug of ours."""


class Life:
    """One service, from opening to leaving.

    Attributes:
        service: The service once it is open, or why it never was.
        leaving: Set when the person has decided to go.
    """

    def __init__(self, watcher: Watcher, open_service: OpenService) -> None:
        loop = asyncio.get_running_loop()
        self.service: asyncio.Future[Service] = loop.create_future()
        self.leaving: asyncio.Future[Leave] = loop.create_future()
        self._watcher = watcher
        self._proxy_gone = asyncio.Event()
        self._open_service = open_service

    @property
    def is_open(self) -> bool:
        """There is a service to take leave of."""
        return self.service.done() and self.service.exception() is None

    async def run(self, more: More | None, preload: Callable[[], object] | None) -> None:
        """Open, follow, host a proxy, and take leave; returns when all of that is over.

        Args:
            more: Called in a thread before anything else; what it gets is shown.
            preload: Heavy imports; called in a thread.
        """
        try:
            if more is not None and (got := await asyncio.to_thread(more)) is not None:
                early = replace(self._watcher.snapshot, consoles=got[0], partial=got[1])
                self._watcher.receive(early)
            if preload is not None:
                await asyncio.to_thread(preload)
            async with self._open_service() as service:
                self.service.set_result(service)
                leave = await self._follow(service)
                async with within(LEAVE_SECONDS):
                    await service.leave_proxy(keep_sessions=leave is Leave.KEEP)
        except BrokerError as problem:
            self._lost(problem, None)
        except TimeoutError:
            log.warning("leaving took more than %d s; going anyway", LEAVE_SECONDS)
        except Exception as cause:  # whatever it is, the screen must say it and go on
            log.exception("the service broke")
            broken = BrokerError("The broker's own service broke", fix="The log has the cause")
            self._lost(broken, cause)

    async def _follow(self, service: Service) -> Leave:
        bridge = Bridge(service, self._watcher.snapshot, self._news)
        async with asyncio.TaskGroup() as group:
            parts = (
                group.create_task(bridge.run(), name="bridge"),
                group.create_task(self._host_proxy(service), name="proxy"),
            )
            leave = await self.leaving
            for part in parts:
                part.cancel()
        return leave

    async def _host_proxy(self, service: Service) -> None:
        """Have one serving, also after the one that served has gone, whoever hosted it."""
        try:
            while True:
                await service.host_proxy()
                self._proxy_gone.clear()
                await self._proxy_gone.wait()
                log.warning("the proxy has gone; hosting one")
                await asyncio.sleep(REHOST_SECONDS)
        except BrokerError as problem:
            log.warning("no proxy: %s", problem)
            self._watcher.no_proxy(problem)

    def _news(self, snapshot: Snapshot) -> None:
        if snapshot.proxy is not None and not snapshot.proxy.serving:
            self._proxy_gone.set()
        self._watcher.receive(snapshot)

    def _lost(self, problem: BrokerError, cause: BaseException | None) -> None:
        log.warning("the service is gone: %s", problem)
        if not self.service.done():
            self.service.set_exception(problem)
            self.service.exception()  # the watcher says it, whether or not anybody waits for it
        self._watcher.lost(problem, cause)


async def have_running(service: Service, spec: MachineSpec) -> Machine:
    """Define that VM unless it is there, start it unless it runs."""
    rows = (info.machine for info in await service.consoles() if info.startable)
    machine = next((machine for machine in rows if machine.key.uuid == spec.uuid), None)
    if machine is None:
        machine = await service.define(spec)
    return machine if machine.state is State.RUNNING else await service.start(machine.key)
