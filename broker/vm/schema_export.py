"""The JSON schema of a VM's YAML, for editors that complete and check it."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any, Final

from pydantic import BaseModel

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def exported(model: type[BaseModel]) -> dict[str, object]:
    """The schema of `model` and all it holds, with the docstring of each field.

    As a person may write it: `disks` may be paths, and what has a default may be left out.
    """
    schema: dict[str, Any] = model.model_json_schema()
    docs = _field_docs(model)
    for title, part in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
        for name, field in part.get("properties", {}).items():
            if text := docs.get((title, name)):
                field["description"] = text
    _allow_short_forms(schema)
    return {"$schema": _DIALECT, **schema, "title": "A VM of Console Broker"}


def _allow_short_forms(schema: dict[str, Any]) -> None:
    """What is read besides the canonical form that `model_json_schema` knows."""
    keys, parts = schema["properties"], schema["$defs"]
    schema["required"] = ["name"]  # a uuid is made when there is none
    keys["disks"]["items"] = {"anyOf": [{"type": "string"}, keys["disks"]["items"]]}
    keys["forwards"]["items"] = {"type": "string", "pattern": r"^\d+:\d+$"}
    text_or_values = [{"type": "string"}, {"type": "object"}, {"type": "array"}]
    for name in ("user_data", "meta_data", "network_config"):
        field = parts["CloudInitFile"]["properties"][name]
        field.pop("type")
        field["anyOf"] = text_or_values
    size = parts["DiskFile"]["properties"]["size"]
    size["anyOf"] = [{"type": "string", "pattern": r"^\d+\s*[KMGTkmgt]"}, *size["anyOf"]]
    tcp = parts["SpiceFile"]["properties"]["tcp"]
    tcp["anyOf"] = [{"$ref": tcp.pop("$ref")}, {"type": ["integer", "string"]}]


def _field_docs(model: type[BaseModel]) -> dict[tuple[str, str], str]:
    """The text under each field, by class and field; read from the source, when it is asked for."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[model.__module__]))):
        if not isinstance(node, ast.ClassDef):
            continue
        field = ""
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                field = part.target.id
            elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and field:
                found[node.name, field] = str(part.value.value)
    return found
