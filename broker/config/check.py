"""Checking what a person set, with pydantic on the dataclasses of `settings.py`.

Imported only when there is something to check that was not checked before.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import pydantic
from pydantic_core import ErrorDetails

from broker import human
from broker.config.settings import Bounds, Settings
from broker.config.yaml_text import read_yaml
from broker.errors import ConfigError

_SECRET = ("store.url",)
"""Settings whose value is never shown."""

_WANTED = {
    "int_type": "a whole number is wanted",
    "int_parsing": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "float_parsing": "a number is wanted",
    "finite_number": "a number is wanted",
    "string_type": "text is wanted; put it in quotes",
    "tuple_type": "a list is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
}
"""What to say for pydantic's kinds of error."""


def check_file(path: Path) -> dict[str, Any]:
    """The settings that broker.yaml gives, by `group.key`, checked.

    Raises:
        ConfigError: It is not YAML, or a setting is unknown or not allowed.
    """
    found = read_yaml(path)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path}: must hold groups of settings", fix="Begin with a group, such as `proxy:`"
        )
    given = {group: keys for group, keys in found.items() if keys is not None}
    for group in given:
        if group not in {one.name for one in dataclasses.fields(Settings)}:
            raise _unknown(str(path), str(group), _groups())
    try:
        text = json.dumps(given, default=str)
        checked = pydantic.TypeAdapter(Settings).validate_json(text, strict=True)
    except pydantic.ValidationError as exc:
        raise _problem(str(path), exc.errors(include_url=False)) from None
    except (TypeError, ValueError):
        raise ConfigError(
            f"{path}: holds a key that is no text", fix="Write keys as plain words"
        ) from None
    return {
        f"{group}.{key}": getattr(getattr(checked, group), key)
        for group, keys in given.items()
        for key in keys
    }


def check_variable(variable: str, name: str, text: str) -> object:
    """The value of a setting given as text by an environment variable, checked.

    Lists are words, quoted as in a shell, or a JSON list; empty text is none, where none is
    allowed.

    Raises:
        ConfigError: It is not allowed.
    """
    annotation = _annotation(name)
    value: object = text
    try:
        if "tuple" in str(annotation):
            value = json.loads(text) if text.startswith("[") else shlex.split(text)
        if not text and type(None) in get_args(annotation):
            value = None
        return cast("object", pydantic.TypeAdapter(annotation).validate_python(value))
    except pydantic.ValidationError as exc:
        details = [
            error
            | ErrorDetails(
                type=error["type"], msg=error["msg"], loc=tuple(name.split(".")), input=text
            )
            for error in exc.errors(include_url=False)
        ]
        raise _problem(variable, details, variable) from None
    except ValueError:
        raise ConfigError(
            f"{variable}: is no list", fix="Write words, quoted as in a shell"
        ) from None


def _problem(where: str, errors: list[ErrorDetails], called: str = "") -> ConfigError:
    """The first mistake in words, and how many more there are."""
    error = errors[0]
    name = ".".join(str(part) for part in error["loc"][:2])
    fix = f"There are {len(errors) - 1} more mistakes in it" if len(errors) > 1 else ""
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        group, _, key = name.partition(".")
        return _unknown(where, name, _keys(group), key)
    if error["type"].startswith("dataclass"):
        return ConfigError(
            f"{where}: {name} is not a group of settings",
            fix=f"Write its settings below it, indented: {name}: {{{_keys(name)[0]}: …}}",
        )
    if called:
        shown = "" if name in _SECRET else f" is {human.one_line(str(error['input']))}"
        return ConfigError(f"{called}{shown or ' cannot be used'}; {_wanted(name, error)}", fix=fix)
    shown = "" if name in _SECRET else f" is {_show(error['input'])}"
    return ConfigError(
        f"{where}: {name}{shown or ' cannot be used'}; {_wanted(name, error)}", fix=fix
    )


def _wanted(name: str, error: ErrorDetails) -> str:
    if error["type"] in ("greater_than_equal", "less_than_equal"):
        annotation = _annotation(name)
        for extra in get_args(annotation) if get_origin(annotation) is Annotated else ():
            if isinstance(extra, Bounds):
                return extra.words
    if error["type"] == "literal_error":
        return f"{error['ctx']['expected']} are allowed"
    wanted = _WANTED.get(error["type"], error["msg"])
    quoted = isinstance(error["input"], str) and error["type"] in ("int_type", "float_type")
    return f"{wanted}, without quotes" if quoted else wanted


def _unknown(where: str, name: str, known: list[str], key: str = "") -> ConfigError:
    near = human.did_you_mean(key or name, known)
    return ConfigError(
        f"{where}: {human.one_line(name)} is not a setting",
        fix=near or f"There are: {', '.join(known)}",
    )


def _show(value: object) -> str:
    text = human.one_line(json.dumps(value, default=str, ensure_ascii=False))
    return f"{text[:40]}…" if len(text) > 40 else text


def _groups() -> list[str]:
    return [one.name for one in dataclasses.fields(Settings)]


def _keys(group: str) -> list[str]:
    return [one.name for one in dataclasses.fields(getattr(Settings(), group))]


def _annotation(name: str) -> Any:
    group, _, key = name.partition(".")
    return get_type_hints(type(getattr(Settings(), group)), include_extras=True)[key]
