"""A VM's definition while somebody writes it: what it makes, and what is wrong where."""

from __future__ import annotations

import json
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, ConfigError
from broker.human import did_you_mean
from broker.model import EMPTY_DRIVE, MachineSpec
from broker.provisioning import VmDraft
from broker.typed_path import is_directory, is_missing
from broker.vm import schema
from broker.vm.machine_file import MachineFile
from broker.vm.schema import WrongDefinition
from broker.vm.written import absolute, mapping, with_format

_NOBODY: Final = "6f4e2c1a-0000-4000-8000-000000000000"
"""In place of a uuid, where one is not said."""


def present(spec: MachineSpec) -> VmDraft:
    """A definition as it is, to be changed."""
    values = schema.brief(spec)
    return VmDraft(values, (), spec, schema.dump(values))


def draft(text: str, *, start: Path, taken: Collection[str], known: MachineSpec | None) -> VmDraft:
    """What a text makes; waits for the file systems that its images are on, and for `qemu-img`.

    Args:
        start: Where relative paths start.
        taken: Names that are not to be had.
        known: The VM that it is about; its name and uuid stay what they are.
    """
    try:
        written = _plain(mapping(text or "{}", where="This"))
    except ConfigError as problem:
        return VmDraft({}, (("", str(problem)),), None, text)
    return _judged(written, start, taken, known)


def _plain(written: dict[str, object]) -> dict[str, object]:
    """The same; YAML has values that no definition has, and that a form cannot hand on."""
    try:
        json.dumps(written)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigError(
            "A value of this is neither text, a number, a list nor a mapping",
            fix="Put dates into quotation marks",
        ) from exc
    return written


def _judged(
    written: dict[str, object], start: Path, taken: Collection[str], known: MachineSpec | None
) -> VmDraft:
    wrong: dict[str, str] = {}
    values = {**written}
    values.setdefault("uuid", known.uuid if known is not None else _NOBODY)
    if known is not None:
        values.setdefault("name", known.name)
    values |= _disks(values.get("disks"), start, wrong)
    values = absolute({key: value for key, value in values.items() if key != "disks"}, start) | {
        key: value for key, value in values.items() if key == "disks"
    }
    for place, why in _files(values):  # a file that is missing explains what else is odd there
        wrong.setdefault(place, why)
    spec: MachineSpec | None = None
    try:
        spec = schema.validated(values, where="This")
    except WrongDefinition as problems:
        for one in problems.problems:
            fix = f". {one.fix}" if one.fix else ""
            wrong.setdefault(one.place, f"{one.why}{fix}")
    name = values.get("name")
    if known is None and isinstance(name, str) and name in taken:
        wrong["name"] = f"{name} exists already; choose another name"
    elif known is not None and name != known.name:
        wrong["name"] = f"stays {known.name}; to rename it: broker vm rename"
    if known is not None and spec is not None and spec.uuid != known.uuid:
        wrong["uuid"] = f"stays {known.uuid}"
    text = schema.dump(in_order(written)) if written.keys() - {"uuid"} else ""
    return VmDraft(written, tuple(wrong.items()), None if wrong else spec, text)


def _disks(disks: object, start: Path, wrong: dict[str, str]) -> dict[str, object]:
    """The disks with their formats; those that cannot be read keep what was written."""
    if not isinstance(disks, list):
        return {} if disks is None else {"disks": disks}
    found = []
    for number, disk in enumerate(disks):
        try:
            found.append(with_format(start, disk))
        except BrokerError as problem:
            wrong[f"disks.{number}"] = str(problem)
            found.append({"path": "/", "format": "raw"})
    return {"disks": found}


def in_order(written: Mapping[str, object]) -> dict[str, object]:
    """The keys as the pages of the documentation have them, without the uuid."""
    known = [key for key in MachineFile.model_fields if key in written and key != "uuid"]
    return {key: written[key] for key in (*known, *(written.keys() - {*known, "uuid"}))}


def _files(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Images and files that are not there, by place."""
    disks = values.get("disks")
    for number, disk in enumerate(disks if isinstance(disks, list) else ()):
        if isinstance(disk, dict):
            yield from _of_disk(f"disks.{number}", disk)
    for place in ("cdrom", "floppy", "kernel", "initrd"):
        path = values.get(place)
        if isinstance(path, str) and path != EMPTY_DRIVE:
            yield from _look(place, path)
    seed = values.get("cloud_init")
    file = seed.get("user_data_file") if isinstance(seed, dict) else None
    if isinstance(file, str):
        yield from _look("cloud_init.user_data_file", file)


def _of_disk(place: str, disk: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    path, backing = disk.get("path"), disk.get("backing")
    is_made = bool(disk.get("size") or backing)
    if isinstance(path, str) and path and not (is_made and is_missing(Path(path))):
        yield from _look(place, path)
        return
    if isinstance(path, str) and path and not is_directory(Path(path).parent):
        yield place, f"{Path(path).parent} is no directory"
    if isinstance(backing, str):
        yield from _look(place, backing)


def _look(place: str, path: str) -> Iterator[tuple[str, str]]:
    try:
        mode = Path(path).stat().st_mode
    except ValueError:
        yield place, "no path has a NUL in it"
        return
    except OSError as exc:
        near = _near(Path(path)) if isinstance(exc, FileNotFoundError) else ""
        yield place, f"{path}: {exc.strerror}{f'. {near}' if near else ''}"
        return
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        yield place, f"{path} is not a file"


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        return ""
