"""Which parts of a picture go first over a line that cannot take all of it. Pure.

A video changes everywhere with every frame; what a person typed changes one place now and then, and
that is what they wait for. So what has mostly been calm goes before what never is. Of what is calm
half goes by what changed last, since a picture that is new takes seconds on such a line, and what
was typed meanwhile must not wait for the end of it; the rest is what was sent longest ago: so
everything has its turn.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

from tui.live.cells import Row

TILE: Final = 10
"""Cells of a row that go together."""
_MEMORY: Final = 0.8
"""How much of what was seen of a tile counts still one frame later."""
_RESTLESS: Final = 0.7
"""A tile that changes with so large a share of the frames is part of a video."""
_VIDEO_TILES: Final = 0.1
"""The share of all tiles that a video has at least to say how often its own change."""
_LIKE_IT: Final = 0.6
"""A tile with so large a share of the video's changes is part of it: there are more pictures a
second than the video has, or each has but a part of it."""
_SELDOM: Final = 0.35
"""What changes less often than that, somebody may have typed."""
_ENOUGH: Final = 3
"""Frames after which that can be said."""

Span = tuple[int, int, int]
"""A row, and the first and the one after the last of its cells."""


class Spread:
    """What is known of each tile of a picture."""

    def __init__(self) -> None:
        self._stir: dict[tuple[int, int], float] = {}
        self._moved: dict[tuple[int, int], int] = {}
        self._sent: dict[tuple[int, int], int] = {}
        self._pictures = 0
        self._turn = 0

    def saw(self, before: Sequence[Row], after: Sequence[Row]) -> None:
        """Another picture is wanted."""
        self._pictures += 1
        stir = {tile: share * _MEMORY for tile, share in self._stir.items() if share > 0.01}
        for tile in changed(before, after):
            stir[tile] = stir.get(tile, 0.0) + 1 - _MEMORY
            self._moved[tile] = self._pictures
        self._stir = stir

    def choose(self, shown: Sequence[Row], wanted: Sequence[Row], cells: int) -> list[Span]:
        """What to send, at most about so many cells of it, in the order of the screen."""
        self._turn += 1
        moved, sent = self._moved, self._sent
        tiles = changed(shown, wanted)
        across = -(-max(map(len, wanted), default=0) // TILE)
        calm, restless = self._sorted_out(tiles, across * len(wanted))
        room = max(1, cells // TILE)
        calm.sort(key=lambda tile: (-moved.get(tile, 0), sent.get(tile, 0)))
        newest, older = calm[: (room + 1) // 2], calm[(room + 1) // 2 :]
        for group in (older, restless):
            group.sort(key=lambda tile: sent.get(tile, 0))
        chosen = sorted([*newest, *older, *restless][:room])
        spans: list[Span] = []
        for tile in chosen:
            sent[tile] = self._turn
            line, begin = tile
            end = min(begin + TILE, len(wanted[line]))
            if spans and spans[-1][0] == line and spans[-1][2] == begin:
                begin = spans.pop()[1]
            spans.append((line, begin, end))
        return spans

    def _sorted_out(
        self, tiles: Sequence[tuple[int, int]], tiles_in_all: int
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Those that have mostly been calm, and those that never are."""
        if self._pictures < _ENOUGH:
            return list(tiles), []
        least = self._restless(tiles_in_all)
        calm: list[tuple[int, int]] = []
        restless: list[tuple[int, int]] = []
        for tile in tiles:
            (restless if self._stir.get(tile, 0.0) > least else calm).append(tile)
        return calm, restless

    def _restless(self, tiles_in_all: int) -> float:
        """What is counted of a tile that is part of a video, at the least."""
        # As if the first pictures had been seen for ever: else each tile would begin as a calm one.
        always = 1 - _MEMORY**self._pictures
        some = max(1, int(tiles_in_all * _VIDEO_TILES))
        if len(self._stir) < some:
            return _RESTLESS * always
        video = heapq.nlargest(some, self._stir.values())[-1]
        return min(_RESTLESS * always, max(_SELDOM * always, _LIKE_IT * video))


def changed(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[int, int]]:
    """The tiles that differ, each by its row and its first cell."""
    found = []
    for line, (old, new) in enumerate(zip(before, after, strict=False)):
        if old is not new and old != new:
            found += [
                (line, begin)
                for begin in range(0, len(new), TILE)
                if old[begin : begin + TILE] != new[begin : begin + TILE]
            ]
    return found
