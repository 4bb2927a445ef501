"""Driver classes by type, found through the `broker.sources` entry points, imported when used."""

from __future__ import annotations

from broker.driver import Driver

GROUP = "broker.sources"
"""The entry-point group a distribution adds its drivers to."""


def driver_types() -> tuple[str, ...]:
    """The types of source there are drivers for, sorted. Imports no driver."""
    raise NotImplementedError


def driver_class(type_name: str) -> type[Driver]:
    """The class of the driver for one type of source.

    Raises:
        ConfigError: No driver has that name (the nearest is offered), or it cannot be imported.
    """
    raise NotImplementedError
