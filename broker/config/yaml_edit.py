"""Changing one thing in a YAML text: every other byte stays, comments, anchors and odd quotes too.

Libraries that write a whole file anew move or drop comments (the one above an entry goes with the
entry before it) and lay lines out their own way. Here the text is cut open where the change is.
Whoever calls compares what the new text says with what it should; see `broker.config.editing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from broker.config.yaml_nodes import Node, dash_of, line_end, line_start, parse

Path = Sequence[str | int]
"""Keys and places from the root: `("tui", "theme")`, `(0, "consoles", 2)`."""


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block; lists of plain words on one line."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.SafeDumper, value: Sequence[object]) -> yaml.SequenceNode:
    flow = not any(isinstance(each, dict | list | tuple) for each in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(tuple, _list)


def put(text: str, path: Path, value: object) -> str:
    """Have a key say that; it is added behind the others, with those on the way to it.

    Raises:
        LookupError: The way leads through something that is no mapping or has no such place.
    """
    return _put(_Source(text), path, value)


def append(text: str, path: Path, value: object) -> str:
    """Add an item behind the last one of a sequence, which is begun where there is none.

    Raises:
        LookupError: There is something else.
    """
    source = _Source(text)
    found = source.at(path)
    if found is not None and found.kind == "seq" and found.items:
        return source.grow(found, source.item(value, found))
    if not path:
        return source.begin(source.lines([value], 0))
    return _put(source, path, [value])


def drop(text: str, path: Path) -> str:
    """Take a key or an item out. What is said about it in comments stays.

    Raises:
        LookupError: There is none.
    """
    source, last = _Source(text), path[-1]
    holder = source.at(path[:-1])
    if holder is None:
        raise LookupError(last)
    if isinstance(last, int):
        if len(holder.items) == 1 and path[:-1] and not holder.flow:
            emptied = source.after_key(path[:-1])
            return source.cut(0, holder.items, holder.flow, emptied)
        return source.cut(last, holder.items, holder.flow)
    place = next((n for n, (key, _) in enumerate(holder.pairs) if key.text == last), None)
    if place is None:
        raise LookupError(last)
    spans = [Node("pair", key.start, max(key.end, value.end)) for key, value in holder.pairs]
    if len(spans) == 1 and path[:-1] and not holder.flow and isinstance(path[-2], str):
        return source.cut(0, spans, holder.flow, source.after_key(path[:-1]))
    return source.cut(place, spans, holder.flow)


def _put(source: _Source, path: Path, value: object) -> str:
    *way, last = path
    holder = source.at(way)
    if isinstance(last, int):
        raise LookupError(last)
    if holder is None or holder.kind == "scalar":
        if way:
            return _put(source, way, {last: value})
        return source.begin(source.lines({last: value}, 0))
    if holder.kind != "map":
        raise LookupError(last)
    if (old := holder.value_of(last)) is None:
        return source.grow(holder, source.pair(last, value, holder))
    return source.replace(old, last, value, holder)


class _Source:
    """A text and where its parts stand."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = parse(text)
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def at(self, path: Path) -> Node | None:
        """The part at the end of a way; None where the last step leads to nothing."""
        found = self.root
        for step in path:
            if found is None:
                return None
            if isinstance(step, int):
                found = found.items[step]
            else:
                found = found.value_of(step) if found.kind == "map" else None
        return found

    # -- what is written

    def lines(self, value: object, column: int) -> str:
        """A value in block style, every line indented, without the last break."""
        dumped: str = yaml.dump(
            value,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 20,
            default_flow_style=False,
        )
        lead = " " * column
        lines = (lead + line if line else line for line in dumped.rstrip("\n").split("\n"))
        return self.newline.join(lines)

    def inline(self, value: object) -> str:
        """A value on one line."""
        dumped: str = yaml.dump(
            [value],
            Dumper=_Inline,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 20,
            default_flow_style=True,
        )
        return dumped.strip()[1:-1]

    def item(self, value: object, holder: Node) -> str:
        """An item as its sequence writes them."""
        if holder.flow:
            return self.inline(value)
        return self.lines([value], holder.column)

    def pair(self, key: str, value: object, holder: Node) -> str:
        """A key and its value as their mapping writes them."""
        if holder.flow:
            return self.inline({key: value})[1:-1]
        return self.lines({key: value}, holder.column)

    # -- where it is written

    def begin(self, lines: str) -> str:
        """The first content of a text that has none, or says only that there is none."""
        text = self.text
        if self.root is not None:
            text = text[: self.root.start] + text[self.root.end :].lstrip(" \t")
        if text and not text.endswith("\n"):
            text += self.newline
        return text + lines + self.newline

    def grow(self, holder: Node, written: str) -> str:
        """Add to a collection, behind what is there."""
        text = self.text
        if holder.flow:
            spans = holder.items or [value for _, value in holder.pairs]
            at = max((each.end for each in spans), default=holder.start + 1)
            return text[:at] + (", " if spans else "") + written + text[at:]
        at = line_end(text, max(holder.start, holder.end - 1))
        lead = "" if text[:at].endswith("\n") else self.newline
        return text[:at] + lead + written + self.newline + text[at:]

    def replace(self, old: Node, key: str, value: object, holder: Node) -> str:
        """Put a value in the place of another."""
        text = self.text
        is_block = isinstance(value, dict) or (isinstance(value, str) and "\n" in value)
        is_block = is_block or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
        if holder.flow or not is_block:
            is_plain = isinstance(value, str) and not holder.flow
            written = self.lines({"k": value}, 0)[3:] if is_plain else self.inline(value)
            if "\n" not in text[old.start : old.end] and old.kind in ("scalar", "alias"):
                lead = " " if text[old.start - 1] == ":" else ""
                return text[: old.start] + lead + written + text[old.end :]
            written = " " + written
        else:
            lines = self.lines({key: value}, holder.column)
            written = lines.split(":", 1)[1]
        colon = text.rindex(":", 0, self._first(old)) + 1
        return text[:colon] + written + text[max(colon, old.end) :]

    def _first(self, node: Node) -> int:
        """Where a value begins; a block sequence does with its first dash."""
        if node.kind == "seq" and not node.flow and node.items:
            return dash_of(self.text, node.items[0])
        return node.start

    def after_key(self, path: Path) -> int:
        """Index behind the colon of the key that a way ends with."""
        found = self.at(path)
        assert found is not None
        return self.text.rindex(":", 0, self._first(found)) + 1

    def cut(self, place: int, spans: Sequence[Node], flow: bool, emptied: int | None = None) -> str:
        """Take one of several out.

        Args:
            emptied: Where to say that there is nothing left.
        """
        text, gone = self.text, spans[place]
        if flow:
            if place + 1 < len(spans):
                return text[: gone.start] + text[spans[place + 1].start :]
            start = spans[place - 1].end if place else gone.start
            return text[:start] + text[gone.end :]
        end = line_end(text, max(gone.start, gone.end - 1))
        first = gone.start if gone.kind == "pair" else dash_of(text, gone)
        start = line_start(text, first)
        if gone.kind == "pair" and (lead := text[start:first]).strip():
            # it stands behind a dash, and the next one moves up to it
            if place + 1 == len(spans):
                return text[:first] + "{}" + text[gone.end :]
            following = spans[place + 1].start
            comments = text[end : line_start(text, following)]
            return text[:start] + comments + lead + text[following:]
        if emptied is not None:
            nothing = " {}" if gone.kind == "pair" else " []"
            return text[:emptied] + nothing + text[emptied:start] + text[end:]
        return text[:start] + text[end:]


class _Inline(_Dumper):
    """All on one line."""


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _flow(dumper: yaml.SafeDumper, value: Any) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Inline.add_representer(str, _quoted)
_Inline.add_representer(list, _flow)
_Inline.add_representer(tuple, _flow)
