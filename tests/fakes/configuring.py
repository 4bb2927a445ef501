"""The part of the fake service that writes files: the real one, over the test's own home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.clock import SystemClock
from broker.config.locations import Locations
from broker.config.preferences import PersonsFiles
from broker.config.settings import Settings
from broker.config.sources_file import read_sources
from broker.findings import Step
from broker.model import Health, SourceName, SourceStatus
from broker.runtime.knocking import look_at
from broker.runtime.wiring import driver_context, make_driver
from broker.service.configuring import Draft
from broker.service.drafting import DraftingVerbs
from broker.service.preferring import PreferringVerbs


class FakeConfiguring(DraftingVerbs, PreferringVerbs):
    """What is written is listed afterwards, as sources that are well."""

    status: list[SourceStatus]
    trial: list[Step] | None = None
    """What trying a draft finds; None tries it."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._locations = Locations.from_env()
        context = driver_context(self._locations, Settings(), self._clock)
        files = PersonsFiles(self._locations)
        DraftingVerbs.__init__(
            self, files.sources, lambda entry: make_driver(entry, context), self, look_at
        )
        PreferringVerbs.__init__(self, files)

    async def _ask(self, verb: str, *what: object) -> None:
        raise NotImplementedError

    def changed(self) -> None:
        """Something stored changed."""
        raise NotImplementedError

    async def read_file(self) -> None:
        """See that what was added is listed, and what was removed is not."""
        known = {each.name: each for each in self.status}
        self.status = [
            known.get(entry.name) or SourceStatus(entry.name, entry.type, Health.OK)
            for entry in read_sources(self._locations.sources_yaml).entries
        ]
        self.changed()

    async def refresh_source(self, name: SourceName) -> None:
        """Nothing is behind it."""
        await self._ask("refresh_source", name)

    async def try_draft(self, draft: Draft) -> Sequence[Step]:
        """As it is told to find."""
        await self._ask("try_draft", draft)
        return await super().try_draft(draft) if self.trial is None else self.trial

    async def save_draft(self, draft: Draft) -> None:
        """For real."""
        await self._ask("save_draft", draft)
        await super().save_draft(draft)

    async def remove_draft(self, draft: Draft) -> None:
        """For real."""
        await self._ask("remove_draft", draft)
        await super().remove_draft(draft)

    async def prefer(self, name: str, value: Any) -> str:
        """For real."""
        await self._ask("prefer", name, value)
        return await super().prefer(name, value)

    async def prefer_keys(self, id_: str, keys: str | None) -> None:
        """For real."""
        await self._ask("prefer_keys", id_, keys)
        await super().prefer_keys(id_, keys)
