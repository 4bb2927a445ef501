"""Fitting columns and text into a width. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from tui.rows import Column

Fitted = list[tuple[Column[Any], int]]


def fit(columns: Sequence[Column[Any]], width: int) -> Fitted:
    """The columns that have room in `width` cells, each with its width; rank 0 goes last."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + 1 for column in kept) > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    spare = max(0, width - sum(column.width + 1 for column in kept))
    flexible = [column for column in kept if column.flex] or kept[:1]
    share, rest = divmod(spare, len(flexible))
    return [
        (c, c.width + (share + (rest if c is flexible[0] else 0) if c in flexible else 0))
        for c in kept
    ]


def clip(text: str, width: int) -> str:
    """Text in at most `width` cells; what does not fit ends in an ellipsis."""
    return pad(text, width) if cell_len(text) > width else text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Text as exactly `width` cells; what does not fit ends in an ellipsis."""
    if text.isascii():
        if len(text) > width:
            return text[: width - 1] + "…" if width > 1 else text[:width]
        return text.rjust(width) if right else text.ljust(width)
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    blank = " " * (width - length)
    return blank + text if right else text + blank


def split_hits(text: str, words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is one of the (lower-case) words."""
    low = text.lower()
    if len(low) != len(text):  # a letter whose lower case is longer would shift the marks
        yield text, False
        return
    at = 0
    for begin, length in sorted((low.find(w), len(w)) for w in words if w in low):
        if begin < at:
            continue
        if begin > at:
            yield text[at:begin], False
        yield text[begin : begin + length], True
        at = begin + length
    if at < len(text):
        yield text[at:], False
