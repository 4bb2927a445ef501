"""How a person wants the terminal interface. See `broker.service.configuring` for each verb."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.service.configuring import Preferences

if TYPE_CHECKING:
    from broker.config.preferences import PersonsFiles


class PreferringVerbs:
    """Slices of the service, over the person's files."""

    def __init__(self, files: PersonsFiles) -> None:
        self._files = files
        self._writing = asyncio.Lock()
        """What was chosen last is written last."""

    async def preferences(self) -> Preferences:
        """As the files say now."""
        return await asyncio.to_thread(self._read)

    async def prefer(self, name: str, value: str | tuple[str, ...] | None) -> str:
        """Into broker.yaml."""
        async with self._writing:
            return await asyncio.to_thread(self._files.choose, name, value)

    async def prefer_keys(self, id_: str, keys: str | None) -> None:
        """Into keys.yaml."""
        async with self._writing:
            await asyncio.to_thread(self._files.choose_keys, id_, keys)

    def _read(self) -> Preferences:
        loaded = self._files.settings()
        looks, lead = loaded.settings.tui, "tui."
        return Preferences(
            theme=looks.theme,
            glyphs=looks.glyphs,
            columns=looks.columns,
            keys=self._files.keys(),
            origins={
                name.removeprefix(lead): origin
                for name, origin in loaded.provenance.items()
                if name.startswith(lead)
            },
        )
