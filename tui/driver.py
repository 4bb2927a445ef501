"""Textual's driver for terminals, with what a guest's keyboard needs: presses *and* releases.

Where a terminal speaks kitty's keyboard protocol, it is switched to tell everything while a live
view has the keyboard, and back. Each switch is followed by a question; its answer comes between
the last key told the one way and the first told the other, so none is taken for what it is not.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final, TextIO, cast

from textual import events
from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import Keys
from textual.message import Message

from tui.probe import Answers

TEXTUALS: Final = 25
"""What Textual asks for: keys told apart, all of them, with their text."""
EVERYTHING: Final = 31
"""And besides: repeats and releases, and where on a US keyboard a key is."""
_RELEASES: Final = 2
_FLAGS: Final = re.compile(r"\x1b\[\?(\d+)u")
_LATE: Final = re.compile(r"\x1b\[[?>][\d;]*c")
_KEY: Final = re.compile(
    r"\x1b\[(?P<code>\d*)(?::(?P<shifted>\d*))?(?::(?P<base>\d*))?"
    r"(?:;(?P<modifiers>\d*)(?::(?P<kind>\d+))?)?(?:;(?P<text>[\d:]*))?(?P<end>[u~A-FHPQS])"
)
"""Source: the kitty keyboard protocol, "An overview"."""


class GuestKey(events.Event, bubble=False):
    """A key of a keyboard: pressed, repeated or let go. Never a binding's.

    Attributes:
        name: Textual's name of a key that writes nothing; else empty.
        code: The character of the key without modifiers, as a number; 0 when there is no key.
        base: The same on a US keyboard; 0 when that is the same, or not told.
        modifiers: 1 shift, 2 alt, 4 ctrl, 8 super, added up.
        down: It is not let go.
        text: What it writes.
        plain: What it is to whoever knows no releases.
        key: What Textual's parser looks at; says that it is to be passed on.
    """

    key: ClassVar[str] = "guest"

    def __init__(
        self,
        name: str,
        code: int,
        *,
        base: int = 0,
        modifiers: int = 0,
        down: bool = True,
        text: str = "",
        plain: Sequence[events.Key] = (),
    ) -> None:
        super().__init__()
        self.name = name
        self.code = code
        self.base = base
        self.modifiers = modifiers
        self.down = down
        self.text = text
        self.plain = plain


class ConsoleParser(XTermParser):
    """Knows releases, and the answers to our questions, which Textual would take for keys."""

    typed: ClassVar[str] = ""
    """What was typed before there was a parser; the first one takes it."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._everything = False

    def tick(self) -> Iterable[Message]:
        """What has become of time passing."""
        if typed := ConsoleParser.typed:
            ConsoleParser.typed = ""
            yield from self.feed(typed)
        yield from super().tick()

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        if len(sequence) > 2 and sequence.startswith("\x1b["):
            if flags := _FLAGS.fullmatch(sequence):
                self._everything = bool(int(flags[1]) & _RELEASES)
                return [events.Key(Keys.Ignore, sequence)]
            if _LATE.fullmatch(sequence):
                return [events.Key(Keys.Ignore, sequence)]
            if told := _KEY.fullmatch(sequence):
                return self._told(told)
        return super()._sequence_to_key_events(sequence, alt)

    def _told(self, told: re.Match[str]) -> Iterable[events.Key]:
        released = told["kind"] == "3"
        if released and not self._everything:
            return [events.Key(Keys.Ignore, told[0])]
        plain = () if released else list(super()._sequence_to_key_events(_stripped(told)))
        if self._everything:
            code = int(told["code"] or 1)
            guest = GuestKey(
                FUNCTIONAL_KEYS.get(f"{code}{told['end']}", ""),
                code,
                base=int(told["base"] or 0),
                modifiers=max(0, int(told["modifiers"] or 1) - 1),
                down=not released,
                text=_text(told["text"] or ""),
                plain=plain,
            )
            return [cast(events.Key, guest)]  # the parser passes on whatever it is given
        return plain


def _stripped(told: re.Match[str]) -> str:
    """The same without what Textual would break on."""
    parts = [told["code"], told["modifiers"], told["text"]]
    while parts and not parts[-1]:
        parts.pop()
    return "\x1b[" + ";".join(part or "" for part in parts) + told["end"]


def _text(codes: str) -> str:
    points = [int(code) for code in codes.split(":") if code]
    return "".join(chr(point) for point in points if 32 <= point < 0x110000)


linux_driver.XTermParser = ConsoleParser  # type: ignore[attr-defined]  # what it makes by that name


class Lasting:
    """A terminal to write to that may go away meanwhile: what is written then goes nowhere.

    Textual's thread that writes would end with the first error, and whoever writes after it, to
    put the terminal back in order, would wait for that thread for ever.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str | bytes) -> int:
        """Write it, or not; bytes as they are."""
        with contextlib.suppress(OSError):
            if isinstance(text, str):
                self._file.write(text)
            else:
                self._file.flush()
                self._file.buffer.write(text)
        return len(text)

    def flush(self) -> None:
        """Send on what was written, or not."""
        with contextlib.suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        """The terminal's descriptor."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """Whether it is still one."""
        return self._file.isatty()


class ConsoleDriver(LinuxDriver):
    """See the module. Of one class per terminal: `driver_for`."""

    answers: ClassVar[Answers] = Answers()

    def __init__(
        self,
        app: App[object],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file = cast(Any, Lasting(cast(TextIO, self._file)))
        self._everything = False
        ConsoleParser.typed = self.answers.typed.decode("utf-8", "replace")

    @property
    def tells_releases(self) -> bool:
        """Whether the terminal can."""
        return self.answers.kitty_keys

    def tell_everything(self, wanted: bool) -> None:
        """Have the terminal tell releases and modifiers too, where it can; or no more."""
        if self.tells_releases and wanted is not self._everything:
            self._everything = wanted
            self._switch()

    def write_bytes(self, data: bytes) -> None:
        """Write what is bytes already: a picture would be turned into text and back."""
        self.write(cast(str, data))  # the thread that writes passes on whatever it is given

    def start_application_mode(self) -> None:
        """Have the terminal; also after it was lent."""
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's
        if self._everything:
            self._switch()

    def disable_input(self) -> None:
        """Hear no more keys; those that came meanwhile are still heard.

        Textual's own waits a tenth of a second without looking, and throws away what is typed
        then: also what was meant for the screen behind an editor that fails at once.
        """
        if self.exit_event.is_set():
            return
        with contextlib.suppress(Exception):  # as Textual's: the terminal may be gone
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
            self._disable_mouse_support()
            self.exit_event.set()
            if self._key_thread is not None:
                self._key_thread.join()
            self.exit_event.clear()
            self._hear_the_rest()

    def _hear_the_rest(self) -> None:
        decode, parser = getincrementaldecoder("utf-8")("replace").decode, ConsoleParser()
        while select.select([self.fileno], [], [], 0)[0]:
            if not (data := os.read(self.fileno, 4096)):
                break
            for message in parser.feed(decode(data)):
                self.process_message(message)
        for message in parser.feed(""):  # no more comes of what was begun
            self.process_message(message)

    def _switch(self) -> None:
        self.write(f"\x1b[={EVERYTHING if self._everything else TEXTUALS};1u\x1b[?u")
        self.flush()


def driver_for(answers: Answers) -> type[ConsoleDriver]:
    """The driver for a terminal that said so."""
    return type("TerminalDriver", (ConsoleDriver,), {"answers": answers})
