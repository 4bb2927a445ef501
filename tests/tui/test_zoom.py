"""Looking closer at a part of a guest's screen: which part, and which pixel a mouse then means."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot

from broker.view import Frame, Pointer
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle, text_of
from tests.tui.test_live import live, until
from tui.live.shades import Port, fit
from tui.live.zoom import Zoom, scales
from tui.screens.consoles import ConsolesScreen
from tui.screens.live import LiveScreen

LEADER = "ctrl+right_square_bracket"
WIDTH, HEIGHT = 800, 600
SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 1200))
ROOM = st.tuples(st.integers(1, 300), st.integers(1, 80))


def places() -> Frame:
    """A screen on which each pixel says where it is: red and green its column, blue its line."""
    row = [bytes((x >> 2 & 0xFF, (x & 3) * 64)) for x in range(WIDTH)]
    data = b"".join(b"".join(part + bytes((y & 0xFF,)) for part in row) for y in range(HEIGHT))
    return Frame(WIDTH, HEIGHT, "RGB", data)


# -- pure


@given(size=SIZES, room=ROOM)
def test_steps_go_from_all_of_it_to_one_for_one(
    size: tuple[int, int], room: tuple[int, int]
) -> None:
    known = scales(*size, *room)
    assert known[0] == min(room[0] / size[0], 2 * room[1] / size[1], 1.0)
    assert known[-1] == 1.0
    assert all(after <= before * 2 for before, after in itertools.pairwise(known))


@given(size=SIZES, room=ROOM, steps=st.integers(0, 8), at=SIZES)
def test_what_is_shown_lies_on_the_screen_and_in_the_room(
    size: tuple[int, int], room: tuple[int, int], steps: int, at: tuple[int, int]
) -> None:
    zoom = Zoom()
    zoom.step(steps, at)
    port = zoom.port(*size, *room)
    x0, y0, x1, y1 = port.box
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]
    assert 0 <= port.left <= port.left + port.columns <= room[0]
    assert 0 <= port.top <= port.top + port.lines <= room[1]
    for column in (port.left, port.left + port.columns - 1):
        x, y = port.at(column, port.top)
        assert x0 <= x < x1
        assert y0 <= y < y1


def test_one_for_one_a_cell_is_a_column_and_two_lines_of_the_guest() -> None:
    zoom = Zoom()
    zoom.toggle()
    port = zoom.port(WIDTH, HEIGHT, 100, 30)
    assert port == Port((350, 270, 450, 330), 100, 30)
    assert [port.at(column, 10) for column in (0, 1, 99)] == [(350, 291), (351, 291), (449, 291)]


def test_it_moves_by_quarters_and_stops_at_the_edge() -> None:
    zoom = Zoom()
    assert not zoom.pan(fit(WIDTH, HEIGHT, 100, 30), 1, 0)
    zoom.toggle()
    boxes = []
    for _ in range(20):
        port = zoom.port(WIDTH, HEIGHT, 100, 30)
        boxes.append(port.box)
        assert zoom.pan(port, 1, 1)
    assert [box[0] for box in boxes[:3]] == [350, 375, 400]
    assert boxes[-1][2:] == (WIDTH, HEIGHT)


def test_a_pointer_at_the_edge_takes_the_view_along_and_elsewhere_leaves_it() -> None:
    zoom = Zoom()
    zoom.toggle()
    port = zoom.port(WIDTH, HEIGHT, 100, 30)
    assert not zoom.pointed(port, 50, 15)
    assert zoom.port(WIDTH, HEIGHT, 100, 30) == port
    assert zoom.pointed(port, 99, 15)
    assert zoom.port(WIDTH, HEIGHT, 100, 30).box[:2] == (375, 270)


def test_a_guest_that_becomes_smaller_is_shown_within_its_bounds() -> None:
    zoom = Zoom()
    zoom.step(9, (790, 590))
    assert zoom.port(WIDTH, HEIGHT, 100, 30).box == (700, 540, 800, 600)
    assert zoom.port(320, 200, 100, 30).box == (220, 140, 320, 200)
    assert zoom.port(50, 20, 100, 30) == Port((0, 0, 50, 20), 50, 10, 25, 10)


# -- in the live view


async def wheel(pilot: Pilot[None], kind: type[MouseScrollUp], *, ctrl: bool) -> None:
    """One notch over the cell (50, 15) of the view."""
    event = kind(None, 50, 16, 0, 0, 0, False, False, ctrl, screen_x=50, screen_y=16)
    pilot.app.post_message(event)
    await pilot.pause(0.05)


def showing(pilot: Pilot[None]) -> Port:
    assert isinstance(pilot.app.screen, LiveScreen)
    assert pilot.app.screen._player.shown is not None
    return pilot.app.screen._player.shown.port


async def test_keys_zoom_move_and_go_back(drive: Drive, service: FakeService) -> None:
    service.guests.screen.show(places())
    async with drive(service) as pilot:
        await live(pilot, service)
        whole = showing(pilot)
        assert whole.box == (0, 0, WIDTH, HEIGHT)
        await pilot.press(LEADER, "z")
        await until(pilot, lambda: showing(pilot).box == (350, 271, 450, 329))
        await until(pilot, lambda: "1:1" in text_of(pilot))
        await pilot.press(LEADER, "right")
        await until(pilot, lambda: showing(pilot).box == (375, 271, 475, 329))
        await pilot.press(LEADER, "z")
        await until(pilot, lambda: showing(pilot) == whole)
        await pilot.press(LEADER, "plus")
        await until(pilot, lambda: showing(pilot).box[0] > 0)
        closer = showing(pilot).box
        assert closer[2] - closer[0] > 500
        await pilot.press(LEADER, "minus")
        await until(pilot, lambda: showing(pilot) == whole)
        assert service.guests.screen.asked == []


async def test_ctrl_and_the_wheel_come_closer_to_what_is_under_the_pointer(
    drive: Drive, service: FakeService
) -> None:
    service.guests.screen.show(places())
    asked = service.guests.screen.asked
    async with drive(service) as pilot:
        await live(pilot, service)
        whole = showing(pilot)
        meant = whole.at(50, 15)
        for _ in range(5):
            await wheel(pilot, MouseScrollUp, ctrl=True)
        await until(pilot, lambda: showing(pilot).box[2] - showing(pilot).box[0] == 100)
        x0, y0, x1, y1 = showing(pilot).box
        assert x0 <= meant[0] < x1
        assert y0 <= meant[1] < y1
        for _ in range(5):
            await wheel(pilot, MouseScrollDown, ctrl=True)  # type: ignore[arg-type]  # its twin
        await until(pilot, lambda: showing(pilot) == whole)
        assert asked == []
        await wheel(pilot, MouseScrollUp, ctrl=False)
        await until(pilot, lambda: asked)
        assert asked == [("point", Pointer(*meant, 0, -1))]


async def test_a_click_in_a_zoomed_view_is_the_pixel_that_is_seen_there(
    drive: Drive, service: FakeService
) -> None:
    service.guests.screen.show(places())
    asked = service.guests.screen.asked
    async with drive(service) as pilot:
        await live(pilot, service)
        await pilot.press(LEADER, "z")
        await until(pilot, lambda: showing(pilot).box == (350, 271, 450, 329))
        await pilot.mouse_down("FrameView", offset=(70, 10))
        await until(pilot, lambda: ("point", Pointer(420, 292, 1)) in asked)
        # The upper pixel of that cell, as the guest drew it; colours are cut to five bits.
        assert isinstance(pilot.app.screen, LiveScreen)
        cell = pilot.app.screen.query_one("FrameView").rows[10][70]  # type: ignore[attr-defined]
        red, green, blue = cell >> 40 & 0xFF, cell >> 32 & 0xFF, cell >> 24 & 0xFF
        assert (red >> 3, green >> 3, blue >> 3) == (
            420 >> 2 >> 3,
            (420 & 3) * 64 >> 3,
            291 % 256 >> 3,
        )


@pytest.mark.parametrize(("key", "box"), [("left", (325, 271)), ("down", (350, 285))])
async def test_who_only_looks_on_moves_by_arrows(
    drive: Drive, service: FakeService, key: str, box: tuple[int, int]
) -> None:
    service.guests.screen.show(places())
    async with drive(service, readonly=True) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: "view only" in text_of(pilot))
        await pilot.press(LEADER, "z")
        await until(pilot, lambda: showing(pilot).box == (350, 271, 450, 329))
        await pilot.press(key)
        await until(pilot, lambda: showing(pilot).box[:2] == box)
        await settle(pilot)
        assert service.guests.screen.asked == []
