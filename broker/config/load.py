"""Settings from broker.yaml and the environment: which value wins, and where it came from."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from broker import __version__, human
from broker.config import settings as settings_module
from broker.config.locations import Locations
from broker.config.settings import Settings

PREFIX = "BROKER_"
_HOME = "BROKER_HOME"
"""Ours too, though no setting: see `Locations`."""
_NEAR, _VERY_NEAR = 0.6, 0.75
"""How like one of ours an unknown variable is for a slip: in one of our groups, and in none."""


class Loaded(NamedTuple):
    """Settings and where each came from.

    Attributes:
        provenance: By `group.key`, for every setting: `default`, broker.yaml's path, or the name
            of the environment variable.
        warnings: Odd things that stop nobody, such as a BROKER_* variable that sets nothing.
    """

    settings: Settings
    provenance: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def load_settings(locations: Locations, env: Mapping[str, str] | None = None) -> Loaded:
    """The settings that hold: the environment over broker.yaml over the defaults.

    A missing or empty file is no error. What was checked once is remembered in the state
    directory, by the file's stamp, the environment and our version; then neither YAML nor
    pydantic is imported. A cache that is wrong, missing or cannot be written is never an error.

    Raises:
        ConfigError: YAML that cannot be read, an unknown setting, a value that is not allowed;
            `what` begins with the file's path or the variable's name.
    """
    env = os.environ if env is None else env
    overrides, warnings = _from_env(env)
    stamp = _stamp(locations.broker_yaml)
    if stamp is None and not overrides:
        return _loaded({}, {}, warnings)
    key = json.dumps([__version__, _stamp(Path(settings_module.__file__)), stamp, overrides])
    values = _from_cache(locations.settings_cache, key)
    if values is None:
        from broker.config.check import check_file, check_variable

        values = check_file(locations.broker_yaml) if stamp is not None else {}
        for name, text in overrides.items():
            values[name] = check_variable(variable_of(name), name, text)
        _to_cache(locations.settings_cache, key, values)
    origin = dict.fromkeys(values, str(locations.broker_yaml))
    origin |= {name: variable_of(name) for name in overrides}
    return _loaded(values, origin, warnings)


def variable_of(name: str) -> str:
    """The environment variable of a setting: `BROKER_PROXY_TLS_PORT` for `proxy.tls_port`."""
    return PREFIX + name.replace(".", "_").upper()


def setting_names() -> tuple[str, ...]:
    """Every setting as `group.key`, in the order in which they are defined."""
    return tuple(
        f"{group.name}.{one.name}"
        for group in dataclasses.fields(Settings)
        for one in dataclasses.fields(getattr(_DEFAULTS, group.name))
    )


_DEFAULTS = Settings()


def _loaded(
    values: Mapping[str, Any], origin: Mapping[str, str], warnings: tuple[str, ...]
) -> Loaded:
    groups: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, key = name.partition(".")
        groups.setdefault(group, {})[key] = tuple(value) if isinstance(value, list) else value
    changed = {
        group: dataclasses.replace(getattr(_DEFAULTS, group), **given)
        for group, given in groups.items()
    }
    provenance = dict.fromkeys(setting_names(), "default") | dict(origin)
    return Loaded(dataclasses.replace(_DEFAULTS, **changed), provenance, warnings)


def _from_env(env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Settings given by variables, and a warning for each that looks like one and is none.

    Other programs have BROKER_ variables of their own: outside our groups, only one that is very
    like one of ours is taken for a slip.
    """
    given = sorted(name for name in env if name.startswith(PREFIX) and name != _HOME)
    if not given:
        return {}, ()
    known = {variable_of(name): name for name in setting_names()}
    words = [name.removeprefix(PREFIX) for name in (*known, _HOME)]
    groups = tuple(f"{PREFIX}{group.name.upper()}_" for group in dataclasses.fields(Settings))
    warnings = []
    for name in given:
        if name not in known:
            ours = name.startswith(groups)
            near = human.nearest(
                name.removeprefix(PREFIX), words, likeness=_NEAR if ours else _VERY_NEAR
            )
            if ours or near:
                meant = f" Did you mean {PREFIX}{near}?" if near else ""
                warnings.append(f"{name} sets nothing.{meant}")
    return {known[name]: env[name] for name in given if name in known}, tuple(warnings)


def _stamp(path: Path) -> list[int] | None:
    """What changes when a file does; None when there is none."""
    try:
        found = path.stat()
    except OSError as exc:
        return None if isinstance(exc, FileNotFoundError) else [exc.errno or 0]
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def _from_cache(path: Path, key: str) -> dict[str, Any] | None:
    """What was checked before under the same key and still fits our settings."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or found["key"] != key:
            return None
        values = found["values"]
        known = set(setting_names())
        return values if isinstance(values, dict) and known.issuperset(values) else None
    except (OSError, ValueError, LookupError, RecursionError):
        return None


def _to_cache(path: Path, key: str, values: Mapping[str, Any]) -> None:
    from broker import private_file  # most starts find the cache as it should be

    with contextlib.suppress(OSError):
        private_file.write(path, json.dumps({"key": key, "values": values}))
