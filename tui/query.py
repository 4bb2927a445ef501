"""What is typed after `/`: words, `field:value`, `-word` and `"two words"`, all of which must hold.

Pure. A quote counts at the beginning of a part, or of a field's value, and need not be closed yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

from broker import human

_PART: Final = re.compile(r'(-?)(?:([a-z]+):)?"([^"]*)"?|(\S+)')
_NAMED: Final = re.compile(r"([a-z]+):(.+)", re.DOTALL)
_MOST_GUESSED: Final = 500
"""Among more values no near one is looked for: that takes a while, and a key waits."""
_LONGEST: Final = 24
"""Characters of what was typed that are said again."""


class Query(NamedTuple):
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


def _parts(text: str) -> Iterator[tuple[bool, str]]:
    """What stands between blanks or quotes, without its `-`, and whether it had one."""
    for minus, name, quoted, plain in _PART.findall(text.lower()):
        if plain:
            yield plain.startswith("-"), plain.removeprefix("-")
        elif quoted:
            yield bool(minus), f"{name}:{quoted}" if name else quoted


def parse(text: str, known: frozenset[str]) -> Query:
    """Read a filter. Only `known` fields are fields; any other `a:b` is a word.

    A half-typed `-` or `state:` asks for nothing yet, so the list does not flicker while typing.
    """
    words: list[str] = []
    without: list[str] = []
    fields: list[tuple[str, str]] = []
    fields_without: list[tuple[str, str]] = []
    for negated, body in _parts(text):
        name, colon, value = body.partition(":")
        if colon and name in known:
            if value:
                (fields_without if negated else fields).append((name, value))
        elif body:
            (without if negated else words).append(body)
    return Query(tuple(words), tuple(without), tuple(fields), tuple(fields_without))


def doubt(text: str, known: Mapping[str, Callable[[], Collection[str]]]) -> str:
    """What about a filter that finds nothing looks like a slip, with what may be meant; or nothing.

    Args:
        known: Gives what rows have, by field, in lower case; nothing where nothing is judged.
    """
    for negated, body in _parts(text):
        if negated or (named := _NAMED.fullmatch(body)) is None:
            continue
        name, value = named.groups()
        said = human.one_line(value[:_LONGEST])
        if name not in known:
            fields = "  ".join(f"{field}:" for field in sorted(known))
            near = human.did_you_mean(name, known).replace("?", ":?")
            return f"There is no field {name[:_LONGEST]}:  {near}\nFields are  {fields}"
        values = known[name]()
        if values and not any(each.startswith(value) for each in values):
            near = human.did_you_mean(value, values) if len(values) <= _MOST_GUESSED else ""
            return f"No {name} begins with {said}.  {near}".rstrip()
    return ""
