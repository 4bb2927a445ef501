"""`broker top`: the live sessions on the whole terminal, drawn anew every second.

Where stdout is no terminal, each look is printed under the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from broker.cli import jsonable, session_view
from broker.cli.args import Parser, Verb, count, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.clock import SystemClock
from broker.human import counted, one_line, size, utc

if TYPE_CHECKING:
    from datetime import datetime

    from broker.model import ProxyStatus, Session
    from broker.service.port import Service

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The terminal's other screen, without a cursor; a line that is too long ends at the edge."""
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
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
    if call.out.is_terminal and not call.out.json:
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
    with _screen(call), _keys() as leave:
        done = 0
        async for _ in _ticks(every, leave):
            now, live = SystemClock().now(), await service.sessions()
            lines = _page(call, live, call.proxy_status(), now)
            height = os.get_terminal_size(sys.stdout.fileno()).lines
            shown = lines[: height - 1] if len(lines) >= height else lines
            body = "".join(f"{line}{REST_OF_LINE}\r\n" for line in shown)
            call.out.exactly(f"{HOME}{body}{REST_OF_SCREEN}")
            done += 1
            if done == looks:
                break
    return Exit.DONE


async def _ticks(every: float, leave: asyncio.Event) -> AsyncIterator[None]:
    """At once, and then every so many seconds until it is time to leave."""
    while not leave.is_set():
        yield
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every):
                await leave.wait()


def _page(call: Call, live: Sequence[Session], proxy: ProxyStatus, now: datetime) -> list[str]:
    channels = sum(len(session.channels) for session in live)
    to_client = sum(session.rate_to_client for session in live)
    to_server = sum(session.rate_to_server for session in live)
    where = f"serving on {proxy.host}:{proxy.tls_port}" if proxy.serving else "no proxy is serving"
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


@contextlib.contextmanager
def _screen(call: Call) -> Iterator[None]:
    """The other screen of the terminal; the one before is put back, whatever happens."""
    call.out.exactly(ENTER)
    try:
        yield
    finally:
        call.out.exactly(LEAVE)


@contextlib.contextmanager
def _keys() -> Iterator[asyncio.Event]:
    """An event that is set by a key which means to leave; keys are read as they are pressed."""
    leave = asyncio.Event()
    stdin = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if stdin is None:
        yield leave
        return
    import termios
    import tty

    def pressed() -> None:
        try:
            typed = os.read(stdin, 64)
        except OSError:
            typed = b""
        nobody_is_there = not typed
        if nobody_is_there or (typed[:1] in LAST_KEYS and typed[:2] not in (b"\x1b[", b"\x1bO")):
            leave.set()

    before = termios.tcgetattr(stdin)
    loop = asyncio.get_running_loop()
    tty.setcbreak(stdin)
    loop.add_reader(stdin, pressed)
    try:
        yield leave
    finally:
        loop.remove_reader(stdin)
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


TOP = Verb(
    _arguments,
    _run,
    "q or Ctrl+C leaves. Where stdout is no terminal, each look is printed under the one before;\n"
    "with --json each is one object on a line.",
)
