"""What the commands share that open a console without a window: the ways there."""

from __future__ import annotations

import contextlib
import socket
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from broker import vv
from broker.cli.args import Parser
from broker.cli.call import Call
from broker.errors import NoConsole, UsageError
from broker.headless.session import Session, opened
from broker.headless.wire import dialer, target_of
from broker.model import HandOverTarget, LinkPolicy, State, WhenOccupied
from broker.service.naming import unmistakable
from broker.service.port import ExportRequest
from broker.service.viewer import see_that_it_is_free
from broker.vv import VvFile

if TYPE_CHECKING:
    from broker.model import Machine
    from broker.service.port import Service

PROXY: Final = "proxy"
DIRECT: Final = "direct"
MAX_FILE: Final = 1024 * 1024


class HandOvers:
    """Reaches the VMs of this host that have no listener."""

    async def hand_over(self, control_path: str) -> socket.socket:
        """See `broker.vm.handover.hand_over`."""
        from broker.vm.handover import hand_over

        return await hand_over(control_path)


def add_console_or_file(parser: Parser) -> None:
    """A console by its name, or a .vv file."""
    parser.add_argument("console", nargs="?", metavar="CONSOLE", help="name, source/name or uuid")
    parser.add_argument("--file", metavar="FILE", help="a .vv file instead of a console's name")
    parser.add_argument(
        "--take-over", action="store_true", help="end the session of whoever is there already"
    )


_FRESH = "Export a fresh one: broker export-vv NAME"


def read_file(path: str) -> VvFile:
    """A .vv file.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE)
        return vv.parse(content.decode())
    except OSError as exc:
        raise UsageError(f"{path} cannot be read ({exc.strerror})", fix="Check the path") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is no .vv file", fix=_FRESH) from exc
    except UsageError as exc:
        raise UsageError(f"{path}: {exc.what}", fix=_FRESH) from exc


def check_which(args: Namespace) -> None:
    """See that exactly one of console and file was named.

    Raises:
        UsageError: Both, or neither.
    """
    if bool(args.console) == bool(args.file):
        raise UsageError("Name a console, or a .vv file with --file", fix="broker list")


def by_file(file: VvFile) -> contextlib.AbstractAsyncContextManager[Session]:
    """A session as a person's viewer has it from that file."""
    return opened(dialer(target_of(file)), file.password)


def tell_of_undrawn(call: Call, session: Session) -> None:
    """Say what was drawn that our client cannot draw; its pictures lack that."""
    if undrawn := session.screen.undrawn:
        kinds = ", ".join(f"{name} ({count})" for name, count in sorted(undrawn.items()))
        call.talk.note(f"the picture is not whole, these were passed over: {kinds}")


async def see_that_it_runs(service: Service, machine: Machine, *, take_over: bool) -> None:
    """See that there is a screen to be opened, and nobody at it.

    Raises:
        NoConsole: It is off.
        Refused: Somebody is at it.
    """
    if machine.defined and machine.state is State.STOPPED:
        called = quote(await unmistakable(service, machine))
        raise NoConsole(f"{machine.name} is off", fix=f"Start it: broker vm start {called}")
    if not take_over:
        see_that_it_is_free(machine, await service.sessions())


@contextlib.asynccontextmanager
async def proxy_served(service: Service) -> AsyncIterator[None]:
    """A proxy while the block lasts; one that serves already is used, and left."""
    if (await service.proxy_status()).serving:
        yield
        return
    await service.host_proxy()
    try:
        yield
    finally:
        await service.leave_proxy(keep_sessions=False)


@contextlib.asynccontextmanager
async def proxied(
    service: Service, machine: Machine, label: str, *, take_over: bool
) -> AsyncIterator[Session]:
    """A session through the proxy, which must be serving."""
    occupied = WhenOccupied.TAKE_OVER if take_over else WhenOccupied.REFUSE
    request = ExportRequest(label=label, policy=LinkPolicy(occupied=occupied))
    made = await service.export_vv(machine.key, request)
    async with by_file(vv.parse(made.text)) as session:
        yield session


@contextlib.asynccontextmanager
async def directly(service: Service, machine: Machine) -> AsyncIterator[Session]:
    """A session with the machine's own SPICE server, the proxy left out.

    Raises:
        NoConsole: The machine cannot be reached.
    """
    if isinstance(machine.target, HandOverTarget):
        async with opened(dialer(machine.target, HandOvers()), "") as session:
            yield session
        return
    made = await service.export_vv(machine.key, ExportRequest(direct=True))
    async with by_file(vv.parse(made.text)) as session:
        yield session
