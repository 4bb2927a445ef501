from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.headless import digest
from broker.headless.digest import Digest, parse, read, watch
from broker.headless.inbox import Inbox
from broker.headless.session import Heard, Session
from broker.spice.constants import ChannelType
from broker.spice.pixels import Pixels
from broker.spice.screen import Painted, Rect
from tests.codes import modules

SECONDS = 60.0
SCALE = 3
HASHES = b"".join(struct.pack("<BBI", tag, 4, 0) for tag in range(0x11, 0x19))


def encoded(*events: bytes, frame: int = 7, head: bytes = b"SXDG\x02", more: bytes = b"") -> bytes:
    count = 8 + len(events)
    return head + struct.pack("<IB", frame, count) + HASHES + b"".join(events) + more + b"\1\2\3\4"


def event(tag: int, layout: str, *values: int) -> bytes:
    value = struct.pack(layout, *values)
    return bytes([tag, len(value)]) + value


def test_every_kind_of_event_is_told_as_ryll_tells_it() -> None:
    found = parse(
        encoded(
            event(1, "<QHH", 5, 13, 0),
            event(1, "<QHH", 5, 0xD800, 0x4B),
            event(2, "<QH", 6, 11),
            event(3, "<QBB", 7, 0, 3),
            event(4, "<QBI", 8, 2, 4),
            event(5, "<QHB", 9, 300, 1),
            event(6, "<Q", 10),
            event(7, "<QHHHH", 11, 800, 600, 1024, 768),
            event(8, "<QIB", 12, 3, 0),
            event(0x42, "<Q", 13),
        )
    )
    assert (found.frame, found.framebuffer_hash) == (7, 0x04030201)
    assert found.events == (
        {"keypress": {"unicode": "\r", "scancode": 0, "timestamp_ms": 5}},
        {"keypress": {"unicode": "\ufffd", "scancode": 0x4B, "timestamp_ms": 5}},
        {"line_rendered": {"row": 11, "timestamp_ms": 6}},
        {"scene_transition": {"from": "awaiting", "to": "stream_exercise", "timestamp_ms": 7}},
        {"bootloader_decision": {"choice": "abort", "attempt": 4, "timestamp_ms": 8}},
        {"paste_received": {"len": 300, "correct": True, "timestamp_ms": 9}},
        {"bootloader_timeout": {"timestamp_ms": 10}},
        {
            "mode_switch": {
                "requested_w": 800,
                "requested_h": 600,
                "applied_w": 1024,
                "applied_h": 768,
                "timestamp_ms": 11,
            }
        },
        {"mode_cycle": {"count": 3, "interrupted": False, "timestamp_ms": 12}},
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        encoded(head=b"SXDG\x01"),
        encoded(head=b"https"),
        encoded()[:-1],
        encoded(more=b"\x01"),
        encoded(more=b"\x01\x0c123"),
        encoded(event(1, "<QH", 5, 13)),
        encoded(event(3, "<QBB", 7, 0, 9)),
        encoded().replace(b"\x14\x04", b"\x14\x05"),
    ],
)
def test_what_is_no_whole_digest_is_none(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever it is
        parse(payload)


@given(st.binary(max_size=60))
def test_no_events_can_do_more_than_be_refused(junk: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parse(encoded(more=junk)).frame == 7


# -- on a screen


def shown(payload: bytes) -> Pixels:
    """Green on black, as the guest draws it."""
    lines = []
    for row in modules(payload):
        line = b"".join((b"\x66\xff\x33\0" if dark else bytes(4)) * SCALE for dark in row)
        lines += [line] * SCALE
    return Pixels(len(lines[0]) // 4, len(lines), b"".join(lines))


def test_a_digest_is_read_from_a_picture_and_any_other_code_passed_over() -> None:
    found = read(shown(encoded(event(6, "<Q", 10))))
    assert found == Digest(7, 0x04030201, ({"bootloader_timeout": {"timestamp_ms": 10}},))
    assert read(shown(b"https://www.example.org/")) is None
    assert read(Pixels(10, 10, bytes(400))) is None
    assert read(Pixels(0, 0, b"")) is None


class Watched(Session):
    """Shows what it is told to."""

    shown: Pixels | None = None
    looks = 0

    def __init__(self, group: asyncio.TaskGroup, stack: contextlib.AsyncExitStack) -> None:
        async def dial() -> Inbox:
            raise AssertionError

        super().__init__(dial, "", group, stack)
        self.screen.picture = self._look  # type: ignore[method-assign]

    def _look(self, surface: int | None = None) -> Pixels | None:
        self.looks += 1
        return self.shown

    def draws(self, picture: Pixels) -> None:
        self.shown = picture
        for listener in tuple(self._listeners):
            listener(Heard(ChannelType.DISPLAY, 0, Painted(0, (Rect(0, 0, 1, 1),)), 0.0))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "POLL_SECONDS", 0.001)


@pytest.mark.usefixtures("at_once")
async def test_each_frame_is_told_once_and_a_screen_that_rests_is_not_looked_at() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        session = Watched(group, stack)
        session.shown = shown(encoded(frame=1))
        watching = group.create_task(
            watch(session, lambda: True, lambda found: told.put_nowait(found.frame))
        )
        async with asyncio.timeout(SECONDS):
            assert await told.get() == 1
            looks = session.looks
            session.draws(shown(encoded(frame=1)))
            while session.looks == looks:  # noqa: ASYNC110 - nothing is to be told
                await asyncio.sleep(0)
            session.draws(shown(encoded(frame=2)))
            assert await told.get() == 2
        assert told.empty()
        assert session.looks <= looks + 2
        watching.cancel()


def test_it_is_offered_only_with_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert digest.available()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not digest.available()
