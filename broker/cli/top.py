"""`broker top`: the live sessions on the whole terminal, drawn anew every second.

Where stdout is no terminal, each look is printed under the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.cli import jsonable, session_view
from broker.cli.args import Parser, Verb, count, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.clock import SystemClock
from broker.human import counted, one_line, size, utc
from broker.within import within

if TYPE_CHECKING:
    from datetime import datetime

    from broker.model import ProxyStatus, Session
    from broker.service.port import Service

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The terminal's other screen, without a cursor; a line that is too long ends at the edge."""
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
HEIGHT = 24
"""Lines of a terminal that does not know how many it has, as on a serial line."""
LAST_KEYS = (b"q", b"Q", b"\x1b", b"\x03")


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "--every", type=seconds, default=1.0, metavar="SECONDS", help="between two looks (1)"
    )
    parser.add_argument(
        "-n", "--count", type=count, default=None, metavar="N", help="leave after N looks"
    )
    parser.add_argument("--once", action="store_true", help="look once; the same as -n 1")


def _run(call: Call, args: Namespace) -> Exit:
    looks = 1 if args.once else args.count
    can_draw = call.out.is_terminal and os.environ.get("TERM", "") not in ("", "dumb")
    if can_draw and looks != 1 and not call.out.json:  # one look would be gone with the screen
        return call.ask(lambda service: _watch(call, service, args.every, looks))
    return call.ask(lambda service: _print(call, service, args.every, looks))


async def _print(call: Call, service: Service, every: float, looks: int | None) -> Exit:
    """One look under the other, for a pipe or a file."""
    done = 0
    while True:
        now, live, proxy = SystemClock().now(), await service.sessions(), call.proxy_status()
        if call.out.json:
            call.out.line(
                {
                    "at": utc(now),
                    "proxy": jsonable.proxy(proxy),
                    "sessions": [jsonable.session(session, now) for session in live],
                }
            )
        else:
            call.out.text("\n".join(_page(call, live, proxy, now)))
        done += 1
        if done == looks:
            return Exit.DONE
        if not call.out.json:
            call.out.text("")
        await asyncio.sleep(every)


async def _watch(call: Call, service: Service, every: float, looks: int | None) -> Exit:
    """On the whole terminal, until a key or `looks` say otherwise."""
    stir = _Stir()
    with _screen(call) as screen, _keys(stir) as keys, _stops(screen, keys, stir):
        done = 0
        async for _ in _ticks(every, stir):
            now, live = SystemClock().now(), await service.sessions()
            page = _page(call, live, call.proxy_status(), now)
            height = os.get_terminal_size(sys.stdout.fileno()).lines or HEIGHT
            lines = _fitted(page, height)
            body = "\r\n".join(f"{line}{REST_OF_LINE}" for line in lines)
            rest = f"\r\n{REST_OF_SCREEN}" if len(lines) < height else ""
            call.out.exactly(f"{HOME}{body}{rest}")
            done += 1
            if done == looks:
                break
    return Exit.DONE


def _fitted(page: list[str], height: int) -> list[str]:
    """As many lines as there is room for; how many sessions that leaves out is said."""
    if len(page) <= height:
        return page
    shown = page[: height - 1]
    return [*shown, f"and {len(page) - len(shown)} more"]


class _Stir:
    """Why not to wait for the next look: a key that means to leave, or a terminal to paint anew."""

    def __init__(self) -> None:
        self.leaving = False
        self.called = asyncio.Event()

    def leave(self) -> None:
        """That was the last look."""
        self.leaving = True
        self.called.set()


async def _ticks(every: float, stir: _Stir) -> AsyncIterator[None]:
    """At once, and then every so many seconds until it is time to leave."""
    while not stir.leaving:
        yield
        with contextlib.suppress(TimeoutError):
            async with within(every):
                await stir.called.wait()
        stir.called.clear()


def _page(call: Call, live: Sequence[Session], proxy: ProxyStatus, now: datetime) -> list[str]:
    channels = sum(len(session.channels) for session in live)
    to_client = sum(session.rate_to_client for session in live)
    to_server = sum(session.rate_to_server for session in live)
    where = f"serving on {proxy.host}:{proxy.tls_port}" if proxy.serving else "no proxy is serving"
    if proxy.draining:
        where += ", being stopped"
    lines = [
        call.out.paint("bold", f"broker top  {utc(now)}  {one_line(where)}"),
        f"{counted(len(live), 'session')}, {counted(channels, 'channel')}, "
        f"{size(int(to_client))}/s to viewers, "
        f"{size(int(to_server))}/s to machines",
        "",
    ]
    if live:
        lines += call.out.table_lines(*session_view.table(live, now, call.out.width))
    return lines


class _Loan(Protocol):
    """Something of the terminal's that is taken, and given back while we are stopped."""

    def take(self) -> None:
        """Have it."""

    def give_back(self) -> None:
        """Leave it as it was."""


class _Screen:
    """The other screen of the terminal."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def take(self) -> None:
        self._call.out.exactly(ENTER)

    def give_back(self) -> None:
        self._call.out.exactly(LEAVE)


class _Keyboard:
    """A terminal that passes keys on as they are pressed."""

    def __init__(self, descriptor: int) -> None:
        import termios

        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)

    def take(self) -> None:
        import tty

        tty.setcbreak(self._descriptor)

    def give_back(self) -> None:
        import termios

        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


@contextlib.contextmanager
def _screen(call: Call) -> Iterator[_Screen]:
    """The screen is put back, whatever happens."""
    screen = _Screen(call)
    screen.take()
    try:
        yield screen
    finally:
        screen.give_back()


@contextlib.contextmanager
def _keys(stir: _Stir) -> Iterator[_Keyboard | None]:
    """Keys are read as they are pressed; None where nobody can press one."""
    stdin = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if stdin is None:
        yield None
        return

    def pressed() -> None:
        try:
            typed = os.read(stdin, 64)
        except OSError:
            typed = b""
        nobody_is_there = not typed
        if nobody_is_there or (typed[:1] in LAST_KEYS and typed[:2] not in (b"\x1b[", b"\x1bO")):
            stir.leave()

    keyboard = _Keyboard(stdin)
    loop = asyncio.get_running_loop()
    keyboard.take()
    loop.add_reader(stdin, pressed)
    try:
        yield keyboard
    finally:
        loop.remove_reader(stdin)
        keyboard.give_back()


@contextlib.contextmanager
def _stops(screen: _Loan, keys: _Loan | None, stir: _Stir) -> Iterator[None]:
    """Ctrl-Z gives the shell its terminal as it was, `fg` takes it again.

    A shell knows nothing of our modes: after `fg` it is for us to set them. A new size is drawn
    at once.
    """
    loop = asyncio.get_running_loop()
    loans: list[_Loan] = [screen, *([keys] if keys is not None else [])]

    def stop() -> None:
        for loan in reversed(loans):
            loan.give_back()
        loop.remove_signal_handler(signal.SIGTSTP)
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)  # this thread goes no further
        loop.add_signal_handler(signal.SIGTSTP, stop)
        for loan in loans:
            loan.take()
        stir.called.set()

    loop.add_signal_handler(signal.SIGTSTP, stop)
    loop.add_signal_handler(signal.SIGWINCH, stir.called.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGWINCH)


TOP = Verb(
    _arguments,
    _run,
    "q or Ctrl+C leaves. Where stdout is no terminal, each look is printed under the one before;\n"
    "with --json each is one object on a line.",
)
