"""Reads the file of `vm define -f`; what its words mean is decided by `broker.vm.written`."""

from __future__ import annotations

import sys
from pathlib import Path

from broker.errors import ConfigError
from broker.model import MachineSpec
from broker.vm.written import mapping, spec_of

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
