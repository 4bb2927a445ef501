"""A `MachineSpec` as YAML: the edge where a file written by a person, or by us, is checked.

`parse` and `render` are each other's inverse. Unknown keys are refused, with the nearest known one.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from broker.errors import ConfigError
from broker.human import did_you_mean
from broker.model import CloudInit, Disk, MachineId, MachineSpec, SpicePort
from broker.vm.insecure import insecure
from broker.vm.machine_file import DiskFile, MachineFile
from broker.vm.machine_values import NAME, size_text

__all__ = [
    "NAME",
    "Problem",
    "WrongDefinition",
    "brief",
    "check",
    "dump",
    "json_schema",
    "parse",
    "plain",
    "render",
    "validated",
]


_DISK: Final = DiskFile.model_construct().model_dump(mode="json") | {"format": None}
"""What a disk is when nothing is said; its format always is."""


class Problem(NamedTuple):
    """One thing that is wrong with a definition.

    Attributes:
        place: Where, such as `disks.0.size`; empty when it is of the whole.
        what: The fact, with the place.
        why: The fact without it.
        fix: What to do, if that is known.
    """

    place: str
    what: str
    why: str
    fix: str = ""


class WrongDefinition(ConfigError):
    """A definition that no machine can be made of.

    Attributes:
        problems: All that is wrong with it.
    """

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        fix = " ".join(dict.fromkeys(one.fix for one in problems if one.fix))
        told = "; ".join(one.what for one in problems)
        super().__init__(f"{where}: {told}", fix=fix or "Mend it, and ask again")
        self.problems = tuple(problems)


_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    _see_that_it_is_secure(file, where)
    values: dict[str, Any] = {key: getattr(file, key) for key in MachineFile.model_fields}
    values["uuid"] = MachineId(file.uuid)
    values["disks"] = tuple(Disk(**dict(disk)) for disk in file.disks)
    values["env"] = tuple(file.env.items())
    if file.spice is not None:
        values["spice"] = SpicePort(**dict(file.spice.tcp))
    if file.cloud_init is not None:
        values["cloud_init"] = CloudInit(**dict(file.cloud_init))
    return MachineSpec(**values)


def render(spec: MachineSpec) -> str:
    """The YAML text of a machine, every key written out."""
    return dump(plain(spec))


def brief(spec: MachineSpec) -> dict[str, object]:
    """The same as `plain`, but for what is so anyway, and the uuid."""
    values, usual = plain(spec), plain(MachineSpec(spec.name, spec.uuid))
    told = {key: value for key, value in values.items() if key == "name" or value != usual[key]}
    disks = [
        {key: value for key, value in plain_disk.items() if value != _DISK.get(key)}
        for plain_disk in values["disks"]  # type: ignore[attr-defined] # a list of mappings
    ]
    return told | ({"disks": disks} if disks else {})


def dump(values: Mapping[str, object]) -> str:
    """Plain values as YAML."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def plain(spec: MachineSpec) -> dict[str, object]:
    """A machine as plain values, as YAML and JSON have them."""
    file = MachineFile.model_validate(spec, from_attributes=True)
    values: dict[str, Any] = file.model_dump(mode="json")
    values["forwards"] = [f"{ours}:{its}" for ours, its in spec.forwards]
    for disk in values["disks"]:
        if disk["size"] is not None:
            disk["size"] = size_text(disk["size"])
    return values


def check(spec: MachineSpec) -> MachineSpec:
    """A machine that was made in code, seen to be sound (its paths are not looked at).

    Raises:
        ConfigError: A value is out of range or of the wrong form, or extra arguments would open
            a console to everybody.
    """
    where = f"The machine {spec.name}"
    try:
        file = MachineFile.model_validate(spec, from_attributes=True)
    except ValidationError as exc:
        raise _explained(exc, where) from exc
    _see_that_it_is_secure(file, where)
    return spec


def json_schema() -> dict[str, object]:
    """The JSON schema of a machine's YAML, for editors; what each key means stands in it."""
    from broker.vm.schema_export import exported

    return exported(MachineFile)


def _see_that_it_is_secure(file: MachineFile, where: str) -> None:
    if not file.allow_insecure and (found := insecure(file.extra_args)):
        why = "; ".join(found)
        fix = "Leave that out, or say that it is meant: allow_insecure: true"
        raise WrongDefinition(where, [Problem("extra_args", f"extra_args: {why}", why, fix)])


class _Dumper(yaml.SafeDumper):
    """Text of several lines is written as such."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _explained(problem: ValidationError, where: str) -> WrongDefinition:
    errors = problem.errors(include_url=False, include_context=True)
    return WrongDefinition(where, [_tell(error) for error in errors])


def _tell(error: ErrorDetails) -> Problem:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        near = did_you_mean(str(error["loc"][-1]), known)
        why = "is not a setting"
        return Problem(place, f"{place} {why}", why, near or f"Settings are: {', '.join(known)}")
    if error["type"] == "missing":
        return Problem(place, f"{place} is missing", "is missing")
    if error["type"] == "machine" and isinstance(error["input"], (dict, BaseModel, MachineSpec)):
        # Several keys do not fit together: to quote them all would help nobody.
        return Problem(place, f"{place}: {error['msg']}" if place else error["msg"], error["msg"])
    message = error["msg"][:1].lower() + error["msg"][1:]
    return Problem(place, f"{place} is {error['input']!r}: {message}", message)


def _keys_at(place: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place of the file."""
    model: type[BaseModel] = MachineFile
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The mapping that a field holds, alone, in a tuple or as one of several."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    inner = (_model_in(part) for part in typing.get_args(annotation))
    return next((model for model in inner if model is not None), None)


def _one_line(problem: yaml.YAMLError) -> str:
    return " ".join(str(problem).split())
