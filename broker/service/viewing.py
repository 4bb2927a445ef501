"""Coming to a machine's screen without a viewer: which way leads there, whose place it takes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from broker import vv
from broker.errors import NoConsole, Occupied, Unreachable
from broker.model import LinkPolicy, MachineKey, Protocol, WhenOccupied
from broker.service.leaving import Leaving
from broker.service.port import LIVE_LABEL, ConsoleInfo, ExportRequest
from broker.service.viewer import see_that_it_is_free
from broker.view import CALM_SECONDS, View, Way

if TYPE_CHECKING:
    from broker.service.port import Service

OpenView = Callable[[str], AbstractAsyncContextManager[View]]
"""The screen that the text of a .vv file leads to."""
TTL_SECONDS = 30.0
"""How long the token of a view is good for before it is used; it is used at once."""


class ViewingVerbs:
    """The port's verb for it; see `broker.service.port.Service`."""

    def __init__(self, service: Service, open_view: OpenView, leaving: Leaving) -> None:
        self._viewing_service = service
        self._open_view = open_view
        self._leaving = leaving

    @contextlib.asynccontextmanager
    async def view(
        self, key: MachineKey, way: Way = Way.USE, *, calm: float = CALM_SECONDS
    ) -> AsyncIterator[View]:
        """A screen, open until the block ends."""
        service = self._viewing_service
        info = await service.find(f"{key.source}/{key.uuid}")
        await self._leaving.over(key)
        there = [each for each in await service.sessions() if each.key == key]
        if way is Way.USE:
            see_that_it_is_free(info.machine, there)
        here = info.machine.defined or info.machine.adopted
        if info.watchable and (way is Way.WATCH or (here and not await self._is_proxied(info))):
            yield (await service.guest(key)).view(calm=calm)
            return
        if info.machine.protocol is not Protocol.SPICE:
            raise NoConsole(f"{info.machine.full_name} has no screen that can be shown here")
        if way is Way.WATCH and there:
            raise Occupied(
                f"{info.machine.full_name} serves one viewer at a time, and there is one",
                in_turn=False,
                fix="Its source gives no pictures to watch it meanwhile; wait, or take over",
            )
        if not (await service.proxy_status()).serving:
            raise Unreachable("No proxy is serving", fix="Start one: broker serve")
        exported = await service.export_vv(key, _request(way))
        token = vv.parse(exported.text).password
        try:
            async with self._open_view(exported.text) as view:
                yield view
        finally:
            self._leaving.left(key, token)

    async def _is_proxied(self, info: ConsoleInfo) -> bool:
        serving = (await self._viewing_service.proxy_status()).serving
        return serving and info.machine.protocol is Protocol.SPICE


def _request(way: Way) -> ExportRequest:
    when = WhenOccupied.TAKE_OVER if way is Way.TAKE_OVER else WhenOccupied.REFUSE
    policy = LinkPolicy(
        view_only=way is Way.WATCH,
        usb=False,
        clipboard=False,
        file_transfer=False,
        audio_in=False,
        occupied=when,
    )
    return ExportRequest(ttl=TTL_SECONDS, label=LIVE_LABEL, policy=policy)
