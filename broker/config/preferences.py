"""What a person chose in the terminal interface: read from and written into their own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.config.editing import Change, Drop, Put, edit
from broker.config.keys_file import read_keys
from broker.config.load import Loaded, load_settings, variable_of
from broker.config.locations import Locations
from broker.config.sources_edit import SourcesEditor
from broker.errors import UsageError

GROUP = "tui"
CHOSEN = ("theme", "glyphs", "columns")


class PersonsFiles:
    """sources.yaml, broker.yaml and keys.yaml, to be changed for the person. All of it blocks."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self.sources = SourcesEditor(locations.sources_yaml)

    def settings(self) -> Loaded:
        """What broker.yaml and the environment say now.

        Raises:
            ConfigError: It is wrong.
        """
        return load_settings(self._locations)

    def keys(self) -> Mapping[str, str]:
        """Other keys, by id.

        Raises:
            ConfigError: keys.yaml is wrong.
        """
        return read_keys(self._locations.keys_yaml)

    def choose(self, name: str, value: str | tuple[str, ...] | None) -> str:
        """Write a setting of the interface; see `Configuring.prefer`.

        Raises:
            ConfigError: broker.yaml is wrong, or cannot be changed.
            UsageError: There is no such setting.
        """
        if name not in CHOSEN:
            raise UsageError(f"{name} is nothing to choose", fix=f"There are: {', '.join(CHOSEN)}")
        self.settings()  # one that is wrong is mended by hand first
        listed = list(value) if isinstance(value, tuple) else value

        def changes(said: object) -> Sequence[Change]:
            group = said.get(GROUP) if isinstance(said, dict) else None
            if listed is not None:
                return [Put((GROUP, name), listed)]
            return [Drop((GROUP, name))] if isinstance(group, dict) and name in group else []

        edit(self._locations.broker_yaml, changes)
        variable = variable_of(f"{GROUP}.{name}")
        overridden = self.settings().provenance[f"{GROUP}.{name}"] == variable
        return f"{variable} is set, and counts again at the next start" if overridden else ""

    def choose_keys(self, id_: str, keys: str | None) -> None:
        """Write the keys of something; None takes it out of the file.

        Raises:
            ConfigError: keys.yaml is wrong, or cannot be changed.
        """

        def changes(said: object) -> Sequence[Change]:
            if keys is not None:
                several = keys.split(",")
                return [Put((id_,), several if len(several) > 1 else keys)]
            return [Drop((id_,))] if isinstance(said, dict) and id_ in said else []

        self.keys()
        edit(self._locations.keys_yaml, changes)
