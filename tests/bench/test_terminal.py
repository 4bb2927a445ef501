"""What the measuring terminal says a program's screen shows."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

from bench.terminal import Terminal, has

READY = (
    "import sys, tty; tty.setraw(0); say = lambda t: (sys.stdout.write(t), sys.stdout.flush())\n"
)


@contextlib.contextmanager
def running(program: str, *, rate: float | None = None) -> Iterator[Terminal]:
    argv = [sys.executable, "-c", READY + program]
    terminal = Terminal(argv, {"LANG": "C.UTF-8"}, columns=40, rows=5, rate=rate)
    try:
        yield terminal
    finally:
        terminal.end()


def test_a_word_of_which_only_letters_are_repainted_is_seen_whole() -> None:
    with running(
        "say('17 of 40'); sys.stdin.read(1); say('\\x1b[1;2H2'); sys.stdin.read(1)"
    ) as seen:
        begun = seen.until(has("17 of 40"))
        pressed = seen.press("x")
        assert begun < pressed < seen.until(has("12 of 40"))
        assert seen.cpu() > 0
        assert seen.memory() > 1


def test_what_was_read_is_played_before_a_key_is_pressed() -> None:
    with running("say('17 of 40'); sys.stdin.read(1); say('\\x1b[1;1H12')") as seen:
        for _ in range(60):
            if seen.written < len("17 of 40"):
                seen.listen(1.0)
        seen.press("x")
        assert has("17 of 40")(seen.lines)
        seen.until(has("12 of 40"))


def test_what_a_program_asks_is_answered_also_when_it_comes_in_two_pieces() -> None:
    asks = "say('\\x1b[6'); say('n'); say(repr(sys.stdin.read(6))); sys.stdin.read(1)"
    with running(asks) as seen:
        seen.until(has("'\\x1b[1;1R'"))


@pytest.mark.parametrize("rate", [None, 50_000.0])
def test_a_line_brings_all_whatever_its_speed(rate: float | None) -> None:
    with running("say('x' * 9000 + '\\x1b[Hend'); sys.stdin.read(1)", rate=rate) as seen:
        done = seen.until(has("end"))
        assert seen.written == 9006
        assert rate is None or done - seen.begun > 9006 / rate


def test_colours_are_those_of_a_cell() -> None:
    with running("say('\\x1b[2;3H\\x1b[38;2;1;2;3;48;2;255;0;16mx'); sys.stdin.read(1)") as seen:
        seen.watch(lambda: seen.colours(2, 1) == ("010203", "ff0010"))


def test_what_never_shows_is_an_error_that_says_what_did() -> None:
    with running("say('something else'); sys.stdin.read(1)") as seen:
        seen.until(has("something else"))
        with pytest.raises(RuntimeError, match="something else"):
            seen.until(has("expected"), 2)


def test_what_has_ended_costs_nothing_and_that_is_said() -> None:
    with running("say('goodbye')") as seen, pytest.raises(RuntimeError, match="goodbye"):
        seen.cost(60.0)
