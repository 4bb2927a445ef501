"""Writing entries of sources.yaml; whatever else stands in the file stays as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker import human
from broker.config.editing import Append, Change, Drop, Put, as_text, edit
from broker.config.sources_file import SourceEntry, as_sources, read_sources
from broker.errors import NotFound, Refused, UsageError
from broker.model import LOCAL_TYPE

STATIC_TYPE = "static"
RESERVED = ("sources.yaml",)
"""Names that mean something else in lists of sources."""


def seen_of(said: object) -> str:
    """A mark of what an entry says; another one means that somebody changed it."""
    return hashlib.sha256(json.dumps(as_text(said), sort_keys=True).encode()).hexdigest()


class SourcesEditor:
    """The entries of one sources.yaml. Its methods block.

    Every one of them raises ConfigError when the file cannot be read, changed or written, and
    Refused when the entry is not what the person saw when they began.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entry(self, name: str) -> SourceEntry:
        """One source as the file has it now; the local one also when it is not listed.

        Raises:
            NotFound: There is none of that name.
        """
        for entry in read_sources(self.path).entries:
            if entry.name == name:
                return entry
        raise NotFound(f"There is no source called {human.one_line(name)}", fix="broker sources")

    def consoles(self, name: str) -> Sequence[Mapping[str, object]]:
        """What a static source lists."""
        listed = self.entry(name).options.get("consoles")
        found = listed if isinstance(listed, list) else []
        return [one for one in found if isinstance(one, dict)]

    def console(self, name: str, uuid: str) -> Mapping[str, object]:
        """One console of a static source; the last one where a uuid stands twice.

        Raises:
            NotFound: There is none.
        """
        for one in reversed(self.consoles(name)):
            if _is(one, uuid):
                return one
        raise NotFound(f"{name} lists no console {human.one_line(uuid)}", fix="broker list")

    def put(self, entry: SourceEntry, *, seen: str) -> None:
        """Write a source.

        Args:
            seen: `seen_of` the options that were edited; empty for a new source.
        """

        def changes(said: object) -> Sequence[Change]:
            at = _find(said, entry.name)
            if not seen:
                if at is not None or any(e.name == entry.name for e in self._all(said)):
                    raise UsageError(
                        f"There is a source called {entry.name} already", fix="Choose another name"
                    )
                whole = {"source": entry.name, "type": entry.type, **entry.options}
                return self._checked(said, [Append((), whole)])
            was = self._unchanged(said, at, entry.name, seen)
            if at is None:  # the local source, until now without an entry
                whole = {"source": entry.name, "type": entry.type, **entry.options}
                return self._checked(said, [Append((), whole)])
            return self._checked(said, _difference((at,), was, entry.options))

        edit(self.path, changes)

    def remove(self, name: str, *, seen: str) -> None:
        """Take a source out; comments above and below it stay."""

        def changes(said: object) -> Sequence[Change]:
            at = _find(said, name)
            self._unchanged(said, at, name, seen)
            if at is None:
                raise UsageError(
                    f"{name} is there without an entry: the VMs of this host",
                    fix="It cannot be removed",
                )
            return [Drop((at,))]

        edit(self.path, changes)

    def put_console(
        self, source: str, console: Mapping[str, object], *, uuid: str = "", seen: str = ""
    ) -> None:
        """Write a console into a static source, which is begun where there is none.

        Args:
            uuid: Of the one that was edited; empty for a new one.
            seen: `seen_of` the one that was edited.
        """

        def changes(said: object) -> Sequence[Change]:
            at = _find(said, source)
            if uuid:
                place = self._console_at(said, at, source, uuid, seen)
                assert isinstance(said, list)
                was = said[place[0]]["consoles"][place[2]]
                return self._checked(said, _difference(place, was, console))
            if at is None:
                if any(each.name == source for each in self._all(said)):
                    raise UsageError(f"{source} is no static source", fix="Choose another name")
                whole = {"source": source, "type": STATIC_TYPE, "consoles": [dict(console)]}
                return self._checked(said, [Append((), whole)])
            assert isinstance(said, list)
            if said[at].get("type") != STATIC_TYPE:
                raise UsageError(f"{source} is no static source", fix="Choose another name")
            if any(_is(one, str(console.get("uuid"))) for one in self._listed(said, at)):
                raise UsageError(f"{source} lists that uuid already", fix="Choose another uuid")
            return self._checked(said, [Append((at, "consoles"), dict(console))])

        edit(self.path, changes)

    def remove_console(self, source: str, uuid: str, *, seen: str) -> None:
        """Take a console out of a static source."""

        def changes(said: object) -> Sequence[Change]:
            place = self._console_at(said, _find(said, source), source, uuid, seen)
            return [Drop(place)]

        edit(self.path, changes)

    # -- what is there

    def _all(self, said: object) -> Sequence[SourceEntry]:
        return as_sources(said, self.path).entries

    def _checked(self, said: object, changes: Sequence[Change]) -> Sequence[Change]:
        """The same, when the file is a list of sources afterwards, too."""
        after = as_text(said)
        for change in changes:
            after = change.to_data(after if after is not None else [])
        found = as_sources(after, self.path)
        for entry in found.entries:
            if entry.name in RESERVED:
                raise UsageError(f"A source cannot be called {entry.name}", fix="Choose another")
        return changes

    def _unchanged(
        self, said: object, at: int | None, name: str, seen: str
    ) -> Mapping[str, object]:
        """The options as the file has them, when those are what was seen."""
        if at is None:
            local = (e for e in self._all(said) if e.name == name and e.type == LOCAL_TYPE)
            if next(local, None) is None:
                raise NotFound(f"There is no source called {name} any more", fix="broker sources")
            return {}
        assert isinstance(said, list)
        was = {key: value for key, value in said[at].items() if key not in ("source", "type")}
        if seen_of(was) != seen:
            raise _changed_meanwhile(self.path, name)
        return was

    def _listed(self, said: object, at: int | None) -> list[object]:
        found = said[at].get("consoles") if isinstance(said, list) and at is not None else None
        return found if isinstance(found, list) else []

    def _console_at(
        self, said: object, at: int | None, source: str, uuid: str, seen: str
    ) -> tuple[int, str, int]:
        for place, one in reversed(list(enumerate(self._listed(said, at)))):
            if _is(one, uuid):
                if seen_of(one) != seen:
                    raise _changed_meanwhile(self.path, f"{source}: console {uuid}")
                assert at is not None
                return at, "consoles", place
        raise NotFound(f"{source} lists no console {uuid} any more", fix="broker list")


def _find(said: object, name: str) -> int | None:
    for place, one in enumerate(said if isinstance(said, list) else ()):
        if isinstance(one, dict) and one.get("source") == name:
            return place
    return None


def _is(console: object, uuid: str) -> bool:
    return isinstance(console, dict) and str(console.get("uuid", "")).lower() == uuid.lower()


def _difference(
    place: tuple[str | int, ...], was: Mapping[str, object], wanted: Mapping[str, object]
) -> list[Change]:
    """What makes of one entry the other; what is the same is not touched."""
    new: list[Change] = [
        Put((*place, key), value)
        for key, value in wanted.items()
        if key not in was or as_text(was[key]) != as_text(value)
    ]
    gone = [key for key in was if key not in wanted and key not in ("source", "type")]
    return [*new, *(Drop((*place, key)) for key in gone)]


def _changed_meanwhile(path: Path, what: str) -> Refused:
    return Refused(
        f"{path}: {what} was changed by somebody else meanwhile, so it was left alone",
        reason="changed-meanwhile",
        fix="Look at what it says now, and do it again",
    )
