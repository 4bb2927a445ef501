"""What is typed after `/`: words, `field:value` and `-word`, all of which must hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed filter.

    Attributes:
        words: Substrings that must occur, lower case.
        without: Substrings that must not.
        fields: (field, value) pairs; a line of a row's field must begin with the value.
        fields_without: Those that must not hold.
    """

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    fields_without: tuple[tuple[str, str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is asked for: every row matches."""
        return not (self.words or self.without or self.fields or self.fields_without)

    def matches(self, hay: str, fields: Mapping[str, str]) -> bool:
        """Whether a row with that search text and those fields is wanted."""
        return (
            all(word in hay for word in self.words)
            and not any(word in hay for word in self.without)
            and all(_begins(fields, name, value) for name, value in self.fields)
            and not any(_begins(fields, name, value) for name, value in self.fields_without)
        )


def _begins(fields: Mapping[str, str], name: str, value: str) -> bool:
    return any(line.startswith(value) for line in fields.get(name, "").split("\n"))


def parse(text: str, known: frozenset[str]) -> Query:
    """Read a filter. Only `known` fields are fields; any other `a:b` is a word.

    A half-typed `-` or `state:` asks for nothing yet, so the list does not flicker while typing.
    """
    words: list[str] = []
    without: list[str] = []
    fields: list[tuple[str, str]] = []
    fields_without: list[tuple[str, str]] = []
    for part in text.lower().split():
        negated = part.startswith("-")
        body = part[1:] if negated else part
        if not body:
            continue
        name, colon, value = body.partition(":")
        if colon and name in known:
            if value:
                (fields_without if negated else fields).append((name, value))
        else:
            (without if negated else words).append(body)
    return Query(tuple(words), tuple(without), tuple(fields), tuple(fields_without))
