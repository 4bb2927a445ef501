"""`broker latency`: how long a person at a console waits, measured."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from broker.cli import headless
from broker.cli.args import Parser, Verb, count, one_of, seconds
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.latency_view import Progress, account, tell
from broker.errors import NoConsole, StoreError, Unreachable, UsageError
from broker.headless import run
from broker.headless.control_client import ControlledKeypress
from broker.headless.control_words import key_of
from broker.headless.probes import Keypress, Ping, Probe, SerialAnswer
from broker.headless.run import Pace
from broker.headless.session import Session
from broker.spice.screen import Rect

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import Service

METRICS: Final = ("keypress", "ping", "serial")
WAYS: Final = (headless.PROXY, headless.DIRECT)
LABEL: Final = "latency"
_BOX: Final = re.compile(r"(\d+),(\d+),(\d+),(\d+)")


def _arguments(parser: Parser) -> None:
    headless.add_console_or_file(parser)
    parser.add_argument(
        "--metric",
        type=one_of(METRICS),
        default="keypress",
        metavar="METRIC",
        help="keypress, ping or serial (keypress)",
    )
    parser.add_argument(
        "--via",
        type=_ways,
        default=[headless.PROXY],
        metavar="PATHS",
        help="proxy, direct, or both in turns: proxy,direct (proxy)",
    )
    parser.add_argument(
        "--cadence",
        type=seconds,
        default=2.0,
        metavar="TIME",
        help="from one sample to the next (2s)",
    )
    parser.add_argument(
        "--samples", type=count, default=60, metavar="N", help="how many over each path (60)"
    )
    parser.add_argument(
        "--max-seconds", type=seconds, default=600.0, metavar="TIME", help="for the whole run (600)"
    )
    parser.add_argument(
        "--scancode",
        type=_scancode,
        default=0x39,
        metavar="CODE",
        help="make code of the key, 0xE0xx for extended ones (0x39, space)",
    )
    parser.add_argument(
        "--box", type=_box, metavar="X,Y,W,H", help="judge this part of the screen only"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="a sample a line, in seconds; the rest goes beside it as .json",
    )
    parser.add_argument(
        "--control-socket",
        metavar="PATH",
        help="drive a viewer that listens there (ryll) instead of our own",
    )


def _run(call: Call, args: Namespace) -> Exit:
    _check(args)
    if args.control_socket:
        probe = ControlledKeypress(Path(args.control_socket), args.scancode)
        path = run.Path("control", probe.watching)
        driven = (call, args, args.control_socket, [path], lambda: probe.viewer)
        return call.alone(lambda: _measure(*driven))
    if args.file:
        file = headless.read_file(args.file)
        path = run.Path("file", lambda: _probing(args, lambda: headless.by_file(file), None))
        return call.alone(lambda: _measure(call, args, args.file, [path]))

    async def ask(service: Service) -> Exit:
        machine = (await service.find(args.console)).machine
        await headless.see_that_it_runs(service, machine, take_over=args.take_over)
        serial = await _serial_of(service, machine) if args.metric == "serial" else None
        async with contextlib.AsyncExitStack() as stack:
            if headless.PROXY in args.via:
                await stack.enter_async_context(headless.proxy_served(service))
            paths = [_path(args, service, machine, way, serial) for way in args.via]
            return await _measure(call, args, machine.full_name, paths)

    return call.ask(ask)


def _check(args: Namespace) -> None:
    if args.control_socket:
        if args.console or args.file:
            raise UsageError(
                "The viewer at the control socket has its console already",
                fix="Leave the console and --file out",
            )
        if args.metric != "keypress" or args.box:
            raise UsageError("A viewer at a control socket measures key presses, without a box")
        return
    headless.check_which(args)
    if args.file and (args.metric == "serial" or args.via != [headless.PROXY]):
        raise UsageError(
            "A .vv file leads one way, and to no serial port", fix="Name the console instead"
        )
    if args.box and args.metric != "keypress":
        raise UsageError(f"--box narrows the screen; --metric {args.metric} does not look at it")


def _path(
    args: Namespace, service: Service, machine: Machine, way: str, serial: Path | None
) -> run.Path:
    def opened() -> AbstractAsyncContextManager[Session]:
        if way == headless.PROXY:
            return headless.proxied(service, machine, LABEL, take_over=args.take_over)
        return headless.directly(service, machine)

    return run.Path(way, lambda: _probing(args, opened, serial))


@contextlib.asynccontextmanager
async def _probing(
    args: Namespace,
    opened: Callable[[], AbstractAsyncContextManager[Session]],
    serial: Path | None,
) -> AsyncIterator[Probe]:
    async with opened() as session:
        await session.settle()
        code = key_of(args.scancode)
        if serial is not None:
            async with SerialAnswer(session, code, serial).watching() as probe:
                yield probe
        elif args.metric == "ping":
            async with Ping(session).watching() as ping:
                yield ping
        else:
            async with Keypress(session, code, args.box).watching() as keypress:
                yield keypress


async def _serial_of(service: Service, machine: Machine) -> Path:
    """The socket of its serial port, which nobody may be using.

    Raises:
        NoConsole: It has none of this host.
        Refused: Somebody types there.
    """
    from broker.config.locations import Locations
    from broker.vm.paths import VmPaths

    if not machine.defined:
        raise NoConsole(f"{machine.name} has no serial port on this host")
    async with (await service.guest(machine.key)).serial().writing():
        where = Locations.from_env()
        paths = VmPaths.of(where.runtime_dir, where.data_dir, machine.name, machine.key.uuid)
        return paths.serial


async def _measure(
    call: Call,
    args: Namespace,
    target: str,
    paths: Sequence[run.Path],
    viewer: Callable[[], str] = str,
) -> Exit:
    """The run, its files and its account; what was measured is kept however it ends."""
    pace = Pace(args.cadence, args.samples, args.max_seconds)
    with contextlib.ExitStack() as stack:
        files = _files(stack, args.output, paths)
        progress = stack.enter_context(Progress(call.talk, paths, pace))

        def told(path: run.Path, sample: float | None) -> None:
            if sample is not None and path.name in files:
                files[path.name].write(f"{sample:.6f}\n")
            progress.update()

        try:
            await run.measure(paths, pace, told)
        finally:
            progress.close()
            document = account(args, target, paths, viewer())
            if args.output:
                _write(Path(args.output).with_suffix(".json"), document)
            tell(call, paths, document)
    if not any(path.samples for path in paths):
        raise Unreachable(
            f"{target}: nothing answered in {sum(path.asked for path in paths)} tries",
            fix="See that its guest reacts to that key; choose another with --scancode",
        )
    return Exit.DONE


def _files(
    stack: contextlib.ExitStack, output: str | None, paths: Sequence[run.Path]
) -> dict[str, TextIO]:
    """A file for the samples of each path, written line by line so that a broken run keeps them."""
    if not output:
        return {}
    wanted = Path(output)
    if wanted.suffix == ".json":
        raise UsageError(f"{output} is where the account goes", fix="Name it as FILE.csv")
    files: dict[str, TextIO] = {}
    for path in paths:
        where = wanted
        if len(paths) > 1:
            where = wanted.with_name(f"{wanted.stem}-{path.name}{wanted.suffix}")
        try:
            file = where.open("w", buffering=1, encoding="ascii")
        except OSError as exc:
            raise StoreError(f"{where} cannot be written ({exc.strerror})") from exc
        files[path.name] = stack.enter_context(file)
    return files


def _write(where: Path, document: dict[str, object]) -> None:
    try:
        where.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise StoreError(f"{where} cannot be written ({exc.strerror})") from exc


# -- options


def _ways(text: str) -> list[str]:
    ways = text.split(",")
    for way in ways:
        if way not in WAYS or ways.count(way) > 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not proxy, direct or proxy,direct")
    return ways


def _scancode(text: str) -> int:
    try:
        code = int(text, 0)
    except ValueError:
        code = 0
    if not 0 < code & 0x7F == code & 0xFF or code >> 8 not in (0, 0xE0):
        raise argparse.ArgumentTypeError(f"{text!r} is no make code, such as 0x39 or 0xE04B")
    return code


def _box(text: str) -> Rect:
    found = _BOX.fullmatch(text)
    left, top, width, height = map(int, found.groups()) if found else (0, 0, 0, 0)
    if not width or not height:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,WIDTH,HEIGHT in pixels")
    return Rect(top, left, top + height, left + width)


LATENCY = Verb(
    _arguments,
    _run,
    "It presses a key at a steady pace and times the answer: with --metric keypress the first\n"
    "drawing on the screen (QEMU looks every 30 ms, so up to that is waiting for its look), with\n"
    "serial the guest's answer on its serial port, with ping spice-server's own answer to a mouse\n"
    "that does not move. --via proxy,direct takes turns and shows what the proxy adds.",
)
