"""argparse in our manner: errors are `UsageError`s, values are checked with words, no guessing.

Not here: what a command does. A command module holds `Verb`s, and `main` runs them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

from broker.cli import commands
from broker.cli.verb import Verb as Verb
from broker.errors import UsageError
from broker.human import did_you_mean

if TYPE_CHECKING:
    pass

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MEMORY = re.compile(r"(\d+)(M|MiB|G|GiB)?", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)([KMGT])(?:iB|B)?", re.IGNORECASE)
_HOST = re.compile(r"[^\s\x00-\x1f\x7f/]+")
_DIGITS = 18
_CENTURY = 36500 * 86400.0
_FORWARD = re.compile(r"(\d+):(\d+)")


class Parser(argparse.ArgumentParser):
    """One command's arguments."""

    def __init__(self, words: str, help: str, details: str = "") -> None:  # noqa: A002 - its name
        super().__init__(
            prog=f"broker {words}",
            description=f"{help}.",
            epilog=details or None,
            allow_abbrev=False,
            add_help=True,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_common(self)

    def error(self, message: str) -> NoReturn:
        """Turn argparse's complaint into ours.

        Raises:
            UsageError: Always.
        """
        message = message.removeprefix("argument ")
        raise UsageError(f"{self.prog}: {message}", fix=f"See: {self.prog} --help")

    def parse(self, words: list[str], given: argparse.Namespace) -> argparse.Namespace:
        """The arguments, on top of what was given before the command.

        Raises:
            UsageError: An option is unknown (the nearest is offered), missing or wrong.
        """
        # Intermixed: `media NAME --drive X eject` has a positional after an option that may lack.
        args, unknown = self.parse_known_intermixed_args(words, given)
        if unknown:
            word = unknown[0]
            if not word.startswith("-") or word == "-":
                self.error(f"{word!r} is one argument too many")
            near = did_you_mean(word.split("=")[0], self.option_names())
            raise UsageError(
                f"{self.prog}: {word} is not an option",
                fix=near or f"See: {self.prog} --help",
            )
        return args

    def option_names(self) -> tuple[str, ...]:
        """The long options it knows."""
        return tuple(sorted(name for name in self._option_string_actions if name[:2] == "--"))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that every command takes, also before the command."""
    absent = argparse.SUPPRESS
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", default=absent, help="print JSON")
    group.add_argument(
        "-q", "--quiet", action="store_true", default=absent, help="say nothing but errors"
    )
    group.add_argument(
        "-v", "--verbose", action=Louder, nargs=0, default=absent, help="log more; twice for all"
    )
    group.add_argument(
        "--log-format",
        type=one_of(commands.CHOICES["--log-format"]),
        default=absent,
        metavar="FORMAT",
        help="text or json (log.format)",
    )


class Louder(argparse.Action):
    """Counts `-v`, also across the words before and after the command."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Add one."""
        namespace.verbose = getattr(namespace, "verbose", 0) + 1


def one_of(choices: Iterable[str]) -> Callable[[str], str]:
    """A type that takes one of a few words and offers the nearest for another."""
    known = tuple(choices)

    def check(text: str) -> str:
        if text in known:
            return text
        near = did_you_mean(text, known)
        allowed = ", ".join(known)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not one of {allowed}" + (f". {near}" if near else "")
        )

    return check


def seconds(text: str) -> float:
    """A duration: `90`, `90s`, `15m`, `8h`, `2d`; more than nothing, and at most a century."""
    match = _DURATION.fullmatch(text)
    value = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if not 0 < value <= _CENTURY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 15m, 8h or 2d")
    return value


def seconds_or_zero(text: str) -> float:
    """A duration that may be 0."""
    return 0.0 if text in ("0", "0s") else seconds(text)


def count(text: str) -> int:
    """A whole number of at least 1."""
    if (number := count_or_zero(text, least=1)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return number


def count_or_zero(text: str, *, least: int = 0) -> int:
    """A whole number of at least 0, of as many digits as a database counts with."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {least} or more")
    if len(text) > _DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:_DIGITS]}… is too large a number")
    return int(text)


def host(text: str) -> str:
    """A host name or address, as a file may name it."""
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name or address of a host")
    return text


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports go from 1 to 65535")
    return int(text)


def port_or_any(text: str) -> int:
    """A TCP port, or 0 for any that is free."""
    return 0 if text == "0" else port(text)


def memory(text: str) -> int:
    """Memory in MiB: `512`, `512M`, `2G`."""
    match = _MEMORY.fullmatch(text)
    if match is None or int(match[1]) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount such as 512M or 2G")
    return int(match[1]) * (1024 if (match[2] or "M").upper().startswith("G") else 1)


def size(text: str) -> int:
    """The size of a disk in bytes: `20G`, `512M`, `1T`.

    Raises:
        UsageError: It is no size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) < 1:
        raise UsageError(f"{text!r} is not the size of a disk", fix="Say it as 20G or 512M")
    return int(match[1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[match[2].upper()]


def forward(text: str) -> tuple[int, int]:
    """`PORT:GUESTPORT`."""
    match = _FORWARD.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT:GUESTPORT, such as 2222:22")
    return port(match[1]), port(match[2])
