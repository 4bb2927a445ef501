"""A `MachineSpec` as YAML: the edge where a file written by a person, or by us, is checked.

`parse` and `render` are each other's inverse. Unknown keys are refused, with the nearest known one.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from broker.errors import ConfigError
from broker.human import did_you_mean
from broker.model import (
    Accel,
    Disk,
    DiskBus,
    Display,
    Firmware,
    MachineId,
    MachineSpec,
    Network,
    Restart,
)

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FORMAT: Final = r"^[a-z0-9-]+$"
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _wrong(text: str) -> PydanticCustomError:
    # Braces would be taken for placeholders.
    return PydanticCustomError("machine", "{text}", {"text": text})


def _name(value: str) -> str:
    if NAME.fullmatch(value):
        return value
    raise _wrong(
        "a name has 1 to 63 letters, digits, dots, underscores and dashes,"
        " and begins with a letter or digit"
    )


def _uuid(value: str) -> str:
    try:
        return str(uuids.UUID(value))
    except ValueError:
        raise _wrong("a uuid looks like 6f4e2c1a-0000-4000-8000-000000000001") from None


def _absolute(value: str) -> str:
    if PurePosixPath(value).is_absolute() and "\0" not in value:
        return value
    raise _wrong("a path here begins with /")


def _fitting(disks: tuple[DiskFile, ...]) -> tuple[DiskFile, ...]:
    for bus, most in ((DiskBus.FLOPPY, 2), (DiskBus.SATA, 5)):  # the sixth port is for the CD
        if sum(disk.bus is bus for disk in disks) > most:
            raise _wrong(f"a machine has room for {most} {bus} disks")
    return disks


def _forward(value: object) -> object:
    """`2222:22` as people write it, or the pair that it means."""
    if not isinstance(value, str):
        return value
    ours, colon, its = value.partition(":")
    if colon and ours.isdecimal() and its.isdecimal():
        return (int(ours), int(its))
    raise _wrong("a forward is PORT:GUESTPORT, such as 2222:22")


_Port = Annotated[int, Field(ge=1, le=65535)]
_Path = Annotated[str, AfterValidator(_absolute)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DiskFile(_Strict):
    """One entry of `disks:`."""

    path: _Path
    """Absolute path of an existing image."""
    format: Annotated[str, Field(pattern=_FORMAT)] = "qcow2"
    """`qcow2`, `raw`, `vmdk`, …: never guessed."""
    bus: DiskBus = DiskBus.VIRTIO
    """`virtio`, `sata` or `floppy`."""
    snapshot: bool = False
    """Throw away what was written when the VM ends."""
    readonly: bool = False
    """Let the guest read only."""


class MachineFile(_Strict):
    """A VM's `machine.yaml`."""

    name: Annotated[str, AfterValidator(_name)]
    """What people call it."""
    uuid: Annotated[str, AfterValidator(_uuid)]
    """Its identity; lower case."""
    memory: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)] = 1024
    """MiB."""
    cpus: Annotated[int, Field(ge=1, le=1024)] = 1
    """Virtual CPUs."""
    accel: Accel = Accel.AUTO
    """`auto`, `kvm` or `tcg`."""
    firmware: Firmware = Firmware.BIOS
    """`bios` or `uefi`."""
    disks: Annotated[tuple[DiskFile, ...], AfterValidator(_fitting)] = ()
    """In boot order."""
    cdrom: _Path | None = None
    """Absolute path of an ISO image; tried after the disks."""
    display: Display = Display.STD
    """`std`, `qxl`, `virtio` or `none`."""
    network: Network = Network.USER
    """`user` or `none`."""
    forwards: tuple[Annotated[tuple[_Port, _Port], BeforeValidator(_forward)], ...] = ()
    """`PORT:GUESTPORT`, bound to 127.0.0.1."""
    serial: bool = True
    """COM1 with a socket and a log."""
    agent: bool = True
    """The SPICE agent's port: clipboard and resizing."""
    usb_redirections: Annotated[int, Field(ge=0, le=8)] = 2
    """Slots for the viewer's USB devices."""
    sound: bool = False
    """A sound card."""
    extra_args: tuple[str, ...] = ()
    """Further QEMU arguments, appended as they are."""
    restart: Restart = Restart.NEVER
    """`never`, `on-crash` or `always`: started again when it ended by itself."""
    autostart: bool = False
    """Started once after each boot of this host."""


def parse(text: str, *, where: str) -> MachineSpec:
    """The machine that a YAML text describes.

    Args:
        where: What to call the text in errors; a file's path.

    Raises:
        ConfigError: It is not YAML, a key is unknown, missing or has a wrong value. All that is
            wrong is told at once.
    """
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, in C if there is
    except yaml.YAMLError as exc:
        raise ConfigError(f"{where} is not YAML: {_one_line(exc)}", fix="Mend that line") from exc
    if not isinstance(document, dict):
        raise ConfigError(
            f"{where} does not describe a machine", fix="It has keys such as name, uuid, memory"
        )
    return validated(document, where=where)


def validated(document: Mapping[str, object], *, where: str) -> MachineSpec:
    """The machine that plain values describe; see `parse`."""
    try:
        file = MachineFile.model_validate(document)
    except ValidationError as exc:
        raise _explained(exc, where) from exc
    values: dict[str, Any] = {key: getattr(file, key) for key in MachineFile.model_fields}
    values["uuid"] = MachineId(file.uuid)
    values["disks"] = tuple(Disk(**dict(disk)) for disk in file.disks)
    return MachineSpec(**values)


def render(spec: MachineSpec) -> str:
    """The YAML text of a machine, every key written out."""
    return yaml.safe_dump(plain(spec), sort_keys=False, allow_unicode=True, width=1000)


def plain(spec: MachineSpec) -> dict[str, object]:
    """A machine as plain values, as YAML and JSON have them."""
    file = MachineFile.model_validate(spec, from_attributes=True)
    values = file.model_dump(mode="json")
    values["forwards"] = [f"{ours}:{its}" for ours, its in spec.forwards]
    return values


def check(spec: MachineSpec) -> MachineSpec:
    """A machine that was made in code, seen to be sound (its paths are not looked at).

    Raises:
        ConfigError: A value is out of range or of the wrong form.
    """
    try:
        MachineFile.model_validate(spec, from_attributes=True)
    except ValidationError as exc:
        raise _explained(exc, f"The machine {spec.name}") from exc
    return spec


def _explained(problem: ValidationError, where: str) -> ConfigError:
    told = [_tell(error) for error in problem.errors(include_url=False, include_context=True)]
    whats, fixes = zip(*told, strict=True)
    fix = " ".join(dict.fromkeys(fix for fix in fixes if fix))
    return ConfigError(f"{where}: {'; '.join(whats)}", fix=fix or "Mend it, and ask again")


def _tell(error: ErrorDetails) -> tuple[str, str]:
    """One thing that is wrong: the fact, and a fix if one is known."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = DiskFile.model_fields if error["loc"][0] == "disks" else MachineFile.model_fields
        near = did_you_mean(str(error["loc"][-1]), known)
        return f"{place} is not a setting", near or f"Settings are: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{place} is missing", ""
    if error["loc"] == ("disks",) and error["type"] == "machine":
        return f"disks: {error['msg']}", ""
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{place} is {error['input']!r}: {message}", ""


def _one_line(problem: yaml.YAMLError) -> str:
    return " ".join(str(problem).split())
