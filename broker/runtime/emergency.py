"""Killing VMs of this host by their files and processes alone: the database cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from broker.clock import SystemClock
from broker.config.load import load_settings
from broker.config.locations import Locations
from broker.config.sources_file import SourceEntry, default_entries, read_sources
from broker.driver import PowerControl
from broker.errors import BrokerError, ConfigError, NotFound
from broker.model import LOCAL_TYPE, Machine
from broker.runtime.wiring import driver_context, make_driver


async def kill(references: Sequence[str]) -> list[tuple[str, Machine | BrokerError]]:
    """Kill the VMs of these names, uuids and patterns; each as it is then, or why it is not off.

    Nothing is written down: where a policy has it running always, whoever keeps it may start it
    again.

    Raises:
        ConfigError: broker.yaml is wrong.
        StoreError: The VMs' own directory cannot be read.
    """
    locations = Locations.from_env()
    settings = load_settings(locations).settings
    entry = _local(locations.sources_yaml)
    driver = make_driver(entry, driver_context(locations, settings, SystemClock()))
    assert isinstance(driver, PowerControl)
    try:
        there = await driver.machines()
        results: dict[str, Machine | BrokerError] = {}
        for reference in references:
            meant = [machine for machine in there if _is_meant(machine, reference)]
            if not meant:
                results[reference] = NotFound(f"No VM of this host is called {reference}")
            for machine in meant:
                try:
                    await driver.kill(machine.key.uuid)
                except BrokerError as problem:
                    results[machine.name] = problem
        after = {machine.key: machine for machine in await driver.machines()}
    finally:
        await driver.aclose()
    for machine in there:
        if any(_is_meant(machine, reference) for reference in references):
            results.setdefault(machine.name, after.get(machine.key, machine))
    return list(results.items())


def _is_meant(machine: Machine, reference: str) -> bool:
    names = (machine.name, machine.full_name, machine.key.uuid)
    return any(fnmatchcase(name, reference) for name in names)


def _local(sources_yaml: Path) -> SourceEntry:
    """The source of this host's VMs; as it comes where sources.yaml cannot be read either."""
    try:
        entries = read_sources(sources_yaml).entries
    except ConfigError:
        entries = default_entries()
    return next(entry for entry in entries if entry.type == LOCAL_TYPE)
