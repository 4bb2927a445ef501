"""sources.yaml: which sources there are. What an entry's options mean is its driver's business.

Scalars are read as the text that stands in the file: a password `012345` or a name `on` would be
something else to YAML 1.1. Drivers' options models turn text into numbers where they want them.
Nothing here quotes a line of the file, because it may hold a ticket.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from broker import human
from broker.errors import ConfigError
from broker.model import LOCAL_TYPE, SourceName

LOCAL_NAME = "here"
"""What the source that is this host is called when it is not listed."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source as configured.

    Attributes:
        options: The entry without `source` and `type`; scalars are text, or None for `null`. May
            hold tickets.
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
    from broker.config.yaml_text import read_yaml

    return as_sources(read_yaml(path, as_text=True), path, types=types)


def as_sources(found: object, path: Path, *, types: Collection[str] | None = None) -> SourcesFile:
    """What was read from sources.yaml, checked; see `read_sources`.

    Raises:
        ConfigError: As there, but for what is no YAML.
    """
    if found is None or found == "":
        return SourcesFile(default_entries())
    if not isinstance(found, list):
        raise ConfigError(
            f"{path}: must be a list of sources", fix="Begin each with `- source: NAME`"
        )
    entries = [_entry(path, number, one) for number, one in enumerate(found, start=1)]
    _check_names(path, entries)
    for entry in entries:
        if types is not None and entry.type not in types:
            raise ConfigError(
                f"{path}: {entry.name} has the type {human.one_line(entry.type)}, "
                "which nobody knows",
                fix=human.did_you_mean(entry.type, types)
                or f"There are: {', '.join(sorted(types))}",
            )
    if not any(entry.type == LOCAL_TYPE for entry in entries):
        taken = {entry.name for entry in entries}
        free = next(name for name in (LOCAL_NAME, "local", "this-host") if name not in taken)
        entries.append(SourceEntry(SourceName(free), LOCAL_TYPE))
    return SourcesFile(tuple(entries), _warnings(path, entries))


def fingerprint(path: Path) -> str:
    """Something cheap that changes when the file does; no YAML is read. Never an error."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"error {exc.errno}"
    return f"{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_size}-{found.st_ino}"


def _entry(path: Path, number: int, found: object) -> SourceEntry:
    where = f"{path}: entry {number}"
    if not isinstance(found, dict):
        raise ConfigError(f"{where} is not a source", fix="Begin it with `- source: NAME`")
    if any(not isinstance(key, str) for key in found):
        raise ConfigError(f"{where} has a key that is no text", fix="Write keys as plain words")
    name, type_name = found.get("source"), found.get("type")
    for key, value, example in (("source", name, "lab"), ("type", type_name, "static")):
        if not isinstance(value, str) or not value:
            wrong = [one for one in found if one not in ("source", "type")]
            wrong = [one for one in wrong if human.did_you_mean(one, [key])]
            raise ConfigError(
                f"{where} does not say its {key}",
                fix=f"Write `{key}` instead of `{human.one_line(wrong[0])}`"
                if wrong
                else f"Add `{key}: {example}`",
            )
    assert isinstance(name, str)
    assert isinstance(type_name, str)
    if "/" in name or human.one_line(name) != name or name != name.strip():
        raise ConfigError(
            f"{where}: {human.one_line(name)!r} cannot be the name of a source",
            fix="Use a name without slashes, control characters and spaces around it",
        )
    options = {key: value for key, value in found.items() if key not in ("source", "type")}
    return SourceEntry(SourceName(name), type_name, options)


def _check_names(path: Path, entries: list[SourceEntry]) -> None:
    seen: dict[SourceName, int] = {}
    for number, entry in enumerate(entries, start=1):
        if (first := seen.setdefault(entry.name, number)) != number:
            raise ConfigError(
                f"{path}: entries {first} and {number} are both called {entry.name}",
                fix="Give each source a name of its own",
            )
    local = [entry.name for entry in entries if entry.type == LOCAL_TYPE]
    if len(local) > 1:
        raise ConfigError(
            f"{path}: {local[0]} and {local[1]} are both of type {LOCAL_TYPE}; one is the most",
            fix="Remove one of them",
        )


def _warnings(path: Path, entries: list[SourceEntry]) -> tuple[str, ...]:
    """That others can read the secrets in it."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ()
    if mode & 0o044 and any(_holds_secret(entry.options) for entry in entries):
        return (f"{path} holds secrets and others can read it. Close it: chmod 600 {path}",)
    return ()


def _holds_secret(value: object, depth: int = 0) -> bool:
    if depth > 8:
        return False
    if isinstance(value, Mapping):
        return any(
            (key in _SECRET_KEYS and isinstance(inner, str)) or _holds_secret(inner, depth + 1)
            for key, inner in value.items()
        )
    return isinstance(value, list) and any(_holds_secret(inner, depth + 1) for inner in value)


_SECRET_KEYS = ("ticket", "password", "token", "secret", "token_value", "key")
