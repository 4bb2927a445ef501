"""Where in a YAML text its parts stand, so that one of them can be changed and nothing else.

A parser that builds values forgets comments, quotes and order; this one keeps only places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass(slots=True)
class Node:
    """One part of a text.

    Attributes:
        start: Index of its first character; its anchor or tag counts.
        end: Index behind its last character; comments and blank lines behind it do not count.
        column: Of the first key, or of the first item's dash, in a block.
        flow: Written with brackets.
        pairs: Of a mapping, in order.
        items: Of a sequence, in order.
    """

    kind: str
    start: int
    end: int
    column: int = 0
    flow: bool = False
    text: str = ""
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def value_of(self, key: str) -> Node | None:
        """The value of a key that stands in it; merged keys do not."""
        return next((value for name, value in self.pairs if name.text == key), None)


def parse(text: str) -> Node | None:
    """The root of a text that is known to be one YAML document; None when there is nothing."""
    events = (
        event
        for event in yaml.parse(text, Loader=yaml.SafeLoader)
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent)
    )
    first = next(events)
    if isinstance(first, yaml.StreamEndEvent | yaml.DocumentEndEvent):
        return None
    root = _node(first, events, text)
    is_nothing = root.kind == "scalar" and root.start == root.end
    return None if is_nothing else root


def _node(event: yaml.Event, events: Iterator[yaml.Event], text: str) -> Node:
    start, end = _at(event.start_mark), _at(event.end_mark)
    match event:
        case yaml.MappingStartEvent():
            return _collection("map", event, events, text)
        case yaml.SequenceStartEvent():
            return _collection("seq", event, events, text)
        case yaml.ScalarEvent():
            return Node("scalar", start, _trimmed(text, start, end), text=event.value)
        case _:
            return Node("alias", start, end)


def _collection(
    kind: str, event: yaml.CollectionStartEvent, events: Iterator[yaml.Event], text: str
) -> Node:
    found = Node(kind, _at(event.start_mark), _at(event.end_mark), flow=bool(event.flow_style))
    children: list[Node] = []
    while not isinstance(following := next(events), yaml.CollectionEndEvent):
        children.append(_node(following, events, text))
    if kind == "map":
        found.pairs = list(zip(children[::2], children[1::2], strict=True))
    else:
        found.items = children
    if found.flow:
        found.end = _at(following.end_mark)
    elif children:
        found.end = max(child.end for child in children)
        first = children[0].start if kind == "map" else dash_of(text, children[0])
        found.column = first - line_start(text, first)
    return found


def _at(mark: Any) -> int:
    """A mark's index; the parser in Python always has one."""
    return int(mark.index)


def _trimmed(text: str, start: int, end: int) -> int:
    """A block scalar's end without the blank lines behind it."""
    return start + len(text[start:end].rstrip())


def line_start(text: str, at: int) -> int:
    """Index of the first character of the line that `at` is on."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Index behind the line that `at` is on, its break included."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def dash_of(text: str, item: Node) -> int:
    """Index of the dash in front of an item of a block sequence."""
    at = item.start
    while True:
        at = text.rindex("-", 0, at)
        before = text[line_start(text, at) : at]
        if "#" not in before and not before.strip(" -?:\t"):
            return at
