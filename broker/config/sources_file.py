"""sources.yaml: which sources there are. What an entry's options mean is its driver's business.

Scalars are read as the text that stands in the file: a password `012345` or a name `on` would be
something else to YAML 1.1. Drivers' options models turn text into numbers where they want them.
Nothing here quotes a line of the file, because it may hold a ticket.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker.model import SourceName

LOCAL_TYPE = "local"
"""The type of source that is there even when it is not listed."""

LOCAL_NAME = "here"
"""What it is then called."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source as configured.

    Attributes:
        options: The entry without `source` and `type`; scalars are text or None. May hold tickets.
    """

    name: SourceName
    type: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class SourcesFile:
    """What sources.yaml says.

    Attributes:
        entries: In the file's order; the local source last when it is not listed.
        warnings: What is odd about the file without stopping it, one sentence each.
    """

    entries: tuple[SourceEntry, ...]
    warnings: tuple[str, ...] = ()


def default_entries() -> tuple[SourceEntry, ...]:
    """What there is without a file: the local source."""
    return (SourceEntry(SourceName(LOCAL_NAME), LOCAL_TYPE),)


def read_sources(path: Path, *, types: Collection[str] | None = None) -> SourcesFile:
    """Parse sources.yaml; a missing or empty one gives the local source alone.

    Args:
        types: The types of source there are drivers for; None leaves that to `plugins`, so that
            one unknown type does not stop the other sources.

    Raises:
        ConfigError: It cannot be read, is not YAML (with the line), not a list, an entry lacks
            its name or type, two have the same name, or (with `types`) a type is unknown.
    """
    raise NotImplementedError


def fingerprint(path: Path) -> str:
    """Something cheap that changes when the file does; no YAML is read. Never an error."""
    raise NotImplementedError
