"""Driver classes by type, found through the `broker.sources` entry points, imported when used."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points

from broker import human
from broker.driver import Driver
from broker.errors import ConfigError

GROUP = "broker.sources"
"""The entry-point group a distribution adds its drivers to."""


def driver_types() -> tuple[str, ...]:
    """The types of source there are drivers for, sorted. Imports no driver."""
    return tuple(sorted(_found()))


def driver_class(type_name: str) -> type[Driver]:
    """The class of the driver for one type of source.

    Raises:
        ConfigError: No driver has that name (the nearest is offered), or it cannot be imported.
    """
    entry = _found().get(type_name)
    if entry is None:
        raise ConfigError(
            f"sources.yaml: there is no type of source called {human.one_line(type_name)}",
            fix=human.did_you_mean(type_name, driver_types())
            or f"There are: {', '.join(driver_types())}",
        )
    try:
        found: type[Driver] = entry.load()
    except (ImportError, AttributeError) as exc:
        missing = exc.name if isinstance(exc, ImportError) and exc.name else entry.value
        raise ConfigError(
            f"sources.yaml: the driver for {type_name} cannot be loaded: {missing} is missing",
            fix="Install what it needs, or take its source out of sources.yaml",
        ) from exc
    return found


@functools.cache
def _found() -> dict[str, EntryPoint]:
    """By type; where two distributions offer one, ours does not win over what was added."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        ours = entry.dist is not None and entry.dist.name == "console-broker"
        if entry.name not in found or not ours:
            found[entry.name] = entry
    return found
