"""The part of the port that writes the person's own files: sources.yaml, broker.yaml, keys.yaml.

Only what is asked for changes in them; comments and everything else stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from broker.findings import Step
    from broker.model import SourceName


@dataclass(frozen=True, slots=True)
class SourceType:
    """A type of source that there is a driver for.

    Attributes:
        schema: JSON Schema of its entry without `source` and `type`; empty when its driver tells
            none, so that its entries can only be written by hand. Secrets are `writeOnly`.
    """

    name: str
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry of sources.yaml, or one console of a static source, while somebody edits it.

    Attributes:
        source: The source's name.
        type: The word after `type:`.
        options: What the entry is to say. May hold secrets that were typed.
        kept: Options that stay as they are in the file, their values unseen.
        unknown: Keys that the entry has and its type does not know; saving takes them out.
        seen: What the entry was when it was read; empty when it is a new one.
        console: The uuid of the console that it was read as; "" is a new one; None when it is
            the source itself.
    """

    source: SourceName
    type: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    kept: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    seen: str = ""
    console: str | None = None


@dataclass(frozen=True, slots=True)
class Preferences:
    """How a person wants the terminal interface.

    Attributes:
        columns: Titles of the columns of the list, in order; None shows all there is room for.
        keys: Keys by id, for those that are not as they come.
        origins: Where each of the others comes from: `default`, a file, an environment variable.
    """

    theme: str
    glyphs: str
    columns: tuple[str, ...] | None
    keys: Mapping[str, str]
    origins: Mapping[str, str]


class Configuring(Protocol):
    """What can be written from a face.

    Each of the writing verbs raises ConfigError when the file cannot be read or written, or not
    be changed without changing more; then it is as it was.
    """

    async def source_types(self) -> Sequence[SourceType]:
        """The types there are drivers for, by name; one whose driver cannot be loaded is left out.

        `local` is among them, though a second one cannot be added.
        """
        ...

    async def draft_of(self, name: SourceName, console: str | None = None) -> Draft:
        """An entry as sources.yaml has it, for editing; secrets stand in `kept`, not in `options`.

        Args:
            console: The uuid of one console of a static source, instead of the source.

        Raises:
            NotFound: There is no such source or console in the file.
        """
        ...

    async def static_consoles(self, name: SourceName) -> Sequence[tuple[str, str]]:
        """Uuid and name of each console that a static source lists."""
        ...

    async def vet(self, draft: Draft) -> Mapping[str, str]:
        """What is wrong with a draft, by option; `""` is the whole of it. Nothing is connected."""
        ...

    async def try_draft(self, draft: Draft) -> Sequence[Step]:
        """What `check_source` would say once the draft was saved; nothing is written."""
        ...

    async def save_draft(self, draft: Draft) -> None:
        """Write it into sources.yaml, and take it up.

        Raises:
            ConfigError: An option is wrong, too.
            Refused: Somebody changed the entry since it was read (`changed-meanwhile`).
            UsageError: A new one has a name, or a uuid, that is taken.
        """
        ...

    async def remove_draft(self, draft: Draft) -> None:
        """Take the entry, or the console, out of sources.yaml; what is known of it is forgotten.

        Raises:
            Refused: Somebody changed it since it was read.
        """
        ...

    async def sources_file(self) -> Path:
        """Where sources.yaml is, to be edited by hand; an empty one is made where there is none."""
        ...

    async def take_up_sources(self) -> Sequence[str]:
        """Read sources.yaml as somebody left it, and go by it; what is odd about it, a line each.

        Raises:
            ConfigError: It cannot be read: where, and what to do. What was read last stays.
        """
        ...

    async def preferences(self) -> Preferences:
        """How the person wants the terminal interface, as the files say now."""
        ...

    async def prefer(self, name: str, value: str | tuple[str, ...] | None) -> str:
        """Write `theme`, `glyphs` or `columns` into broker.yaml; None goes back to the default.

        Returns:
            Why it will not hold at the next start, when a variable of the environment overrides
            it; else empty text.
        """
        ...

    async def prefer_keys(self, id_: str, keys: str | None) -> None:
        """Write the keys of something into keys.yaml; None goes back to those it comes with."""
        ...
