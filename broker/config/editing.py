"""Changing our YAML files for a person: only what was asked for, or not at all.

The new text is read and compared with what it should say before it takes the old one's place, so
that an anchor, an odd layout or a mistake of ours can never change something else. A file that
somebody saves at the same moment is read again; it is never overwritten unseen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker import private_file
from broker.config import yaml_edit
from broker.config.yaml_text import parse_yaml
from broker.errors import ConfigError

TRIES = 5
"""How often a file that is being saved by others is read anew."""
BOM = "\ufeff"

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """Have a key say that."""

    path: Place
    value: object

    def to_text(self, text: str) -> str:
        """See `yaml_edit.put`."""
        return yaml_edit.put(text, self.path, self.value)

    def to_data(self, data: object) -> object:
        """The same to what the text says."""
        return _changed(data, self.path, self.value)


@dataclass(frozen=True, slots=True)
class Append:
    """Have one more item."""

    path: Place
    value: object

    def to_text(self, text: str) -> str:
        """See `yaml_edit.append`."""
        return yaml_edit.append(text, self.path, self.value)

    def to_data(self, data: object) -> object:
        """The same to what the text says."""
        found = _found(data, self.path)
        items = found if isinstance(found, list) else []
        whole = [*items, as_text(self.value)]
        return _changed(data, self.path, whole) if self.path else whole


@dataclass(frozen=True, slots=True)
class Drop:
    """Have a key or an item no more."""

    path: Place

    def to_text(self, text: str) -> str:
        """See `yaml_edit.drop`."""
        return yaml_edit.drop(text, self.path)

    def to_data(self, data: object) -> object:
        """The same to what the text says."""
        del _found(data, self.path[:-1])[self.path[-1]]
        return data


Change = Put | Append | Drop


def edit(path: Path, changes: Callable[[object], Sequence[Change]]) -> None:
    """Change a YAML file, or make it. Mode 0600, all at once; blocks.

    Args:
        changes: Told what the file says (scalars as text; None when it says nothing), again each
            time that it turns out to have changed; what to do about it, in order. May raise.

    Raises:
        ConfigError: It is no YAML, cannot be written, or cannot be changed so without changing
            more; then nothing was.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone_in(target.parent):
            for _ in range(TRIES):
                if _try(path, target, changes):
                    return
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be written ({exc.strerror})",
            fix=f"See that you may write to {target.parent}, and that there is room",
        ) from exc
    raise ConfigError(f"{path}: somebody else keeps saving it", fix="Try again")


def as_text(value: object) -> object:
    """A value as reading the file gives it: scalars are text, nothing is shared."""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case Mapping():
            return {key: as_text(inner) for key, inner in value.items()}
        case list() | tuple():
            return [as_text(inner) for inner in value]
        case _:
            return str(value)


def _try(path: Path, target: Path, changes: Callable[[object], Sequence[Change]]) -> bool:
    before = _read(target)
    try:
        text = before.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text", fix="Save it as UTF-8") from exc
    bom, text = (BOM, text[1:]) if text.startswith(BOM) else ("", text)
    said = parse_yaml(text, path, as_text=True)
    expected, new = as_text(said), text
    wanted = changes(as_text(said))
    try:
        for change in wanted:
            new, expected = change.to_text(new), change.to_data(expected)
        found = parse_yaml(new, path, as_text=True)
        is_right = found == expected or not (found or expected)
    except (LookupError, TypeError, ConfigError):
        is_right = False
    if not is_right:
        raise ConfigError(
            f"{path}: that cannot be changed from here without changing more than that",
            fix="It is written with anchors or in an unusual way; edit the file by hand",
        )
    return new == text or _replace(target, before, (bom + new).encode("utf-8"))


def _found(data: Any, path: Place) -> Any:
    """What is at the end of a way; LookupError or TypeError where there is none."""
    for step in path:
        data = data[step]
    return data


def _changed(data: object, path: Place, value: object) -> object:
    first, *rest = path
    if isinstance(data, list) and isinstance(first, int):
        data[first] = _changed(data[first], tuple(rest), value)
        return data
    if data is None or data == "":
        data = {}
    if not isinstance(data, dict):
        raise LookupError(first)
    data[first] = _changed(data.get(first), tuple(rest), value) if rest else as_text(value)
    return data


def _read(target: Path) -> bytes:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return b""


def _replace(target: Path, before: bytes, after: bytes) -> bool:
    """Put the new content in the old one's place; False when that is no longer what it was."""
    with private_file.beside(target, after, durable=True) as scratch:
        if _read(target) != before:
            return False
        scratch.replace(target)
    return True


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Held by one broker at a time; people's editors know nothing of it."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
