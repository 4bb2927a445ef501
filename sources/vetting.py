"""What is wrong with the options of an entry while somebody types them, option by option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from broker import human
from sources.options import WAYS, option_names, secrets_of


def problems_of(model: type[BaseModel], options: Mapping[str, object]) -> dict[str, str]:
    """What each wrong option should be, by its key; `""` is the entry as a whole. No value is told.

    Args:
        options: As `parse_options` takes them.
    """
    try:
        model.model_validate(dict(options))
    except ValidationError as exc:
        found: dict[str, str] = {}
        for error in exc.errors(include_url=False, include_input=False):
            key, text = _told(model, error, options)
            found.setdefault(key, text)
        return found
    return {}


def _told(model: type[BaseModel], error: Any, options: Mapping[str, object]) -> tuple[str, str]:
    key = str(error["loc"][0]) if error["loc"] else ""
    given = next((key + way for way in WAYS if key + way in options), key)
    match error["type"]:
        case "extra_forbidden":
            near = human.did_you_mean(key, option_names(model))
            return key, f"is not a setting here. {near}".rstrip()
        case "missing" | "string_too_short":
            return (given if key in secrets_of(model) else key), "is needed"
        case "value_error":
            return given, str(error["ctx"]["error"])
        case "int_parsing" | "int_type" | "int_from_float":
            return given, "is not a whole number"
        case "float_parsing" | "float_type" | "finite_number":
            return given, "is not a number"
        case _:
            return given, str(error["msg"]).replace("Input should", "should").replace("input", "it")
