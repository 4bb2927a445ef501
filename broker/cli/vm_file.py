"""Reads the file of `vm define -f`; what its words mean is decided by `broker.vm.schema`."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import yaml

from broker.errors import ConfigError
from broker.model import EMPTY_DRIVE, MachineSpec
from broker.vm import schema

_FILES = ("cdrom", "floppy", "kernel", "initrd")
FILE_MAX = 1_000_000
"""Characters; a definition is a page, and what is larger is something else."""


def read_spec(
    file: str, *, name: str | None = None, known: MachineSpec | None = None
) -> MachineSpec:
    """The VM that a file defines; paths in it start at the file, a uuid is made when it has none.

    Args:
        file: A path, or `-` for stdin.
        name: Takes the place of the file's `name`.
        known: The VM that it is about; gives name and uuid where the file has none.

    Raises:
        ConfigError: It cannot be read, is not YAML, or a word in it is unknown or wrong.
    """
    document = _load(file)
    if name is not None:
        document["name"] = name
    start = Path.cwd() if file == "-" else Path(file).absolute().parent
    return spec_of(document, where=file, start=start, known=known)


def spec_of(
    document: dict[str, object], *, where: str, start: Path, known: MachineSpec | None = None
) -> MachineSpec:
    """The VM that the values of a file describe; see `read_spec`.

    Args:
        start: Where relative paths start.
    """
    if known is not None:
        document.setdefault("name", known.name)
    document.setdefault("uuid", known.uuid if known is not None else str(uuid.uuid4()))
    _make_absolute(document, _FILES, start)
    disks = document.get("disks")
    if isinstance(disks, list):
        document["disks"] = [_disk(start, each) for each in disks]
    cloud_init = document.get("cloud_init")
    if isinstance(cloud_init, dict):
        seed = {**cloud_init}
        _make_absolute(seed, ("user_data_file",), start)
        document["cloud_init"] = seed
    return schema.validated(document, where=where)


def _disk(start: Path, disk: object) -> object:
    if isinstance(disk, str):
        from broker.cli.images import existing, look_at

        path = existing(str(start / disk))
        return {"path": str(path), "format": look_at(path).format}
    if isinstance(disk, dict):
        disk = {**disk}
        _make_absolute(disk, ("path", "backing"), start)
        _name_formats(disk)
    return disk


def _name_formats(disk: dict[str, object]) -> None:
    """What an image that is there is, where the file does not say so; QEMU is never to guess."""
    from broker.cli.images import look_at

    for key, named in (("path", "format"), ("backing", "backing_format")):
        path = disk.get(key)
        if isinstance(path, str) and named not in disk and Path(path).is_file():
            disk[named] = look_at(Path(path)).format


def _make_absolute(document: dict[str, object], keys: tuple[str, ...], start: Path) -> None:
    for key in keys:
        value = document.get(key)
        if isinstance(value, str) and value and value != EMPTY_DRIVE:
            document[key] = str(start / value)


def _load(file: str) -> dict[str, object]:
    if file == "-" and sys.stdin is None:
        raise ConfigError("stdin is closed", fix="Name a file with -f FILE")
    try:
        with sys.stdin if file == "-" else Path(file).open(encoding="utf-8") as stream:
            return mapping(stream.read(FILE_MAX), where=file)
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read ({exc.strerror})", fix="Check the path") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is not text in UTF-8", fix="Name a YAML file") from exc


def mapping(text: str, *, where: str) -> dict[str, object]:
    """The keys and values of a YAML text.

    Raises:
        ConfigError: It is not YAML, or no mapping.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        words = " ".join(str(exc).split())
        raise ConfigError(f"{where} is not YAML: {words}", fix="Mend that line") from exc
    if not isinstance(document, dict):
        raise ConfigError(
            f"{where} does not describe a machine", fix="It has keys such as name, memory, disks"
        )
    return {str(key): value for key, value in document.items()}
