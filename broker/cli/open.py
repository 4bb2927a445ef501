"""`broker open NAME`: the viewer on a console, and a proxy for as long as it lives."""

from __future__ import annotations

import argparse
import asyncio
import sys
from argparse import Namespace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from broker.cli.args import Parser, Verb
from broker.cli.call import Call
from broker.cli.diagnostics import Exit
from broker.cli.link_options import add_label, add_policy, add_turn, policy_of
from broker.cli.show import add_console
from broker.errors import NoConsole, Unreachable, UsageError, ViewerMissing
from broker.human import one_line
from broker.model import Protocol, State, WhenOccupied
from broker.service.naming import unmistakable
from broker.service.port import VIEWER_LABEL, ExportRequest
from broker.service.viewer import ended, from_elsewhere, has_display, see_that_it_is_free
from broker.within import within

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import ConsoleInfo, Opened, Service

_LINE_MAX = 8192
CONNECT_SECONDS = 30.0
"""How long a viewer may take to connect before `--no-wait` gives up on it."""


def _arguments(parser: Parser) -> None:
    add_console(parser, optional=True)
    parser.add_argument(
        "--console-token",
        "--nova-token",
        metavar="FILE",
        help="open what a hypervisor's console token (or URL with one) stands for; - reads it here",
    )
    add_label(parser, default=VIEWER_LABEL)
    add_policy(parser)
    add_turn(parser)
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="wait for the viewer to be closed (default: only when no proxy serves yet)",
    )


def _run(call: Call, args: Namespace) -> Exit:
    async def ask(service: Service) -> Exit:
        info = await _named(service, args)
        request = ExportRequest(label=args.label, policy=policy_of(args))
        if request.policy.occupied is WhenOccupied.REFUSE:
            see_that_it_is_free(info.machine, await service.sessions())
        await open_console(call, service, info.machine, request, wait=args.wait)
        return Exit.DONE

    return call.ask(ask)


async def _named(service: Service, args: Namespace) -> ConsoleInfo:
    """The console that was asked for. A token is read from a file: arguments are seen by all."""
    if (args.console is None) == (args.console_token is None):
        raise UsageError("Name a console, or give --console-token", fix="See: broker open --help")
    if args.console is not None:
        return await service.find(args.console)
    try:
        text = await asyncio.to_thread(_read, args.console_token)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise UsageError(
            f"{one_line(args.console_token)} cannot be read ({why})",
            fix="Give a file that holds the token, or - to type it",
        ) from None
    return await service.find_by_token(text)


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.readline(_LINE_MAX)
    with Path(name).open(encoding="utf-8") as file:
        return file.readline(_LINE_MAX)


async def open_console(
    call: Call,
    service: Service,
    machine: Machine,
    request: ExportRequest | None = None,
    *,
    wait: bool | None = None,
) -> None:
    """Start the viewer on a machine's console and stay for as long as it needs us.

    Args:
        request: How the viewer's file is made; None allows everything.
        wait: For the viewer's end; None waits when the proxy is ours.

    Raises:
        NoConsole: The machine is off.
        ViewerMissing: No viewer or no display.
    """
    if machine.defined and machine.state is State.STOPPED:
        called = quote(await unmistakable(service, machine))
        raise NoConsole(f"{machine.name} is off", fix=f"Start it: broker vm start {called}")
    if not has_display():
        raise ViewerMissing(
            "There is no display here: neither DISPLAY nor WAYLAND_DISPLAY is set",
            fix=from_elsewhere(await unmistakable(service, machine), machine.protocol),
        )
    needs_proxy = machine.protocol is not Protocol.VNC
    ours = needs_proxy and not (await service.proxy_status()).serving
    if ours:
        await service.host_proxy()
    opened = await service.open_viewer(machine.key, request)
    _say(call, opened, ours=ours)
    if wait or (wait is None and ours):
        try:
            await ended(opened.pid)
        except asyncio.CancelledError:
            call.talk.note("the viewer goes on without us")
            raise
    elif ours:
        await _connected(service, machine, opened)


def _say(call: Call, opened: Opened, *, ours: bool) -> None:
    if call.out.json:
        call.out.document(
            {
                "name": opened.name,
                "pid": opened.pid,
                "command": list(opened.command),
                "hosts_proxy": ours,
            }
        )
        return
    call.talk.note(f"{opened.name}: {opened.command[0]} is process {opened.pid}")
    if ours:
        call.talk.note("no proxy was serving; this one lasts as long as its sessions")


async def _connected(service: Service, machine: Machine, opened: Opened) -> None:
    """Wait until the viewer has its session, which then keeps the proxy alive without us."""
    try:
        async with within(CONNECT_SECONDS):
            async for _ in service.changes():
                if any(live.key == machine.key for live in await service.sessions()):
                    return
    except TimeoutError as exc:
        raise Unreachable(
            f"The viewer (process {opened.pid}) has not connected in {CONNECT_SECONDS:g} seconds",
            fix=f"Find out why: broker doctor {quote(await unmistakable(service, machine))}",
        ) from exc


OPEN = Verb(
    _arguments,
    _run,
    "Without a proxy on this host, one is hosted until the last of its sessions has ended;\n"
    "Ctrl+C leaves the viewer alone. On a host without a display, it says what to type elsewhere.",
)
