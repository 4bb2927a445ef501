"""keys.yaml: which keys do what in the terminal interface, by the ids that its help shows."""

from __future__ import annotations

from pathlib import Path

from broker.errors import ConfigError


def read_keys(path: Path) -> dict[str, str]:
    """Keys by id, several joined by commas; a missing file gives none. Ids are not judged here.

    Raises:
        ConfigError: It cannot be read, or is no mapping of ids to keys.
    """
    if not path.exists():
        return {}
    from broker.config.yaml_text import read_yaml

    found = read_yaml(path, as_text=True)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: must name ids and their keys", fix="Write `vm.start: ctrl+s`")
    keys: dict[str, str] = {}
    for id_, wanted in found.items():
        several = wanted if isinstance(wanted, list) else [wanted]
        if not isinstance(id_, str) or not all(isinstance(one, str) for one in several):
            raise ConfigError(f"{path}: {id_} has no key", fix="Write `vm.start: ctrl+s`")
        keys[id_] = ",".join(several)
    return keys
