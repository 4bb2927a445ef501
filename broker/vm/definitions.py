"""The VMs this broker was told of: one `machine.yaml` per VM, in a directory named for it.

A file appears whole or not at all, and is never overwritten by a second definition of that name. A
file that cannot be read makes that one VM show up broken; the others are not concerned.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid as uuids
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker import private_file
from broker.errors import BrokerError, ConfigError, NotFound, UsageError
from broker.model import MachineId, MachineSpec
from broker.vm.paths import cannot_use, make_private

FILE_NAME: Final = "machine.yaml"
RENAMED_FILE: Final = f".{FILE_NAME}.renamed"
"""The definition with the new name, while a VM is renamed."""
MAX_FILE_BYTES: Final = 1024 * 1024
_UUID_LINE: Final = re.compile(r"^uuid:\s*['\"]?([0-9a-fA-F-]{36})['\"]?\s*$", re.MULTILINE)
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Definition:
    """A VM's directory, and what its file says.

    Attributes:
        name: Of the directory, and so of the VM.
        uuid: From the file; made from the path when the file has none that can be read.
        spec: None when the file is broken.
        problem: What is wrong with it; None when nothing is.
    """

    name: str
    uuid: MachineId
    spec: MachineSpec | None
    problem: BrokerError | None = None


class Definitions:
    """All definitions under one data directory. Files are read again when they change."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "vms"
        self._known: dict[str, tuple[_Stamp, Definition]] = {}

    def all(self) -> list[Definition]:
        """Every VM, sound or broken, by name.

        Raises:
            StoreError: The directory itself cannot be read.
        """
        try:
            names = sorted(entry.name for entry in os.scandir(self._root) if entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise cannot_use(self._root, exc) from exc
        found = [item for name in names if (item := self._read(name)) is not None]
        self._known = {name: self._known[name] for name in names if name in self._known}
        return _without_doubles(found)

    def find(self, uuid: MachineId) -> Definition:
        """The VM with that uuid, sound or broken.

        Raises:
            NotFound: There is none.
        """
        for definition in self.all():
            if definition.uuid == uuid:
                return definition
        raise NotFound(f"No VM here has the uuid {uuid}", fix="See which there are: broker vm list")

    def spec(self, uuid: MachineId) -> MachineSpec:
        """What that VM was defined as.

        Raises:
            NotFound: There is none.
            ConfigError: Its file is broken.
        """
        definition = self.find(uuid)
        if definition.spec is None:
            raise definition.problem or ConfigError(f"{definition.name}: its definition is broken")
        return definition.spec

    def add(self, spec: MachineSpec) -> None:
        """Store a VM.

        Raises:
            UsageError: Its name or uuid is taken.
            ConfigError: A value in it is out of range.
            StoreError: The file cannot be written.
        """
        from broker.vm import schema  # pydantic: only when something is read or written

        schema.check(spec)
        for definition in self.all():
            if definition.name == spec.name:
                raise taken(spec.name)
            if definition.uuid == spec.uuid:
                raise UsageError(
                    f"The uuid {spec.uuid} is that of {definition.name}",
                    fix="Leave the uuid out, and a new one is made",
                )
        directory = self._root / spec.name
        make_private(self._root)
        make_private(directory)
        write_private(directory / FILE_NAME, schema.render(spec), replace=False)

    def replace(self, spec: MachineSpec) -> None:
        """Put a definition in the place of the one with its uuid, broken or not.

        Raises:
            NotFound: There is none.
            UsageError: That VM is called something else.
            ConfigError: A value in it is out of range.
            StoreError: The file cannot be written.
        """
        from broker.vm import schema  # pydantic: only when something is read or written

        schema.check(spec)
        name = self.find(spec.uuid).name
        if name != spec.name:
            raise UsageError(
                f"{name} is not given another name by its definition",
                fix=f"Say: broker vm rename {name} {spec.name}",
            )
        write_private(self._root / name / FILE_NAME, schema.render(spec))

    def move(self, name: str, new: str) -> None:
        """Rename a VM's directory; its `RENAMED_FILE` takes the place of its definition.

        Raises:
            UsageError: The new name is taken.
            StoreError: The directory cannot be renamed.
        """
        target = self._root / new
        if (target / FILE_NAME).exists():
            raise taken(new)
        try:
            (self._root / name).rename(target)
            (target / RENAMED_FILE).replace(target / FILE_NAME)
        except OSError as exc:
            if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise UsageError(
                    f"{target} is there already, with files of another VM",
                    fix="Choose another name, or move that directory away",
                ) from exc
            raise cannot_use(target, exc) from exc

    def remove(self, definition: Definition, *, keep_disks: bool) -> None:
        """Forget a VM.

        Args:
            keep_disks: Keep what else is in its directory (disks, UEFI variables).

        Raises:
            StoreError: A file cannot be removed.
        """
        directory = self._root / definition.name
        try:
            (directory / FILE_NAME).unlink(missing_ok=True)
            for scratch in directory.glob(f".{FILE_NAME}.*"):  # of a broker that was killed
                scratch.unlink(missing_ok=True)
            if not keep_disks:
                shutil.rmtree(directory, ignore_errors=False)
            else:
                with contextlib.suppress(OSError):
                    directory.rmdir()  # only if nothing else is in it
        except OSError as exc:
            raise cannot_use(Path(exc.filename or directory), exc) from exc

    def _read(self, name: str) -> Definition | None:
        """The VM of that directory; None when there is no definition in it."""
        path = self._root / name / FILE_NAME
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(name)
            if known is not None and known[0] == stamp:
                return known[1]
            if status.st_size > MAX_FILE_BYTES:
                return _broken(path, "", ConfigError(f"{path} is no machine: it is far too large"))
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            return _broken(path, "", cannot_use(path, exc))
        definition = _parsed(path, content)
        if definition.spec is None:
            definition = _finish_renaming(path) or definition
        self._known[name] = (stamp, definition)
        return definition


def _parsed(path: Path, content: bytes) -> Definition:
    from broker.vm import schema  # pydantic: only when something is read or written

    text = content.decode("utf-8", "replace")
    try:
        spec = schema.parse(text, where=str(path))
        if spec.name != path.parent.name:
            raise ConfigError(
                f"{path}: name is {spec.name!r}, its directory is called {path.parent.name!r}",
                fix="Make them the same",
            )
    except ConfigError as exc:
        return _broken(path, text, exc)
    return Definition(spec.name, spec.uuid, spec)


def _finish_renaming(path: Path) -> Definition | None:
    """What a broker left undone that was killed between the two steps of renaming, if one was."""
    waiting = path.with_name(RENAMED_FILE)
    try:
        definition = _parsed(path, waiting.read_bytes())
        if definition.spec is None:
            return None
        waiting.replace(path)
    except OSError:
        return None
    return definition


def _broken(path: Path, text: str, problem: BrokerError) -> Definition:
    """A VM whose file is broken keeps its uuid if that line, at least, can be read."""
    line = _UUID_LINE.search(text)
    uuid = line.group(1).lower() if line else str(uuids.uuid5(uuids.NAMESPACE_URL, path.as_uri()))
    return Definition(path.parent.name, MachineId(uuid), None, problem)


def _without_doubles(found: list[Definition]) -> list[Definition]:
    """A uuid belongs to the first that has it; a copied directory shows up broken."""
    first: dict[MachineId, Definition] = {}
    result: list[Definition] = []
    for definition in found:
        owner = first.setdefault(definition.uuid, definition)
        if owner is definition:
            result.append(definition)
            continue
        made_up = uuids.uuid5(uuids.NAMESPACE_URL, f"{definition.uuid}/{definition.name}")
        problem = ConfigError(
            f"{definition.name}: its uuid {definition.uuid} is that of {owner.name}",
            fix="Give it one of its own, in its machine.yaml",
        )
        result.append(Definition(definition.name, MachineId(str(made_up)), None, problem))
    return result


def taken(name: str) -> UsageError:
    """The error that a VM is called so already."""
    return UsageError(
        f"There is a VM called {name} already",
        fix=f"Choose another name, or change that one: broker vm edit {name}",
    )


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file of ours, mode 0600, whole or not at all, and on the disk when this returns.

    Args:
        replace: False refuses where there is one.

    Raises:
        UsageError: There is one, and it is not to be replaced.
        StoreError: It cannot be written.
    """
    try:
        private_file.write(path, text, replace=replace, durable=True)
    except FileExistsError as exc:
        raise taken(path.parent.name) from exc
    except OSError as exc:
        raise cannot_use(path, exc) from exc
