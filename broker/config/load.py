"""Settings from broker.yaml and the environment: which value wins, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.config.locations import Locations
from broker.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each came from.

    Attributes:
        provenance: By `group.key`, for every setting: `default`, broker.yaml's path, or the name
            of the environment variable.
        warnings: Odd things that stop nobody, such as a BROKER_* variable that sets nothing.
    """

    settings: Settings
    provenance: Mapping[str, str] = field(default_factory=dict)
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
    raise NotImplementedError
