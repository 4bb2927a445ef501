"""A VM's definition as a person writes it: relative paths, a disk as a mere path, no uuid."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import yaml

from broker.errors import ConfigError
from broker.model import EMPTY_DRIVE, MachineSpec
from broker.typed_path import expanded, is_file
from broker.vm import schema

_FILES = ("cdrom", "floppy", "kernel", "initrd")


def spec_of(
    document: dict[str, object], *, where: str, start: Path, known: MachineSpec | None = None
) -> MachineSpec:
    """The VM that the values of a file describe; see `broker.vm.schema.validated`.

    Args:
        start: Where relative paths start.
    """
    if known is not None:
        document.setdefault("name", known.name)
    document.setdefault("uuid", known.uuid if known is not None else str(uuid.uuid4()))
    return schema.validated(absolute(document, start), where=where)


def absolute(document: Mapping[str, object], start: Path) -> dict[str, object]:
    """The same with all paths spelled out, and the formats of images that are there.

    Raises:
        UsageError: What an image is cannot be said.
    """
    document = {**document}
    _make_absolute(document, _FILES, start)
    disks = document.get("disks")
    if isinstance(disks, list):
        document["disks"] = [with_format(start, each) for each in disks]
    cloud_init = document.get("cloud_init")
    if isinstance(cloud_init, dict):
        seed = {**cloud_init}
        _make_absolute(seed, ("user_data_file",), start)
        document["cloud_init"] = seed
    return document


def with_format(start: Path, disk: object) -> object:
    """One entry of `disks:`, spelled out; raises as `absolute`."""
    if isinstance(disk, str):
        from broker.vm.image_kinds import existing, look_at

        path = existing(str(start / expanded(disk)))
        return {"path": str(path), "format": look_at(path).format}
    if isinstance(disk, dict):
        disk = {**disk}
        _make_absolute(disk, ("path", "backing"), start)
        _name_formats(disk)
    return disk


def _name_formats(disk: dict[str, object]) -> None:
    """What an image that is there is, where the file does not say so; QEMU is never to guess."""
    from broker.vm.image_kinds import look_at

    for key, named in (("path", "format"), ("backing", "backing_format")):
        path = disk.get(key)
        if isinstance(path, str) and named not in disk and is_file(Path(path)):
            disk[named] = look_at(Path(path)).format


def _make_absolute(document: dict[str, object], keys: tuple[str, ...], start: Path) -> None:
    for key in keys:
        value = document.get(key)
        if isinstance(value, str) and value and value != EMPTY_DRIVE:
            document[key] = str(start / expanded(value))


def mapping(text: str, *, where: str) -> dict[str, object]:
    """The keys and values of a YAML text.

    Raises:
        ConfigError: It is not YAML, or no mapping.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # such as the 45th of a month
        words = " ".join(str(exc).split())
        raise ConfigError(f"{where} is not YAML: {words}", fix="Mend that line") from exc
    if not isinstance(document, dict):
        raise ConfigError(
            f"{where} does not describe a machine", fix="It has keys such as name, memory, disks"
        )
    return {str(key): value for key, value in document.items()}
