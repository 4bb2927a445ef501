"""`broker vm serial` in pipes, and what keeps a terminal whole; in one: tests/integration."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.serial_pipe import WINDOW_BYTES, Listener, NotSaid, Wish, converse
from broker.cli.stdin import chunks
from broker.cli.terminal import Modes, harmless
from broker.errors import BrokerError
from tests.broker.cli.calling import called
from tests.fakes.guest import FakeSerial
from tests.fakes.service import FakeService

LOGIN = re.compile(b"(log)in: $", re.MULTILINE)


@given(cuts=st.lists(st.integers(0, 21), max_size=6))
def test_a_text_is_found_wherever_it_is_cut(cuts: list[int]) -> None:
    said, places = b"booting\r\nlogin: later", sorted({0, 22, *cuts})
    listener, heard = Listener(re.compile(b"log(in): "), 100), b""
    for begin, end in itertools.pairwise(places):
        if listener.match is None:
            heard += listener.take(said[begin:end])
    assert heard == b"booting\r\nlogin: "
    assert listener.position == 100 + len(heard)


def test_what_was_said_long_ago_is_forgotten() -> None:
    listener = Listener(LOGIN, 0)
    for _ in range(100):
        listener.take(b"x" * WINDOW_BYTES)
    assert listener.position == 100 * WINDOW_BYTES
    assert len(listener._recent) == WINDOW_BYTES


async def test_the_end_of_the_vm_before_its_word_is_a_failure() -> None:
    with pytest.raises(BrokerError, match=r"web ended before it said '\(log\)in"):
        await converse(FakeSerial(b"oops"), "web", Wish(0, LOGIN), lambda _: None)


async def test_silence_is_not_success() -> None:
    line = FakeSerial(b"booting", quiet=True)
    with pytest.raises(NotSaid, match=r"within 0\.01 s"):
        await converse(line, "web", Wish(0, LOGIN, timeout=0.01), lambda _: None)
    heard = await converse(line, "web", Wish(4, timeout=0.01), lambda _: None)
    assert heard.position == 7


def test_the_document_says_what_was_matched_and_where_to_go_on() -> None:
    service = FakeService()
    service.guests.line = FakeSerial(b"booting\r\nlogin: root")
    ran = called("vm serial web-01 --no-input --until (log)in --json", service)
    assert json.loads(ran.out) == {
        "name": "web-01",
        "position": 14,
        "text": "booting\r\nlogin",
        "matched": "login",
        "groups": ["log"],
    }


def test_what_comes_is_passed_on_as_it_is() -> None:
    service = FakeService()
    service.guests.line = FakeSerial(b"a\r\nb")
    assert called("vm serial web-01 --no-input --history 1", service).out == "b"
    assert called("vm serial web-01 --no-input --after 1", service).out == "\r\nb"


def test_a_vm_that_is_off_and_a_pattern_that_is_none_are_told() -> None:
    service = FakeService()
    service.guests.line = FakeSerial(lives=False)
    assert called("vm serial web-01 --no-input", service).code == 4
    ran = called("vm serial web-01 --until (", service)
    assert (ran.code, "is not a regular expression" in ran.err) == (2, True)


async def test_a_pipe_and_a_file_are_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 9000)
    with (tmp_path / "file").open("rb") as file:
        assert sum([len(data) async for data in chunks(file.fileno())]) == 9000
    read, write = os.pipe()
    os.write(write, b"first")
    got = []
    async with asyncio.timeout(60):
        async for data in chunks(read):
            got.append(data)
            if len(got) == 1:
                os.write(write, b"second")
                os.close(write)
    os.close(read)
    assert got == [b"first", b"second"]


@pytest.mark.parametrize(
    ("shown", "undone"),
    [
        (b"plain", b""),
        (b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"),
        (b"\x1b[?1049h vi \x1b[?1049l", b""),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?7l", b"\x1b[?7h"),
    ],
)
def test_modes_that_a_guest_left_are_taken_back(shown: bytes, undone: bytes) -> None:
    for cut in range(len(shown) + 1):
        modes = Modes()
        modes.see(shown[:cut])
        modes.see(shown[cut:])
        assert modes.undo() == b"\x1b[0m\x1b>" + undone


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"\x1b[1;31mred\x1b[0m\r\n", b"\x1b[1;31mred\x1b[0m\r\n"),
        (b"a\x1b[6nb\x1b[cc\x1b[>0cd\x05", b"abcd"),
        (b"\x1b]0;title\x07x\x1b]52;c;?\x1b\\y", b"xy"),
        (b"\x1bP$qm\x1b\\z\x1b[8;50;132t", b"z"),
        (b"\x1b[2J\x1b[H\x1b[10;20H", b"\x1b[2J\x1b[H\x1b[10;20H"),
    ],
)
def test_the_past_makes_no_terminal_answer(said: bytes, kept: bytes) -> None:
    assert harmless(said) == kept
