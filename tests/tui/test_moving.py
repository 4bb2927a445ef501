"""What is a video, and how its pictures are made small: quickly, and well once it rests."""

from __future__ import annotations

import pytest

from broker.view import Frame
from tui.live.moving import FRAMES, RESTS_SECONDS, Moving
from tui.live.shades import EVERY, Shrinker, fit

WIDTH, HEIGHT = 90, 60
ALL = (0, 0, WIDTH, HEIGHT)
PORT = fit(WIDTH, HEIGHT, 10, 3)
SOON = 1 / 16


def frame(pixels: bytes, changed: tuple[int, int, int, int] | None = ALL) -> Frame:
    return Frame(WIDTH, HEIGHT, "BGRX", pixels, changed)


GREY = bytes([0x80, 0x80, 0x80, 0]) * (WIDTH * HEIGHT)
FINE = (bytes(4) + bytes([0xFF, 0xFF, 0xFF, 0])) * (WIDTH * HEIGHT // 2)
"""Columns of one pixel, in turns black and white."""


def told(changed: tuple[int, int, int, int] | None, apart: float) -> list[bool]:
    moving = Moving()
    return [moving.saw(frame(GREY, changed), turn * apart) for turn in range(FRAMES + 3)]


def test_what_changes_everywhere_and_soon_again_is_a_video_after_a_few_pictures() -> None:
    assert told(ALL, SOON) == [False] * FRAMES + [True] * 3


@pytest.mark.parametrize(
    ("changed", "apart"),
    [(None, SOON), ((0, 0, WIDTH, HEIGHT // 3), SOON), (ALL, 2 * RESTS_SECONDS)],
    ids=["not known", "a part", "slides"],
)
def test_anything_else_is_none(changed: tuple[int, int, int, int] | None, apart: float) -> None:
    assert not any(told(changed, apart))


def test_it_rests_a_moment_after_the_last_of_its_pictures() -> None:
    moving = Moving()
    assert moving.rests_in(0.0) == 0.0
    for turn in range(FRAMES + 1):
        moving.saw(frame(GREY), turn * SOON)
    last = FRAMES * SOON
    assert moving.rests_in(last + 0.1) == pytest.approx(RESTS_SECONDS - 0.1)
    moving.saw(frame(GREY, (0, 0, 8, 8)), last + 0.2)
    assert moving.rests_in(last + RESTS_SECONDS) == 0.0


def test_a_rough_picture_has_the_colours_of_what_it_is_made_of() -> None:
    assert PORT.columns * 2 * EVERY <= WIDTH
    exact, rough = Shrinker(), Shrinker()
    assert rough.rows(frame(GREY, None), PORT, rough=True) == exact.rows(frame(GREY), PORT)
    assert rough.rough
    assert not exact.rough


def test_a_part_made_well_leaves_a_rough_picture_rough_until_all_of_it_is() -> None:
    shrinker = Shrinker()
    shrinker.rows(frame(GREY, None), PORT)
    shrinker.rows(frame(FINE), PORT, rough=True)
    shrinker.rows(frame(FINE, (0, 0, 9, 9)), PORT)
    assert shrinker.rough

    rows = shrinker.rows(frame(FINE, None), PORT)
    assert not shrinker.rough
    assert rows == Shrinker().rows(frame(FINE), PORT)


def test_a_rough_part_lies_on_the_same_pixels_as_the_whole() -> None:
    by_parts, at_once = Shrinker(), Shrinker()
    by_parts.rows(frame(FINE, None), PORT, rough=True)
    noise = bytes(value * value * 7 >> 3 & 0xFF for value in range(WIDTH * HEIGHT * 4))
    by_parts.rows(frame(noise, (0, 0, 47, HEIGHT)), PORT, rough=True)
    rows = by_parts.rows(frame(noise, (45, 0, WIDTH, HEIGHT)), PORT, rough=True)
    assert rows == at_once.rows(frame(noise, None), PORT, rough=True)
