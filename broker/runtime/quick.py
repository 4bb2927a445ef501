"""The quick path: `list` and `export-vv` without waking SQLAlchemy, pydantic, YAML or asyncio.

It answers only when what is stored is known to be good: the database is of our version,
sources.yaml is as it was when it was last read, each source in it was looked at, and every local
VM that was seen running still has its process. Otherwise the caller takes the full service, which
is slower and right.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from broker.clock import SystemClock
from broker.config.load import load_settings
from broker.config.locations import Locations
from broker.config.sources_file import fingerprint
from broker.service.stored import info_of
from broker.store.hot import HotStore, open_hot

if TYPE_CHECKING:
    from broker.config.load import Loaded
    from broker.model import Machine, MachineKey, ProxyStatus
    from broker.service.consoles import Certificate, Consoles
    from broker.service.port import ConsoleInfo, Exported, ExportRequest


class Quick:
    """What can be answered at once. See `broker.service.port.Service` for each answer."""

    def __init__(
        self, consoles: Consoles, store: HotStore, locations: Locations, notes: tuple[str, ...]
    ) -> None:
        self._consoles = consoles
        self._store = store
        self._locations = locations
        self.notes = notes

    def consoles(self) -> Sequence[ConsoleInfo]:
        """All known consoles, ordered by name then source."""
        return self._consoles.all()

    def find(self, reference: str) -> ConsoleInfo:
        """The console called `name`, `source/name` or uuid."""
        return self._consoles.find(reference)

    def export_vv(self, key: MachineKey, request: ExportRequest) -> Exported:
        """A .vv file for that console; direct ones need the full service."""
        return self._consoles.export_vv(key, request)

    def proxy_status(self) -> ProxyStatus:
        """Whether a proxy serves on this host."""
        from broker.runtime.proxy_file import read_status

        return read_status(self._locations.proxy_json)

    def close(self) -> None:
        """Give back the database."""
        self._store.close()


class _Known(NamedTuple):
    """A database that can be answered from."""

    store: HotStore
    locations: Locations
    loaded: Loaded


def _known() -> _Known | None:
    """None when only the full service can answer.

    Raises:
        ConfigError: broker.yaml is wrong, or a directory is not ours.
        StoreError: A directory cannot be used.
    """
    locations = Locations.from_env()
    locations.prepare()
    loaded = load_settings(locations)
    if loaded.settings.store.url is not None:
        return None
    store = open_hot(locations.database)
    if store is None:
        return None
    unchanged = store.file_fingerprint() == fingerprint(locations.sources_yaml)
    if not (unchanged and store.is_whole() and _all_alive(store)):
        store.close()
        return None
    return _Known(store, locations, loaded)


def quick() -> Quick | None:
    """The quick path, or None when only the full service can answer.

    Raises:
        ConfigError: broker.yaml is wrong, or a directory is not ours.
        StoreError: A directory cannot be used.
    """
    from broker.runtime.proxy_file import read_status
    from broker.service.consoles import Consoles

    if (known := _known()) is None:
        return None
    store, locations, loaded = known
    settings = loaded.settings

    def certificate() -> Certificate:
        from broker.runtime.certificate import certificate_for

        return certificate_for(locations, settings.proxy)

    consoles = Consoles(
        store,
        settings.proxy,
        SystemClock(),
        certificate=certificate,
        proxy_status=lambda: read_status(locations.proxy_json),
    )
    return Quick(consoles, store, locations, loaded.warnings)


def quick_list(most: int) -> Sequence[ConsoleInfo] | None:
    """The TUI's first rows: the list's first `most` as stored, or None. Never an error.

    It imports nothing of what makes files for viewers.
    """
    from broker.errors import BrokerError

    try:
        known = _known()
        if known is None:
            return None
        try:
            return [info_of(stored) for stored in known.store.first_machines(most)]
        finally:
            known.store.close()
    except BrokerError:
        return None


def _all_alive(store: HotStore) -> bool:
    return all(_is_alive(stored.machine) for stored in store.with_process())


def _is_alive(machine: Machine) -> bool:
    """Whether a VM that was seen with a process still has it; others are taken as they are."""
    if machine.pid is None:
        return True
    try:
        line = Path(f"/proc/{machine.pid}/cmdline").read_bytes()
    except OSError:
        return False
    return machine.key.uuid.encode() in line or (machine.adopted and _began_then(machine))


def _began_then(machine: Machine) -> bool:
    """Whether the process of an adopted VM is the one that was seen; not all were given a uuid."""
    try:
        stat = Path(f"/proc/{machine.pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/stat").read_text(encoding="ascii").partition("\nbtime ")[2]
        ticks = int(stat[stat.rindex(")") + 2 :].split()[19])
    except (OSError, ValueError):
        return False
    began = int(boot.partition("\n")[0]) + ticks / os.sysconf("SC_CLK_TCK")
    return machine.started_at is not None and abs(machine.started_at.timestamp() - began) < 1
