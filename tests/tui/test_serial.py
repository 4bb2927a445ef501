"""A guest's serial port in a screen of ours: what it shows, what it sends, and what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.events import Paste
from textual.pilot import Pilot

from broker.errors import Refused, Unreachable
from broker.model import State
from tests.fakes.guest import FakeSerial
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle, text_of
from tests.tui.test_live import until
from tui.live.cells import BEHIND, LETTER, Palette, written
from tui.live.emulator import Emulator
from tui.live.vt_keys import sent
from tui.screens.consoles import ConsolesScreen
from tui.screens.serial import MOST_PASTED, SerialScreen

LEADER = "ctrl+right_square_bracket"


@dataclass
class Line(FakeSerial):
    """A line on which the guest goes on talking, in pieces as large as the test's."""

    said: bytes = b""
    refused: Refused | None = None
    pieces: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def follow(self, begin: int) -> AsyncGenerator[bytes, None]:
        if self.said[begin:]:
            yield self.said[begin:]
        while piece := await self.pieces.get():
            yield piece

    def say(self, data: bytes) -> None:
        """More; nothing at all is the end of its run."""
        self.pieces.put_nowait(data)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[FakeSerial]:
        if self.refused is not None:
            raise self.refused
        yield self


@pytest.fixture
def line(service: FakeService) -> Line:
    """The serial port of every guest."""
    made = Line()
    service.guests.line = made
    return made


async def open_below(pilot: Pilot[None], service: FakeService) -> None:
    assert isinstance(pilot.app.screen, ConsolesScreen)
    pilot.app.screen.select(service.named("demo").machine.key)
    await pilot.press("b")
    await until(pilot, lambda: isinstance(pilot.app.screen, SerialScreen))


# -- in the app


async def test_it_lies_below_the_list_which_lives_on_and_fills_the_screen_when_asked_to(
    drive: Drive, service: FakeService, line: Line
) -> None:
    line.say(b"demo login: ")
    async with drive(service) as pilot:
        await open_below(pilot, service)
        await until(pilot, lambda: "demo login:" in text_of(pilot))
        assert "web-01" in text_of(pilot)
        service._put(service.named("web-01").machine.key, State.PAUSED)
        await until(pilot, lambda: "web-01" in text_of(pilot) and "paused" in text_of(pilot))
        await pilot.press("q", "1", "enter", "up", "ctrl+c", "alt+x")
        await until(pilot, lambda: line.typed == b"q1\r\x1b[A\x03\x1bx")
        await pilot.press(LEADER, "w")
        await until(pilot, lambda: "web-01" not in text_of(pilot))
        assert "demo login:" in text_of(pilot)
        await pilot.press(LEADER, LEADER, LEADER, "full_stop")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        assert line.typed.endswith(b"\x1d")


async def test_what_is_wrong_is_said_with_what_to_do_about_it(
    drive: Drive, service: FakeService, line: Line
) -> None:
    service.failing["guest"] = Unreachable("demo does not answer", fix="Look at its log")
    async with drive(service) as pilot:
        await open_below(pilot, service)
        await until(pilot, lambda: "Look at its log" in text_of(pilot))
        await until(pilot, lambda: text_of(pilot).count("demo does not answer") == 2)


async def test_what_the_guest_asks_its_terminal_is_answered_but_not_what_it_asked_long_ago(
    drive: Drive, service: FakeService, line: Line
) -> None:
    line.said = b"old \x1b[6n\x1b[c"
    async with drive(service) as pilot:
        await open_below(pilot, service)
        await until(pilot, lambda: "old" in text_of(pilot))
        line.say(b"\r\nnew \x1b[6n")
        await until(pilot, lambda: line.typed == b"\x1b[2;5R")


async def test_much_at_once_is_shown_to_its_end_and_can_be_scrolled_through(
    drive: Drive, service: FakeService, line: Line
) -> None:
    count = 12_000
    async with drive(service) as pilot:
        await open_below(pilot, service)
        line.say(b"".join(b"\x1b[32mline %d\x1b[0m of many words\r\n" % n for n in range(count)))
        await pilot.press("k")  # has its turn in between
        await until(pilot, lambda: f"line {count - 1}" in text_of(pilot))
        assert line.typed == b"k"
        await pilot.press(LEADER, "pageup")
        await until(pilot, lambda: f"line {count - 1}" not in text_of(pilot))
        line.say(b"one more\r\n")
        await settle(pilot)
        assert "one more" not in text_of(pilot)
        await pilot.press("x")
        await until(pilot, lambda: "one more" in text_of(pilot))


async def test_a_storm_of_sizes_keeps_the_last_lines(
    drive: Drive, service: FakeService, line: Line
) -> None:
    async with drive(service) as pilot:
        await open_below(pilot, service)
        line.say(b"".join(b"line %d\r\n" % n for n in range(40)) + b"\x1b[33mprompt$ ")
        await until(pilot, lambda: "prompt$" in text_of(pilot))
        for width, height in ((40, 10), (12, 4), (200, 50), (12, 3), (100, 30)):
            await pilot.resize_terminal(width, height)
            await pilot.pause(0.05)
        line.say(b"ls\r\n")
        await until(pilot, lambda: "prompt$ ls" in text_of(pilot).split("line 39")[-1])
        await pilot.press(*[LEADER, "pageup"] * 4)
        await until(pilot, lambda: "line 20" in text_of(pilot))


async def test_pasted_megabytes_are_not_sent_and_lines_end_as_keys_end_them(
    drive: Drive, service: FakeService, line: Line
) -> None:
    async with drive(service) as pilot:
        await open_below(pilot, service)
        pilot.app.post_message(Paste("x" * (MOST_PASTED + 1)))
        await until(pilot, lambda: "too many" in text_of(pilot))
        pilot.app.post_message(Paste("two\r\nlines\n"))
        await until(pilot, lambda: line.typed == b"two\rlines\r")


async def test_where_somebody_else_types_one_looks_on(
    drive: Drive, service: FakeService, line: Line
) -> None:
    line.refused = Refused("ana types on demo's serial port")
    async with drive(service) as pilot:
        await open_below(pilot, service)
        await until(pilot, lambda: "view only: ana types" in text_of(pilot))
        line.say(b"hello")
        await until(pilot, lambda: "hello" in text_of(pilot))
        await pilot.press("a")
        await settle(pilot)
        assert line.typed == b""


async def test_the_end_of_the_vm_is_said_and_what_it_said_last_stays(
    drive: Drive, service: FakeService, line: Line
) -> None:
    async with drive(service) as pilot:
        await open_below(pilot, service)
        line.say(b"Power down.")
        line.say(b"")
        await until(pilot, lambda: "the VM has ended" in text_of(pilot))
        assert "Power down." in text_of(pilot)
        await pilot.press(LEADER, "q")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))


@pytest.mark.parametrize("key", ["s", "b"])
async def test_readonly_refuses_it_with_a_reason_and_asks_no_guest(
    drive: Drive, service: FakeService, line: Line, key: str
) -> None:
    async with drive(service, readonly=True) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press(key)
        await until(pilot, lambda: "Started with --readonly" in text_of(pilot))
        assert isinstance(pilot.app.screen, ConsolesScreen)
        assert "guest" not in [what[0] for what in service.asked]


# -- the terminal in it


def cells_of(text: bytes, columns: int = 12) -> list[tuple[str, int, int]]:
    """Letter, ink and paper of the first line; the cursor is hidden."""
    emulator = Emulator(columns, 2)
    emulator.feed(b"\x1b[?25l" + text)
    row = emulator.rows()[0]
    return [(chr(cell >> LETTER), cell >> 24 & 0xFFFFFF, cell & 0xFFFFFF) for cell in row]


@pytest.mark.parametrize(
    ("said", "ink", "paper"),
    [
        (b"", 0xD0D0D0, 0x000000),
        (b"\x1b[31m", 0xCD5555, 0x000000),
        (b"\x1b[1;31m", 0xFF7878, 0x000000),
        (b"\x1b[97;44m", 0xFFFFFF, 0x5C7FCD),
        (b"\x1b[105m", 0xD0D0D0, 0xE08CE0),
        (b"\x1b[38;5;208m", 0xFF8700, 0x000000),
        (b"\x1b[38;2;1;2;3;48;2;4;5;6m", 0x010203, 0x040506),
        (b"\x1b[38:2::1:2:3m\x1b[4:3m", 0x010203, 0x000000),
        (b"\x1b[31;7m", 0x000000, 0xCD5555),
        (b"\x1b[>4;1m\x1b[=5u\x1b[<u", 0xD0D0D0, 0x000000),
    ],
)
def test_colours(said: bytes, ink: int, paper: int) -> None:
    assert cells_of(said + b"x")[0] == ("x", ink, paper)


def test_wide_letters_take_two_places_and_half_of_one_is_none() -> None:
    assert "".join(char for char, *_ in cells_of("a漢b".encode(), 6)) == f"a漢{chr(BEHIND)}b  "
    row = Emulator(6, 1)
    row.feed("\x1b[?25la漢b".encode())
    assert "a漢b  " in written(row.rows()[0], Palette(0))
    row.feed(b"\x1b[1;3Hx")
    assert row.text() == "a?xb"
    row.feed("\r漢\x1b[1;1Hy".encode())
    assert row.text() == "y xb"


def test_text_around_what_has_no_width_is_whole() -> None:
    emulator = Emulator(20, 1)
    emulator.feed("e\u0301 a\u200db\u202ec\ufe0fd".encode())
    assert emulator.text().rstrip() == "é abcd"


def test_a_smaller_terminal_keeps_the_line_with_the_cursor_and_what_is_above_in_the_past() -> None:
    emulator = Emulator(10, 6)
    emulator.feed(b"1\r\n2\r\n3\r\n4\r\n5\r\n$ ")
    emulator.resize(10, 3)
    assert emulator.text().splitlines() == ["4", "5", "$"]
    emulator.scroll(2)
    assert emulator.text().splitlines() == ["2", "3", "4"]
    emulator.scroll(-2)
    emulator.feed(b"x")
    emulator.resize(20, 6)
    assert emulator.text().splitlines() == ["4", "5", "$ x"]


_SEQUENCES = st.builds(
    "\x1b[{}{}{}".format,
    st.sampled_from(["", "?", ">", "=", "<", "!"]),
    st.lists(st.sampled_from(["", "0", "3", "5", "38", "105", "9999", "4:3", "38:2::1:2:3"])).map(
        ";".join
    ),
    st.sampled_from([*"@ABCDEFGHIJKLMPXZ`abcdefghijklmnpqrstux", "$p", " q", '"q']),
)
_OTHERS = st.sampled_from(
    ["\x1b7", "\x1b8", "\x1bM", "\x1bD", "\x1bc", "\x1b#8", "\x1b(0", "\x1b]0;x\x07", "\n\n\n\n"]
)
_SAID = st.lists(st.one_of(_SEQUENCES, _OTHERS, st.text(max_size=12)), max_size=20).map("".join)


@given(said=_SAID, junk=st.binary(max_size=60), cut=st.integers(0, 200), size=st.integers(1, 30))
def test_nothing_that_a_guest_sends_breaks_it(said: str, junk: bytes, cut: int, size: int) -> None:
    emulator = Emulator(size, 5)
    data = said.encode("utf-8", "surrogatepass") + junk
    emulator.feed(data[:cut])
    emulator.resize(31 - size, 4)
    emulator.feed(data[cut:])
    emulator.scroll(3)
    assert {len(row) for row in emulator.rows()} == {31 - size}
    emulator.scroll(-3)
    emulator.text()


@given(cut=st.integers(0, 60))
def test_where_the_bytes_are_cut_never_matters(cut: int) -> None:
    data = "\x1b[31mré\x1b[38:2::1:2:3md\x1b[=5u\x1b[>4;1m漢\x1b[2;2H\x1b[1;44mend".encode()
    whole, parts = Emulator(10, 2), Emulator(10, 2)
    whole.feed(data)
    parts.feed(data[:cut])
    parts.feed(data[cut:])
    assert parts.rows() == whole.rows()


# -- its keys


@pytest.mark.parametrize(
    ("key", "character", "expected"),
    [
        ("a", "a", "a"),
        ("A", "A", "A"),
        ("é", "é", "é"),
        ("space", " ", " "),
        ("slash", "/", "/"),
        ("enter", "\r", "\r"),
        ("ctrl+c", None, "\x03"),
        ("ctrl+c", "\x03", "\x03"),
        ("ctrl+backslash", None, "\x1c"),
        ("ctrl+underscore", None, "\x1f"),
        ("ctrl+space", None, "\0"),
        ("ctrl+at", "\0", "\0"),
        ("alt+x", "x", "\x1bx"),
        ("alt+backspace", None, "\x1b\x7f"),
        ("alt+ctrl+c", None, "\x1b\x03"),
        ("shift+tab", None, "\x1b[Z"),
        ("f5", None, "\x1b[15~"),
        ("up", None, "\x1b[A"),
        ("left_shift", None, ""),
        ("ctrl+f5", None, ""),
    ],
)
def test_a_key_sends_what_a_terminal_sends(key: str, character: str | None, expected: str) -> None:
    assert sent(key, character) == expected


def test_cursor_keys_are_others_for_applications() -> None:
    emulator = Emulator(10, 2)
    assert not emulator.application_cursor
    emulator.feed(b"\x1b[?1h")
    assert emulator.application_cursor
    assert sent("up", None, application_cursor=True) == "\x1bOA"
    assert sent("pageup", None, application_cursor=True) == "\x1b[5~"
    emulator.feed(b"\x1b[?1l")
    assert not emulator.application_cursor
