"""Keys of a terminal that tells everything: what it says, and what a guest gets of it."""

from __future__ import annotations

import os
import pty
import signal
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any

import pytest
from textual.events import AppBlur, Event, Key, Paste

from broker.errors import Refused
from tests.fakes.service import FakeService
from tests.tui.conftest import Drive, settle
from tests.tui.test_live import live, until
from tui import probe
from tui.driver import ConsoleDriver, ConsoleParser, GuestKey, driver_for
from tui.live.keyboard import Keyboard, Move, is_leader
from tui.live.typed import Typed
from tui.screens.consoles import ConsolesScreen
from tui.screens.leader import LeaderScreen
from tui.screens.live import LiveScreen

EVERYTHING, TEXTUALS = "\x1b[?31u", "\x1b[?25u"


def heard(*said: str) -> list[Event]:
    """What becomes of what a terminal says."""
    parser = ConsoleParser()
    return [event for each in said for event in parser.feed(each) if isinstance(event, Event)]


def guest_keys(*said: str) -> list[GuestKey]:
    found = heard(EVERYTHING, *said)
    assert all(isinstance(event, GuestKey) for event in found), found
    return [event for event in found if isinstance(event, GuestKey)]


def to_a_guest(*said: str) -> list[tuple[str, bool] | str]:
    """Moves and texts that these keys are."""
    keyboard = Keyboard()
    meant = [keyboard.heard(key) for key in guest_keys(*said)]
    return [
        (each.key, each.down) if isinstance(each, Move) else each.text for each in meant if each
    ]


# -- what a terminal says


def test_the_terminal_s_answer_says_from_where_on_releases_are_told() -> None:
    before, after = "\x1b[97;;97u", "\x1b[97;1:3u"
    events = heard(before, after, EVERYTHING, before, after, TEXTUALS, before, after)
    assert [type(event) for event in events] == [Key, GuestKey, GuestKey, Key]
    assert [event.key for event in events if isinstance(event, Key)] == ["a", "a"]


@pytest.mark.parametrize(
    "late", ["\x1b[?62;4c", "\x1b[>41;379;0c", "\x1b[?0u", "\x1b[?25u"], ids=lambda text: text[2:]
)
def test_answers_that_come_late_are_no_keys(late: str) -> None:
    assert [event.key for event in heard(late, "x") if isinstance(event, Key)] == ["x"]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("\x1b[97;1:2u", "a"),
        ("\x1b[97:65:113;2;65u", "A"),
        ("\x1b[1;1:2A", "up"),
        ("\x1b[A", "up"),
        ("\x1b[1;5C", "ctrl+right"),
        ("\x1b[15~", "f5"),
        ("\x1b[Z", "shift+tab"),
        ("\x1b[99;5u", "ctrl+c"),
    ],
)
def test_what_textual_would_break_on_is_an_ordinary_key_outside_a_guest(
    said: str, key: str
) -> None:
    assert [event.key for event in heard(said) if isinstance(event, Key)] == [key]


def test_a_paste_is_a_paste_while_everything_is_told() -> None:
    (event,) = heard(EVERYTHING, "\x1b[200~two\rlines\x1b[201~")
    assert isinstance(event, Paste)
    assert event.text == "two\rlines"


def test_what_was_typed_before_there_was_a_parser_comes_first() -> None:
    ConsoleParser.typed = "/k8"
    parser = ConsoleParser()
    events = [*parser.tick(), *parser.feed("s")]
    assert [event.key for event in events if isinstance(event, Key)] == ["slash", "k", "8", "s"]
    assert ConsoleParser.typed == ""


# -- what a guest gets


def test_a_key_goes_down_repeats_and_comes_up() -> None:
    assert to_a_guest("\x1b[97;;97u", "\x1b[97;1:2;97u", "\x1b[97;1:3u") == [
        ("a", True),
        ("a", True),
        ("a", False),
    ]


def test_modifiers_alone_and_both_sides_of_them() -> None:
    pressed = to_a_guest(
        *(f"\x1b[{code};2u\x1b[{code};1:3u" for code in (57441, 57448, 57443, 57453, 57450, 57358))
    )
    assert [each[0] for each in pressed if each[1] is True] == [
        "shift",
        "ctrl_r",
        "alt",
        "alt_r",
        "meta_r",
        "caps_lock",
    ]
    assert len(pressed) == 12


def test_a_letter_is_let_go_as_what_was_pressed_though_shift_went_up_first() -> None:
    said = ["\x1b[57441;2u", "\x1b[97:65;2;65u", "\x1b[57441;1:3u", "\x1b[97;1:3u"]
    assert to_a_guest(*said) == [("shift", True), ("a", True), ("shift", False), ("a", False)]


def test_keys_go_by_their_place_and_what_has_none_by_its_text() -> None:
    german = "\x1b[122::121;;122u\x1b[246::59;;246u\x1b[60::60;;60u"
    assert to_a_guest(german) == [("y", True), (";", True), ("<", True)]
    composed = "\x1b[0;;233u\x1b[8364;;8364u"
    assert to_a_guest(composed) == ["é", "€"]


def test_the_keypad_and_keys_with_names() -> None:
    said = ["\x1b[57399u", "\x1b[57414u", "\x1b[57419u", "\x1b[13u", "\x1b[P", "\x1b[13~", "\x1b[H"]
    assert to_a_guest(*said) == [
        (key, True) for key in ("kp_0", "kp_enter", "kp_8", "ret", "f1", "f3", "home")
    ]


def test_a_release_of_what_was_not_pressed_means_nothing() -> None:
    assert to_a_guest("\x1b[108;1:3u", "\x1b[57441;1:3u") == []


def test_letting_go_leaves_nothing_down_and_the_last_goes_first() -> None:
    keyboard = Keyboard()
    for key in guest_keys("\x1b[57442;5u", "\x1b[57443;7u", "\x1b[3;7~"):
        keyboard.heard(key)
    assert keyboard.let_go() == [Move(key, down=False) for key in ("delete", "alt", "ctrl")]
    assert keyboard.let_go() == []


def test_the_leader_is_where_it_is_on_a_us_keyboard_too() -> None:
    us, german, plain = guest_keys("\x1b[93;5u", "\x1b[43::93;5u", "\x1b[93;;93u")
    assert [is_leader(key) for key in (us, german, plain)] == [True, True, False]


# -- in the live view


def say(pilot: object, *said: str) -> None:
    for key in guest_keys(*said):
        pilot.app.post_message(key)  # type: ignore[attr-defined]


async def test_presses_and_releases_reach_the_guest_and_a_menu_gets_keys(
    drive: Drive, service: FakeService
) -> None:
    asked = service.guests.screen.asked
    async with drive(service) as pilot:
        await live(pilot, service)
        say(pilot, "\x1b[108;1:3u", "\x1b[57443;3u", "\x1b[9;3u", "\x1b[9;3:3u", "\x1b[57443;1:3u")
        await until(pilot, lambda: ("key", "alt", "up") in asked)
        assert asked == [
            ("key", "alt", "down"),
            ("key", "tab", "down"),
            ("key", "tab", "up"),
            ("key", "alt", "up"),
        ]
        say(pilot, "\x1b[57442;5u", "\x1b[93;5u", "\x1b[46;;46u", "\x1b[46;1:3u")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConsolesScreen))
        assert asked[4:] == [("key", "ctrl", "down"), ("key", "ctrl", "up")]


async def test_a_key_that_is_held_when_the_terminal_loses_the_focus_is_let_go(
    drive: Drive, service: FakeService
) -> None:
    asked = service.guests.screen.asked
    async with drive(service) as pilot:
        await live(pilot, service)
        say(pilot, "\x1b[57443;3u")
        await until(pilot, lambda: ("key", "alt", "down") in asked)
        pilot.app.post_message(AppBlur())
        await until(pilot, lambda: ("key", "alt", "up") in asked)


async def test_a_key_that_is_held_while_one_leaves_is_let_go(
    drive: Drive, service: FakeService
) -> None:
    asked = service.guests.screen.asked
    async with drive(service) as pilot:
        await live(pilot, service)
        say(pilot, "\x1b[57441;2u")
        await until(pilot, lambda: ("key", "shift", "down") in asked)
        pilot.app.screen.dismiss(None)
        await until(pilot, lambda: ("key", "shift", "up") in asked)


async def test_a_key_that_was_not_taken_is_not_let_go(drive: Drive, service: FakeService) -> None:
    screen = service.guests.screen
    screen.failing["key"] = Refused("demo would not hear a key: it is paused")
    async with drive(service) as pilot:
        await live(pilot, service)
        say(pilot, "\x1b[97;;97u", "\x1b[97;1:3u")
        await until(pilot, lambda: screen.asked)
        await settle(pilot)
        assert screen.asked == [("key", "a", "down")]


async def test_who_only_looks_on_moves_no_key_of_the_guest(
    drive: Drive, service: FakeService
) -> None:
    async with drive(service, readonly=True) as pilot:
        assert isinstance(pilot.app.screen, ConsolesScreen)
        pilot.app.screen.select(service.named("demo").machine.key)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LiveScreen))
        say(pilot, "\x1b[97;;97u", "\x1b[97;1:3u", "\x1b[93;5u")
        await until(pilot, lambda: isinstance(pilot.app.screen, LeaderScreen))
        assert service.guests.screen.asked == []


# -- asking the terminal


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of one."""
    far, near = pty.openpty()
    yield far, near
    os.close(far)
    os.close(near)


@pytest.mark.parametrize(
    ("answer", "understood"),
    [
        (b"\x1b[?0u\x1b[?62;52c", probe.Answers(kitty_keys=True)),
        (b"/k8\x1b[?0us\x1b[?62c", probe.Answers(kitty_keys=True, typed=b"/k8s")),
        (b"j\x1b[?64;1;2c", probe.Answers(typed=b"j")),
        (b"", probe.Answers()),
    ],
    ids=["kitty", "typed-ahead", "xterm", "silent"],
)
def test_the_terminal_is_asked_without_an_echo_and_is_as_before_afterwards(
    terminal: tuple[int, int], answer: bytes, understood: probe.Answers
) -> None:
    far, near = terminal
    before = termios.tcgetattr(near)
    with probe.asking(near, near) as asked:
        assert os.read(far, 100) == probe.QUESTION
        if answer:
            threading.Thread(target=os.write, args=(far, answer)).start()
            # It has all the time that this machine takes.
            asked._until += 30
        assert asked.answers() == understood
    assert termios.tcgetattr(near) == before
    os.write(near, b"end")
    assert os.read(far, 100) == b"end"


def test_a_terminal_that_knows_no_releases_is_never_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    for able in (False, True):
        driver = object.__new__(driver_for(probe.Answers(kitty_keys=able)))
        driver._everything = False
        monkeypatch.setattr(type(driver), "write", lambda _, data: written.append(data))
        monkeypatch.setattr(ConsoleDriver, "flush", lambda _: None)
        driver.tell_everything(True)
        driver.tell_everything(False)
    assert written == ["\x1b[=31;1u\x1b[?u", "\x1b[=25;1u\x1b[?u"]


def test_a_key_says_what_it_writes() -> None:
    (key,) = guest_keys("\x1b[97:65;2;65u")
    assert (key.code, key.modifiers, key.down, key.text) == (97, 1, True, "A")
    assert Keyboard().heard(key) == Move("a", down=True)
    assert Keyboard().heard(guest_keys("\x1b[0;;233u")[0]) == Typed(text="é")


class LastWords:
    """The thread that reads keys: while it ends, another key is pressed."""

    def __init__(self, far: int, typed: bytes) -> None:
        self._far, self._typed = far, typed

    def join(self) -> None:
        os.write(self._far, self._typed)


@pytest.mark.parametrize(
    ("typed", "keys"), [(b"x", ["x"]), (b"ab\x1b", ["a", "b", "escape"]), (b"", [])]
)
def test_a_key_that_is_pressed_while_the_terminal_is_lent_is_not_lost(
    typed: bytes, keys: list[str]
) -> None:
    far, near = pty.openpty()
    try:
        tty.setraw(near)
        driver: Any = object.__new__(ConsoleDriver)
        driver.fileno, driver._mouse = near, False
        driver.exit_event, driver._key_thread = threading.Event(), LastWords(far, typed)
        heard: list[str] = []
        driver.process_message = lambda event: heard.append(event.key)
        driver.disable_input()
        assert heard == keys
        assert not driver.exit_event.is_set()
    finally:
        os.close(far)
        os.close(near)
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
