"""Writes the settings' part of docs/configuration.md from broker/config/settings.py.

`make docs` runs it; tests/test_docs.py fails when the page is not what this would write. What a
setting is for stands once, in the docstring under its field.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.config.settings import Bounds, Settings

PAGE = Path(__file__).parent / "configuration.md"
BEGIN = "<!-- settings: written by `make docs` -->\n"
END = "<!-- end of settings -->\n"


def render() -> str:
    """The part between the two marks."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    defaults = Settings()
    yield ""
    for group in dataclasses.fields(defaults):
        settings = getattr(defaults, group.name)
        yield f"### {group.name}"
        yield ""
        yield f"{inspect.getdoc(type(settings))}"
        yield ""
        words = _docstrings(type(settings))
        hints = typing.get_type_hints(type(settings), include_extras=True)
        for setting in dataclasses.fields(settings):
            name = f"{group.name}.{setting.name}"
            yield f"#### {name}"
            yield ""
            yield words[setting.name]
            yield ""
            variable = f"BROKER_{group.name}_{setting.name}".upper()
            default = _value(getattr(settings, setting.name))
            yield f"Default {default}; {_kind(hints[setting.name])}; `{variable}`."
            yield ""


def _docstrings(owner: type[Any]) -> dict[str, str]:
    """The string under each field of a class, on one line."""
    tree = ast.parse(inspect.getsource(owner)).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[name] = " ".join(text.split())
    return found


def _value(value: object) -> str:
    match value:
        case None:
            return "none"
        case ():
            return "empty"
        case float() if value.is_integer():
            return f"`{int(value)}`"
        case _:
            return f"`{value}`"


def _kind(hint: Any) -> str:
    """What a value may be, in words."""
    if typing.get_origin(hint) is typing.Annotated:
        base, *rest = typing.get_args(hint)
        bounds = [extra for extra in rest if isinstance(extra, Bounds)]
        return "; ".join([_kind(base), *(bound.words for bound in bounds)])
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if options and typing.get_origin(hint) is not tuple:
        return " or ".join(map(_kind, options))
    if typing.get_origin(hint) is tuple:
        return "a list of texts"
    return {int: "a whole number", float: "a number", str: "a text", bool: "`true` or `false`"}.get(
        hint, str(hint)
    )


def replaced(page: str) -> str:
    """The page with the part between the marks written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + render() + END + after


def main() -> int:
    """Write the page."""
    PAGE.write_text(replaced(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
