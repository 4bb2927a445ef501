from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable

import pytest

from broker.cli import args, commands, main


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (args.seconds, "90", 90.0),
        (args.seconds, "90s", 90.0),
        (args.seconds, "1.5m", 90.0),
        (args.seconds, "8h", 28800.0),
        (args.seconds, "2d", 172800.0),
        (args.seconds_or_zero, "0", 0.0),
        (args.count, "3", 3),
        (args.count_or_zero, "0", 0),
        (args.host, "2001:db8::1", "2001:db8::1"),
        (args.port, "65535", 65535),
        (args.port_or_any, "0", 0),
        (args.memory, "512", 512),
        (args.memory, "512M", 512),
        (args.memory, "2g", 2048),
        (args.memory, "2GiB", 2048),
        (args.forward, "2222:22", (2222, 22)),
        (args.one_of(("a", "b")), "b", "b"),
    ],
)
def test_a_value_is_read(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (args.seconds, "0", "90s, 15m, 8h or 2d"),
        (args.seconds, "-1", "90s"),
        (args.seconds, "1w", "90s"),
        (args.count, "0", "1 or more"),
        (args.count, "x", "1 or more"),
        (args.count_or_zero, "-1", "0 or more"),
        (args.count, "9" * 40, "too large"),
        (args.count_or_zero, "9" * 5000, "too large"),
        (args.seconds, "9" * 400, "90s"),
        (args.seconds, "36501d", "90s"),
        (args.host, "", "name or address"),
        (args.host, "a b", "name or address"),
        (args.host, "a\nb", "name or address"),
        (args.port, "0", "1 to 65535"),
        (args.port, "65536", "1 to 65535"),
        (args.port_or_any, "-1", "1 to 65535"),
        (args.memory, "0", "512M or 2G"),
        (args.memory, "2T", "512M or 2G"),
        (args.forward, "22", "PORT:GUESTPORT"),
        (args.forward, "0:22", "1 to 65535"),
        (args.one_of(("kvm", "tcg")), "kmv", "Did you mean kvm?"),
        (args.one_of(("kvm", "tcg")), "xyz", "is not one of kvm, tcg"),
    ],
)
def test_a_value_that_is_none_is_quoted_with_what_is_allowed(
    read: Callable[[str], object], text: str, said: str
) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        read(text)
    assert said in str(caught.value)


def test_options_may_stand_anywhere_among_the_words() -> None:
    parser = args.Parser("vm x", "Try it")
    parser.add_argument("vm")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--card", default="")
    found = parser.parse(["web", "--card", "nic1", "a", "b"], Namespace())
    assert (found.vm, found.words, found.card) == ("web", ["a", "b"], "nic1")


def test_what_is_taken_for_granted_of_a_lone_command_is_what_its_parser_says() -> None:
    told = [main.load(command) for command in commands.COMMANDS]
    granted = [verb for verb in told if verb.unasked is not None]
    assert granted
    for verb in granted:
        parser = args.Parser("it", "does it")
        verb.arguments(parser)
        assert vars(parser.parse([], Namespace())) == verb.unasked
