"""Forms made from a JSON Schema: fields out of it, texts in, options of an entry out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

TYPED, IN_FILE, IN_VARIABLE, NONE = "typed", "file", "env", "none"
"""How a secret is given: written into the entry, named by a file or a variable, not at all."""
_SUFFIXES: Final = {TYPED: "", IN_FILE: "_file", IN_VARIABLE: "_env"}
_LAST: Final = ("dial_networks", "dial_ports", "uuid")
"""Fields that few people touch."""
_FIRST: Final = ("name", "hypervisor_ip", "insecure_port", "secure_port", "ticket")
"""Fields of a static console that everybody fills in."""
YES, NO = "yes", "no"
_LOG_IN: Final = ("user", "password", "token", "credential", "secret")
"""Parts of the names of what one logs in with."""


class Kind(Enum):
    """How a field is filled in."""

    TEXT = "text"
    NUMBER = "number"
    LIST = "list"
    FLAG = "flag"
    CHOICE = "choice"
    SECRET = "secret"  # noqa: S105 - a kind of field


@dataclass(frozen=True, slots=True)
class Spec:
    """One field.

    Attributes:
        words: What there is to choose from; the ways of a secret.
        default: What counts when nothing is said, as text.
        needed: The entry is wrong without it.
    """

    key: str
    kind: Kind
    help: str
    words: tuple[str, ...] = ()
    default: str = ""
    needed: bool = False

    @property
    def title(self) -> str:
        """As its label reads: the option's own name, so that it is found in the docs."""
        return self.key.replace("_", " ")

    @property
    def keys(self) -> tuple[str, ...]:
        """The options it stands for."""
        if self.kind is not Kind.SECRET:
            return (self.key,)
        return tuple(self.key + _SUFFIXES[way] for way in self.words if way != NONE)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a field holds.

    Attributes:
        way: Of a choice, a flag or a secret: the word.
        kept: The value stays as the file has it; it is not shown.
    """

    text: str = ""
    way: str = ""
    kept: bool = False


def specs(schema: Mapping[str, Any]) -> list[Spec]:
    """The fields of an entry: what is needed first, what few people touch last."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    needed = set(schema.get("required", ()))
    for each in schema.get("allOf", ()):
        needed |= {way["required"][0] for way in each.get("oneOf", ())[:1]}
    ways = {
        key + suffix
        for key, told in properties.items()
        if told.get("writeOnly")
        for suffix in ("_file", "_env")
    }
    found = [
        _spec(key, told, needed=key in needed)
        for key, told in properties.items()
        if key not in ways
    ]
    return sorted(found, key=_rank)


def _rank(spec: Spec) -> tuple[int, int]:
    if spec.key in _LAST:
        return 4, 0
    if spec.key in _FIRST:
        return 0, _FIRST.index(spec.key)
    return 1 if spec.needed else 2 if any(word in spec.key for word in _LOG_IN) else 3, 0


def _spec(key: str, told: Mapping[str, Any], *, needed: bool) -> Spec:
    shapes: Sequence[Mapping[str, Any]] = told.get("anyOf", (told,))
    shape = next((each for each in shapes if each.get("type") != "null"), told)
    text, default = str(told.get("description", "")), told.get("default")
    if told.get("writeOnly"):
        nullable = any(each.get("type") == "null" for each in shapes)
        ways = (TYPED, IN_FILE, IN_VARIABLE, *((NONE,) if nullable else ()))
        return Spec(key, Kind.SECRET, text, ways, needed=needed)
    if "enum" in shape:
        return Spec(key, Kind.CHOICE, text, tuple(map(str, shape["enum"])), _word(default))
    match shape.get("type"):
        case "boolean":
            return Spec(key, Kind.FLAG, text, (YES, NO), YES if default else NO)
        case "integer" | "number":
            return Spec(key, Kind.NUMBER, text, (), _word(default), needed)
        case "array":
            return Spec(key, Kind.LIST, text, (), ", ".join(default or ()), needed)
        case _:
            return Spec(key, Kind.TEXT, text, (), _word(default), needed)


def _word(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def filled(spec: Spec, options: Mapping[str, object], kept: Iterable[str]) -> Filled:
    """What a field begins with.

    Args:
        options: As the file has them, scalars as text.
        kept: Options whose values are not told.
    """
    if spec.kind is Kind.SECRET:
        if spec.key in kept:
            return Filled(way=TYPED, kept=True)
        for way in (IN_FILE, IN_VARIABLE):
            if isinstance(found := options.get(spec.key + _SUFFIXES[way]), str):
                return Filled(found, way)
        if NONE in spec.words and spec.key in options and options[spec.key] is None:
            return Filled(way=NONE)
        return Filled(way=TYPED)
    value = options.get(spec.key)
    if spec.kind is Kind.FLAG:
        said = str(value).lower() if value is not None else ""
        return Filled(way=_flag(said) or spec.default)
    if spec.kind is Kind.CHOICE:
        return Filled(way=str(value) if value in spec.words else spec.default or spec.words[0])
    if isinstance(value, list):
        return Filled(", ".join(map(str, value)))
    if isinstance(value, str) and "\n" in value:
        return Filled(kept=True)
    return Filled("" if value is None else str(value))


def _flag(said: str) -> str:
    if said in ("true", "yes", "on", "1", "y", "t"):
        return YES
    return NO if said else ""


def options_of(
    fields: Iterable[tuple[Spec, Filled]], before: Mapping[str, object]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The options that the fields say, and those that stay as they are.

    Args:
        before: As the file has them: what is said already stays said, also when it is the default.
    """
    options: dict[str, object] = {}
    kept: list[str] = []
    for spec, held in fields:
        text = held.text.strip()
        if spec.kind is Kind.SECRET:
            if held.way == NONE:
                options[spec.key] = None
            elif text:
                options[spec.key + _SUFFIXES[held.way]] = held.text if held.way == TYPED else text
            elif held.kept and held.way == TYPED:
                kept.append(spec.key)
        elif spec.kind in (Kind.FLAG, Kind.CHOICE):
            was = filled(spec, before, ()).way
            if held.way != was or spec.key in before:
                same = spec.key in before and held.way == was
                options[spec.key] = before[spec.key] if same else _said(spec, held.way)
        elif not text:
            if held.kept:
                kept.append(spec.key)
        elif spec.kind is Kind.LIST:
            several = [each.strip() for each in text.split(",") if each.strip()]
            same = filled(spec, before, ()).text == text
            options[spec.key] = before[spec.key] if same else several
        elif spec.kind is Kind.NUMBER:
            options[spec.key] = int(text) if text.isascii() and text.isdecimal() else text
        else:
            options[spec.key] = text
    return options, tuple(kept)


def _said(spec: Spec, word: str) -> object:
    return word == YES if spec.kind is Kind.FLAG else word
