"""What a real guest hears of a live view's keys and pointer, by both ways to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.errors import UsageError
from broker.runtime import open_service
from broker.service.port import Service
from broker.view import Pointer, View, Way
from tests.guests import needs_qemu
from tests.integration.recorder import FULL, Recorder, needs_nasm, started

pytestmark = [pytest.mark.qemu, needs_qemu, needs_nasm]


@pytest.fixture
async def service(broker_home: Path) -> AsyncIterator[Service]:
    """The port over a home of its own."""
    async with open_service() as opened:
        yield opened


@pytest.mark.parametrize("way", [Way.WATCH, Way.USE], ids=["monitor", "spice"])
async def test_keys_texts_and_pointers_arrive_as_they_were_meant(
    service: Service, broker_home: Path, way: Way
) -> None:
    machine, recorder = await started(service, broker_home)
    try:
        if way is Way.USE:
            await service.host_proxy()
        async with service.view(machine.key, way) as view:
            assert view.via == ("spice" if way is Way.USE else "monitor")
            frame = await view.frame()
            await holds_keys(view, recorder)
            await types_by_layout(view, recorder)
            await points(view, recorder, frame.width, frame.height)
    finally:
        await service.kill(machine.key)


async def holds_keys(view: View, recorder: Recorder) -> None:
    """Down and up are told apart, also of modifiers alone."""
    for name, down in [("alt", True), ("tab", True), ("tab", False), ("tab", True), ("tab", False)]:
        await view.key(name, down=down)
    await view.key("alt", down=False)
    await recorder.until(lambda: recorder.keys.endswith("B8"))
    assert recorder.keys == "38 0F 8F 0F 8F B8"
    recorder.forget()
    for name in ("shift_r", "ctrl_r", "[", "meta_l"):
        await view.key(name, down=True)
        await view.key(name, down=False)
    await recorder.until(lambda: recorder.keys.endswith("E0 DB"))
    assert recorder.keys == "36 B6 E0 1D E0 9D 1A 9A E0 5B E0 DB"
    recorder.forget()
    with pytest.raises(UsageError):
        await view.key("wurst", down=True)


async def types_by_layout(view: View, recorder: Recorder) -> None:
    """The same text is other keys on another keyboard."""
    expected = {
        # y, z, and @ by Shift-2; AltGr-q; AltGr-0
        "us": "15 95 2C AC 2A 03 83 AA",
        "de": "2C AC 15 95 E0 38 10 90 E0 B8",
        "fr": "15 95 11 91 E0 38 0B 8B E0 B8",
    }
    for layout, keys in expected.items():
        await view.type("yz@", layout=layout)
        await recorder.until(lambda want=keys: len(recorder.keys) >= len(want))  # type: ignore[misc]
        assert recorder.keys == keys, layout
        recorder.forget()


async def points(view: View, recorder: Recorder, width: int, height: int) -> None:
    """Where, with what held down, and the wheel."""
    await view.point(Pointer(width // 2, height // 2))
    await view.point(Pointer(width - 1, 0, buttons=1))
    await view.point(Pointer(width - 1, 0))
    await view.point(Pointer(7, height - 1, wheel=1))
    await recorder.until(lambda: any(wheel for *_, wheel in recorder.pointed))
    moves = recorder.pointed
    pressed = next(move for move in moves if move[0])
    turned = next(move for move in moves if move[3])
    assert [move[0] for move in (moves[0], pressed, turned)] == [0, 0x20, 0]
    meant = ((moves[0], width // 2, height // 2), (pressed, width - 1, 0), (turned, 7, height - 1))
    for (_, x, y, _), column, line in meant:
        # An axis ends at the last pixel or behind it, by who tells.
        assert abs(x * width / FULL - column) <= 1
        assert abs(y * height / FULL - line) <= 1
